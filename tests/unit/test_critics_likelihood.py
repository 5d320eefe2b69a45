"""The combined-likelihood critic: what enters, which combination is judged, and what an undefined number does."""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from critics.likelihood import LikelihoodContext, find_most_sensitive, judge_by_likelihood, select_factors
from critics.panel import judge
from critics.settings import CriticName, CriticSettings
from inference.likelihoods.product import ProductLikelihood
from inference.likelihoods.single_region import SingleRegionLikelihood
from inference.limits import find_upper_limit
from inference.types import DataKind, PredictionKind, Predictions

SETTINGS = CriticSettings(critics=(CriticName.LIKELIHOOD_V2,))
CONTEXT = LikelihoodContext(np.zeros((0, 0), dtype=np.bool_))


class Region(NamedTuple):
    """A signal region with large counts, so that its likelihood is nearly a Gaussian."""

    analysis_id: str
    observed: float
    background: float
    signal: float
    error: float = 0.0


def make(regions: list[Region]) -> tuple[Predictions, Any]:
    """Predictions and store of single regions; luminosity 1/fb, limits of Gaussian width."""
    ids = list(dict.fromkeys(region.analysis_id for region in regions))
    size = len(regions)
    store = SimpleNamespace(
        results=tuple(SimpleNamespace(analysis_id=name, lumi_ifb=1.0) for name in ids),
        result_analysis=np.arange(len(ids), dtype=np.int32),
        observed_n=np.array([r.observed for r in regions]),
        expected_bg=np.array([r.background for r in regions]),
        bg_error=np.array([r.error for r in regions]),
        dataset_ids=[f"SR{k}" for k in range(size)],
        map_txnames=[],
        content_hash="test",
    )
    limits = np.array([1.96 * math.hypot(math.sqrt(r.background), r.error) if r.background > 0.0 else np.nan for r in regions])
    predictions = Predictions(
        np.array([ids.index(r.analysis_id) for r in regions], dtype=np.int32),
        np.arange(size, dtype=np.int32),
        np.full(size, PredictionKind.EFFICIENCY_MAP, dtype=np.int8),
        np.array([r.signal for r in regions]),
        limits, limits,
        ((),) * size, ((),) * size, (frozenset(),) * size, {}, np.zeros(size),
    )  # fmt: skip
    return predictions, store


def everything(num: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    return ~np.eye(num, dtype=np.bool_)


def test_limit_of_a_product_is_that_of_the_combined_gaussian() -> None:
    """Two regions with 1e6 events: σ = √b/s each; the limit of the product follows from σ_c = 1/√Σ 1/σ²."""
    regions = [SingleRegionLikelihood(1e6 + 500, 1e6, 0.0, 1000.0), SingleRegionLikelihood(1e6 - 200, 1e6, 0.0, 2000.0)]
    weights = [(r.signal**2 / r.background, (r.observed - r.background) / r.signal) for r in regions]
    sigma = 1.0 / math.sqrt(sum(w for w, _ in weights))
    centre = sum(w * x for w, x in weights) * sigma**2
    product = ProductLikelihood(regions)
    assert product.mu_hat == pytest.approx(centre, rel=2e-3)

    def cls(mu: float) -> float:
        return float(norm.sf((mu - centre) / sigma) / norm.sf(-centre / sigma)) - 0.05

    assert find_upper_limit(product).mu_ul == pytest.approx(brentq(cls, 0.0, 100.0), rel=5e-3)


def test_product_of_one_is_its_factor() -> None:
    region = SingleRegionLikelihood(8.0, 3.8, 1.0, 2.1)
    product = ProductLikelihood([region])
    assert product.mu_hat == pytest.approx(region.mu_hat)
    assert product.nll(0.7) == region.nll(0.7)
    assert find_upper_limit(product).mu_ul == pytest.approx(find_upper_limit(region).mu_ul, rel=1e-6)


def test_most_sensitive_region_stands_for_its_analysis_and_insensitive_ones_stay_out() -> None:
    """σ_μ = √b/s: the expected r is s/(1.96 √b); 0.1 needs s >= 19.6 at b = 10⁴."""
    regions = [Region("A", 1e4, 1e4, 50.0), Region("A", 2e4, 1e4, 40.0), Region("B", 1e4, 1e4, 20.0), Region("C", 1e4, 1e4, 19.0)]
    selection = select_factors(*make(regions), SETTINGS, CONTEXT)
    assert [(factor.analysis_id, factor.dataset) for factor in selection.factors] == [("A", 0), ("B", 2)]
    assert selection.num_insensitive == 1
    assert selection.factors[0].weight == pytest.approx((50.0 / 100.0) ** 2, rel=0.01)
    without_border = CriticSettings(likelihood_min_r_exp=0.0)
    assert len(select_factors(*make(regions), without_border, CONTEXT).factors) == 3


def test_border_is_where_the_expected_limit_is_ten() -> None:
    """The shortcut q_A(10) >= 1.96² agrees with the expected limit itself, computed for a region of few events."""
    for background, error in ((3.0, 1.0), (40.0, 9.0), (0.7, 0.3)):
        apriori = SingleRegionLikelihood(5.0, background, error, 1.0, DataKind.APRIORI)
        signal = 0.1 * find_upper_limit(apriori).mu_ul
        for factor, is_in in ((1.001, True), (0.999, False)):
            predictions, store = make([Region("A", 5.0, background, signal * factor, error)])
            assert bool(select_factors(predictions, store, SETTINGS, CONTEXT).factors) is is_in


def test_choice_ignores_the_observation_and_is_exact() -> None:
    rng = np.random.default_rng(5)
    for _ in range(40):
        size = int(rng.integers(2, 8))
        regions = [Region(f"A{k}", 1e4 + rng.normal(0, 300), 1e4, float(rng.uniform(30, 200))) for k in range(size)]
        upper = np.triu(rng.random((size, size)) < 0.5, 1)
        graph = upper | upper.T
        factors = select_factors(*make(regions), SETTINGS, CONTEXT).factors
        chosen = {f.result for f in find_most_sensitive(factors, graph)}
        weight = {f.result: f.weight for f in factors}
        cliques = [
            c
            for n in range(1, size + 1)
            for c in itertools.combinations(range(size), n)
            if all(graph[i, j] for i, j in itertools.combinations(c, 2))
        ]
        assert sum(weight[i] for i in chosen) == pytest.approx(max(sum(weight[i] for i in c) for c in cliques))
        other_data = [region._replace(observed=1e4) for region in regions]
        again = select_factors(*make(other_data), SETTINGS, CONTEXT).factors
        assert {f.result for f in find_most_sensitive(again, graph)} == chosen


def test_excluded_from_r_one_on() -> None:
    """Two combinable regions with r = 0.8 each exclude together; incompatible ones do not."""
    regions = [Region("A", 1e6, 1e6, 0.8 * 1960.0), Region("B", 1e6, 1e6, 0.8 * 1960.0)]
    together = judge_by_likelihood(*make(regions), SETTINGS, LikelihoodContext(everything(2)))
    apart = judge_by_likelihood(*make(regions), SETTINGS, LikelihoodContext(np.zeros((2, 2), dtype=np.bool_)))
    assert together.is_excluded
    assert together.r_obs == pytest.approx(0.8 * math.sqrt(2.0), rel=5e-3)
    assert together.r_exp == pytest.approx(together.r_obs, rel=1e-6)
    assert together.nearest is not None
    assert together.nearest.analysis_ids == ("A", "B")
    assert not apart.is_excluded
    assert apart.r_obs == pytest.approx(0.8, rel=5e-3)
    assert apart.nearest is not None
    assert (apart.nearest.kind, apart.nearest.dataset_id) == ("em", "SR0")
    assert together.mu_max == apart.mu_max == math.inf


def test_an_undefined_likelihood_neither_excludes_nor_admits() -> None:
    """Background zero with events seen: impossible data. It is left out and counted; the others decide."""
    broken = Region("BROKEN", 5.0, 0.0, 100.0)
    for signal, is_excluded in ((0.5 * 1960.0, False), (2.0 * 1960.0, True)):
        verdict = judge_by_likelihood(*make([broken, Region("A", 1e6, 1e6, signal)]), SETTINGS, LikelihoodContext(everything(2)))
        assert verdict.is_excluded is is_excluded
        assert verdict.undefined == (("BROKEN", 1),)
    alone = judge_by_likelihood(*make([broken]), SETTINGS, LikelihoodContext(everything(1)))
    assert (alone.is_excluded, alone.num_undefined) == (False, 1)
    assert math.isnan(alone.r_obs)


def test_nothing_sensitive_passes() -> None:
    empty = judge_by_likelihood(*make([]), SETTINGS, LikelihoodContext(everything(0)))
    assert (empty.is_excluded, empty.num_undefined) == (False, 0)
    weak = judge_by_likelihood(*make([Region("A", 1e4, 1e4, 1.0)]), SETTINGS, LikelihoodContext(everything(1)))
    assert not weak.is_excluded
    assert "1 expect r < 0.1" in weak.reason


def test_panel_asks_the_costly_critic_last_or_later() -> None:
    predictions, store = make([Region("A", 1e6, 1e6, 1.2 * 1960.0)])
    both = CriticSettings(critics=(CriticName.LIKELIHOOD_V2, CriticName.UPPER_LIMIT_V1))
    verdict = judge(predictions, store, both, LikelihoodContext(everything(1)))
    assert [finding.critic for finding in verdict.findings] == ["upper_limit_v1", "likelihood_v2"]
    assert verdict.is_excluded
    quick = judge(predictions, store, both, LikelihoodContext(everything(1)), skips_costly=True)
    assert not quick.is_excluded
    assert quick.mu_max == pytest.approx(0.999 * 1.3 / 1.2)
    with pytest.raises(ValueError, match="combined"):
        judge(predictions, store, both)
