"""Critics: r values, the cap of the signal strength, the counting critic and the panel."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from critics.panel import judge
from critics.settings import CriticName, CriticSettings
from critics.upper_limit import (
    judge_by_counting,
    judge_by_mu_max,
    max_allowed_exclusions,
    select_best_expected,
    select_limits_then_regions,
)
from inference.types import PredictionKind, Predictions

UL, EM, COMB = PredictionKind.UPPER_LIMIT, PredictionKind.EFFICIENCY_MAP, PredictionKind.COMBINED
V1 = CriticSettings()
V2 = CriticSettings(critics=(CriticName.UPPER_LIMIT_V2,))
BOTH = CriticSettings(critics=(CriticName.UPPER_LIMIT_V2, CriticName.UPPER_LIMIT_V1))


def make(rows: list[tuple[str, Any, float, float]], xsec_fb: float = 1.0) -> tuple[Predictions, Any]:
    """Predictions and store from rows (analysis id, kind, r_obs, r_exp)."""
    size = len(rows)
    ids = list(dict.fromkeys(row[0] for row in rows))
    results = tuple(SimpleNamespace(analysis_id=name) for name in ids)
    regions = [f"SR{k}" for k in range(size)]
    store = SimpleNamespace(results=results, result_analysis=np.arange(len(ids), dtype=np.int32), dataset_ids=regions)
    predictions = Predictions(
        np.array([ids.index(row[0]) for row in rows], dtype=np.int32),
        np.arange(size, dtype=np.int32),
        np.array([row[1] for row in rows], dtype=np.int8),
        np.full(size, xsec_fb),
        np.array([xsec_fb / row[2] if row[2] else np.nan for row in rows]),
        np.array([xsec_fb / row[3] if row[3] else np.nan for row in rows]),
        ((),) * size, ((),) * size, (frozenset(),) * size, {}, np.zeros(size),
    )  # fmt: skip
    return predictions, store


def test_published_cap() -> None:
    """arXiv:2012.12246: the tightest limit has r = 1.30 at the final model, i.e. the model sits at its cap."""
    verdict = judge_by_mu_max(*make([("CMS-SUS-19-006", UL, 1.2987, 1.1), ("CMS-SUS-16-050", UL, 0.8, 1.0)]), V1)
    assert verdict.mu_max == pytest.approx(0.999 * 1.3 / 1.2987)
    assert verdict.mu_max == pytest.approx(1.0, abs=1e-4)
    assert not verdict.is_excluded
    assert "CMS-SUS-19-006" in verdict.reason


def test_best_expected_prediction_stands_for_its_analysis() -> None:
    """The region with the larger observed r is not taken if another is more sensitive."""
    predictions, store = make([("A", EM, 3.0, 0.5), ("A", EM, 0.6, 0.9), ("A", UL, 0.4, 2.0), ("B", EM, 0.2, 0.1)])
    assert [e.prediction for e in select_best_expected(predictions, store)] == [1, 2, 3]
    assert judge_by_mu_max(predictions, store, V1).r_obs == pytest.approx(0.6)


def test_largest_observed_stands_where_no_expected_limit_is_published() -> None:
    predictions, store = make([("A", UL, 0.5, 0.0), ("A", UL, 0.8, 0.0), ("B", UL, 2.0, 0.0), ("B", UL, 0.1, 0.2)])
    found = select_best_expected(predictions, store, one_limit_per_analysis=True)
    assert [(e.prediction, math.isnan(e.r_exp)) for e in found] == [(1, True), (3, False)]


def test_limits_on_different_topologies_stand_for_themselves_unless_as_published() -> None:
    predictions, store = make([("A", UL, 1.6, 0.9), ("A", UL, 0.8, 1.2), ("A", UL, 1.4, 0.0), ("A", EM, 2.0, 0.3), ("A", EM, 0.5, 0.9)])
    assert [e.prediction for e in select_best_expected(predictions, store)] == [0, 2, 1, 4]
    assert judge_by_mu_max(predictions, store, V1).r_obs == pytest.approx(1.6)
    published = CriticSettings(v1_one_limit_per_analysis=True)
    assert judge_by_mu_max(predictions, store, published).r_obs == pytest.approx(0.8)


def test_undefined_is_counted_and_constrains_nothing() -> None:
    verdict = judge_by_mu_max(*make([("A", UL, 0.0, 0.0), ("B", UL, 0.5, 0.5)]), V1)
    assert verdict.num_undefined == 1
    assert verdict.mu_max == pytest.approx(0.999 * 1.3 / 0.5)
    alone = judge_by_mu_max(*make([("A", UL, 0.0, 0.0)]), V1)
    assert (alone.mu_max, alone.num_undefined, alone.is_excluded) == (math.inf, 1, False)
    assert judge_by_mu_max(*make([]), V1).mu_max == math.inf


def test_undefined_ones_are_counted_per_analysis_and_shown() -> None:
    rows = [("A", UL, 0.0, 0.0), ("A", UL, 0.0, 0.5), ("B", UL, 0.5, 0.5), ("C", EM, 0.0, 0.0)]
    verdict = judge(*make(rows), BOTH)
    assert verdict.undefined == (("A", 2), ("C", 1))
    assert verdict.num_undefined == 3
    assert "r undefined, not judged: A (2), C (1)" in verdict.reason


def test_nearest_constraints_come_first_with_what_finds_them() -> None:
    rows = [("A", UL, 0.4, 0.9), ("B", EM, 1.2, 0.8), ("B", EM, 0.3, 0.2), ("C", UL, 0.7, 0.0), ("D", UL, 0.1, 0.1)]
    verdict = judge_by_mu_max(*make(rows), V1)
    assert [(c.analysis_ids, c.kind, c.dataset_id) for c in verdict.constraints] == [
        (("B",), "em", "SR1"), (("C",), "ul", None), (("A",), "ul", None),
    ]  # fmt: skip
    assert verdict.nearest is not None
    assert (verdict.nearest.critic, verdict.nearest.r_obs, verdict.nearest.r_exp) == ("upper_limit_v1", verdict.r_obs, verdict.r_exp)
    both = judge(*make(rows), BOTH)
    assert [finding.critic for finding in both.findings] == ["upper_limit_v1", "upper_limit_v2"], "cheapest first, whatever the order asked"
    assert [c.r_obs for c in both.constraints] == sorted((c.r_obs for c in both.constraints), reverse=True)
    assert judge(*make([]), V1).nearest is None


def test_combination_without_limit_is_not_judged() -> None:
    verdict = judge_by_mu_max(*make([("A", COMB, 0.0, 0.0), ("A", EM, 0.5, 0.5)]), V1)
    assert verdict.num_undefined == 0


@pytest.mark.parametrize("n", [0, 1, 8, 9, 24, 25, 41, 42, 58, 59, 76, 77, 95, 96, 113, 400])
def test_allowed_exclusions_are_the_binomial_quantile(n: int) -> None:
    expected = next(m for m in range(n + 1) if binom.cdf(m, n, 0.05) > 0.66)
    assert max_allowed_exclusions(n) == expected


def test_counting_uses_limits_and_regions_of_analyses_without_limits() -> None:
    rows = [
        ("CMS-SUS-16-050", UL, 1.0, 1.0),
        ("CMS-SUS-16-050-agg", EM, 9.0, 9.0),
        ("CMS-SUS-16-048", EM, 0.5, 2.0),
        ("CMS-SUS-16-048", EM, 0.7, 1.0),
        ("CMS-SUS-21-002", COMB, 5.0, 5.0),
    ]
    assert [e.prediction for e in select_limits_then_regions(*make(rows))] == [0, 2]


def test_counting_allows_what_chance_gives() -> None:
    one_of_eight = [("A", UL, 2.0, 1.0)] + [(f"B{k}", UL, 0.3, 1.0) for k in range(7)]
    assert judge_by_counting(*make(one_of_eight), V2).is_excluded
    one_of_nine = [*one_of_eight, ("C", UL, 0.1, 0.8)]
    verdict = judge_by_counting(*make(one_of_nine), V2)
    assert not verdict.is_excluded
    assert verdict.mu_max == math.inf
    assert "1 of 9" in verdict.reason


def test_insensitive_results_never_exclude_and_observed_replaces_missing_expected() -> None:
    assert not judge_by_counting(*make([("A", UL, 50.0, 0.69)]), V2).is_excluded
    assert judge_by_counting(*make([("A", UL, 50.0, 0.7)]), V2).is_excluded
    assert judge_by_counting(*make([("A", UL, 1.39, 0.0)]), V2).is_excluded
    assert not judge_by_counting(*make([("A", UL, 1.37, 0.0)]), V2).is_excluded
    assert not judge_by_counting(*make([]), V2).is_excluded


def test_panel_combines_caps_and_stops_at_a_veto() -> None:
    admitted = judge(*make([("A", UL, 1.0, 1.0)]), BOTH)
    assert admitted.mu_max == pytest.approx(0.999 * 1.3)
    assert "(v1)" in admitted.reason
    assert "(v2)" in admitted.reason
    excluded = judge(*make([("A", UL, 2.0, 1.0), ("B", UL, 0.0, 0.0)]), BOTH)
    assert excluded.is_excluded
    assert excluded.num_undefined == 1
    assert [finding.is_excluded for finding in excluded.findings] == [False, True]
    nobody = judge(*make([("A", UL, 2.0, 1.0)]), CriticSettings(critics=()))
    assert (nobody.is_excluded, nobody.mu_max) == (False, math.inf)
