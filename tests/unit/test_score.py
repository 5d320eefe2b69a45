"""Score: priors, K, selection of candidates, and the rules of the combination on hand-made examples."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from inference.combination import CombinationRule, find_best_combination
from inference.likelihoods.covariance import CovarianceLikelihood
from inference.likelihoods.protocol import LogRatio
from inference.likelihoods.signal_uncertainty import UncertainSignalLikelihood
from inference.likelihoods.single_region import SingleRegionLikelihood
from inference.likelihoods.truncated_gaussian import TruncatedGaussianLikelihood
from inference.score import PriorName, RegionChoice, ScoreSettings, k_score, log_prior, score, select_candidates
from inference.types import Outcome, PredictionKind, Predictions

UL, EM, COMB = PredictionKind.UPPER_LIMIT, PredictionKind.EFFICIENCY_MAP, PredictionKind.COMBINED


def make_predictions(rows: list[tuple[Any, ...]], region_yields: dict[int, Any] | None = None) -> Predictions:
    """From rows (result, dataset, kind, xsec_fb, ul_obs_fb, ul_exp_fb)."""
    columns = list(zip(*rows, strict=True)) if rows else [()] * 6
    size = len(rows)
    return Predictions(
        np.array(columns[0], dtype=np.int32), np.array(columns[1], dtype=np.int32), np.array(columns[2], dtype=np.int8),
        *(np.array(column, dtype=np.float64) for column in columns[3:]),
        map_ids=((),) * size, topology_ids=((),) * size, pids=(frozenset(),) * size,
        region_yields=region_yields or {}, condition_violation=np.zeros(size),
    )  # fmt: skip


class FakeStore:
    """The parts of a store that selection reads: regions of three analyses, one of them with a covariance."""

    def __init__(self, name: str) -> None:
        self.content_hash = name
        self.path = Path(name)

        def record(analysis_id: str, start: int, stop: int, stat_model: str = "none") -> SimpleNamespace:
            return SimpleNamespace(
                analysis_id=analysis_id, folder=analysis_id, lumi_ifb=10.0, dataset_start=start, dataset_stop=stop, stat_model=stat_model
            )

        self.results = (record("ATLAS-A", 0, 2), record("CMS-B", 2, 4, "sl_v1"), record("CMS-C", 4, 5), record("ATLAS-A", 5, 6))
        self.observed_n = np.array([8.0, 3.0, 5.0, 6.0, 0.0, 0.0])
        self.expected_bg = np.array([3.8, 4.0, 4.0, 4.0, 0.0, 0.0])
        self.bg_error = np.array([1.0, 1.0, 1.0, 1.0, 0.0, 0.0])
        self.third_moment = np.full(6, np.nan)

    def covariance(self, result: int) -> Any:
        assert result == 1
        return np.array([[1.0, 0.5], [0.5, 1.0]])


@pytest.fixture
def store(request: pytest.FixtureRequest) -> Any:
    return FakeStore(request.node.name)


ROWS = [
    (0, 0, EM, 0.2, 2.0, 1.0),  # r of limits 2
    (0, 1, EM, 0.3, 1.0, 1.0),
    (1, 2, EM, 0.1, 1.0, 1.0),
    (1, 3, EM, 0.2, 1.0, 0.5),
    (1, -1, COMB, 0.3, math.nan, math.nan),
    (2, 4, UL, 1.0, 3.0, 2.5),
    (2, 4, UL, 2.0, 3.0, 2.9),
    (3, 5, UL, 1.0, 10.0, 2.0),  # asymmetry 0.67
]
YIELDS = {1: np.array([1.0, 2.0])}


# -- priors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("counts", "delta_k"), [((1, 1, 2.0), -2.0), ((2, 0, 5.0), -3.25), ((3, 3, 8.0), -6.5)])
def test_published_table_of_penalties(counts: tuple[int, int, float], delta_k: float) -> None:
    """Table 2 of arXiv:2012.12246, where the lightest particle is not counted."""
    terms = SimpleNamespace(num_particles=counts[0], num_branching_ratios=counts[1], num_ssms=counts[2])
    assert 2.0 * log_prior(terms, ScoreSettings()) == pytest.approx(delta_k)


def test_other_priors() -> None:
    terms = SimpleNamespace(num_particles=2, num_branching_ratios=8, num_ssms=32.0)
    assert log_prior(terms, ScoreSettings(prior=PriorName.FLAT)) == 0.0
    assert log_prior(terms, ScoreSettings(prior=PriorName.GAUSS1)) == pytest.approx(-1.5)
    assert log_prior(terms, ScoreSettings(prior=PriorName.EXPO2)) == pytest.approx(-(2 / 3 + 8 / 11.04 + 32 / 17.1))


def test_information_criteria_count_every_parameter_once() -> None:
    """AIC = 2k - 2 ln L and BIC = k ln n - 2 ln L, each up to sign and a constant."""
    terms = SimpleNamespace(num_particles=2, num_branching_ratios=3, num_ssms=1.1)
    assert k_score(20.0, log_prior(terms, ScoreSettings(prior=PriorName.AIC))) == pytest.approx(20.0 - 2 * 6.1)
    bic = ScoreSettings(prior=PriorName.BIC)
    assert k_score(20.0, log_prior(terms, bic, num_data=7)) == pytest.approx(20.0 - 6.1 * math.log(7))
    assert log_prior(terms, bic, num_data=1) == log_prior(terms, bic, num_data=0) == 0.0
    with pytest.raises(ValueError, match="number of observations"):
        log_prior(terms, bic)


def test_published_winner() -> None:
    """Z = 3.237, K = 6.901 with 3 particles and 2.3 classes of multipliers."""
    terms = SimpleNamespace(num_particles=3, num_branching_ratios=0, num_ssms=2.3)
    assert k_score(3.237**2, log_prior(terms, ScoreSettings())) == pytest.approx(6.901, abs=5e-3)


def test_undefined_score_is_worse_than_any() -> None:
    assert k_score(math.nan, -1.0) == -math.inf


def test_settings_refuse_what_they_do_not_know() -> None:
    with pytest.raises(ValidationError, match="min_members"):
        ScoreSettings(min_members=2, combination_rule=CombinationRule.FREE)
    with pytest.raises(ValidationError, match="regoin_choice"):
        ScoreSettings.model_validate({"regoin_choice": "v1_largest_ratio"})


# -- candidates --------------------------------------------------------------------------------------------------


def test_one_candidate_per_analysis_and_kind(store: Any) -> None:
    found = select_candidates(make_predictions(ROWS, YIELDS), store, ScoreSettings())
    assert [(c.analysis_id, c.kind, c.prediction) for c in found] == [("ATLAS-A", EM, 0), ("CMS-B", COMB, 4), ("CMS-C", UL, 5)]
    region, combined, limit = (c.likelihood for c in found)
    assert isinstance(region, SingleRegionLikelihood)
    assert (region.observed, region.background, region.signal) == (8.0, 3.8, pytest.approx(2.0))
    assert isinstance(combined, CovarianceLikelihood)
    assert combined.signal == pytest.approx([1.0, 2.0])
    assert isinstance(limit, TruncatedGaussianLikelihood)


def test_choice_of_region_and_switches(store: Any) -> None:
    predictions = make_predictions(ROWS, YIELDS)
    single = ScoreSettings(use_combined=False, use_upper_limits=False)
    assert [c.dataset for c in select_candidates(predictions, store, single)] == [0, 3]
    significant = ScoreSettings(use_combined=False, region_choice=RegionChoice.V2_MOST_SIGNIFICANT)
    chosen = {c.analysis_id: c.dataset for c in select_candidates(predictions, store, significant)}
    assert chosen["ATLAS-A"] == 0  # 8 seen, 3.8 + 2 expected: likelier than 3 seen, 4 + 3 expected
    everything = ScoreSettings(max_asymmetry=1.0)
    assert sum(c.kind == UL for c in select_candidates(predictions, store, everything)) == 2


def test_uncertain_signals_of_single_regions(store: Any) -> None:
    """An option: the same regions, with a pull of the signal that lets a large one fit as well."""
    rows = [(0, 0, EM, 2.0, 2.0, 1.0)]  # 20 events expected where 4.2 are seen above 3.8
    everything = np.zeros((4, 4), dtype=np.bool_)
    settings = [ScoreSettings(signal_uncertainty=u, fixed_strength=True) for u in (0.0, 0.3)]
    certain, uncertain = (score(make_predictions(rows), store, everything, math.inf, s) for s in settings)
    assert uncertain.tl > certain.tl + 1.0
    (candidate,) = select_candidates(make_predictions(rows), store, settings[1])
    assert isinstance(candidate.likelihood, UncertainSignalLikelihood)
    assert candidate.likelihood.region == SingleRegionLikelihood(8.0, 3.8, 1.0, pytest.approx(20.0))
    assert uncertain.tl == pytest.approx(2.0 * candidate.likelihood.log_ratio(1.0).value, abs=1e-9)


def test_region_without_expected_limit_loses(store: Any) -> None:
    rows = [(0, 0, EM, 0.2, 2.0, math.nan), (0, 1, EM, 0.3, 0.1, 1.0)]
    assert [c.dataset for c in select_candidates(make_predictions(rows), store, ScoreSettings())] == [1]
    assert [c.dataset for c in select_candidates(make_predictions(rows[:1]), store, ScoreSettings())] == [0]


# -- score -------------------------------------------------------------------------------------------------------


def test_score_of_one_region_by_hand(store: Any) -> None:
    """n = 8, b = 3.8 +- 1, s = 2: μ̂ = 2.1 and T_L = 2[nll(0) - nll(μ̂)] with θ̂(μ̂) = 0."""
    result = score(make_predictions(ROWS[:1]), store, np.zeros((4, 4), dtype=bool), math.inf, ScoreSettings())
    mean = (2.8 + math.sqrt(2.8**2 + 32.0)) / 2.0
    expected = 2.0 * (mean - 8.0 * math.log(mean) + 0.5 * (mean - 3.8) ** 2 - (8.0 - 8.0 * math.log(8.0)))
    assert result.outcome is Outcome.OK
    assert result.mu_hat == pytest.approx(2.1, rel=1e-6)
    assert result.tl == pytest.approx(expected, abs=1e-9)
    assert result.num_candidates == 1


def test_cap_of_the_signal_strength_is_respected(store: Any) -> None:
    result = score(make_predictions(ROWS[:1]), store, np.zeros((4, 4), dtype=bool), 0.7, ScoreSettings())
    assert result.mu_hat == 0.7
    region = SingleRegionLikelihood(8.0, 3.8, 1.0, 2.0)
    assert result.tl == pytest.approx(2.0 * region.log_ratio(0.7).value)
    assert score(make_predictions(ROWS[:1]), store, np.zeros((4, 4), dtype=bool), 0.0, ScoreSettings()).tl == 0.0


def test_nothing_seen_and_nothing_to_combine(store: Any) -> None:
    matrix = np.zeros((4, 4), dtype=bool)
    assert score(make_predictions([]), store, matrix, math.inf, ScoreSettings()).outcome is Outcome.NO_PREDICTION
    no_likelihood = score(make_predictions(ROWS[-1:]), store, matrix, math.inf, ScoreSettings())
    assert no_likelihood.outcome is Outcome.NO_LIKELIHOOD
    assert math.isnan(no_likelihood.tl)
    lonely = score(make_predictions(ROWS[:1]), store, matrix, math.inf, ScoreSettings(min_members=2))
    assert lonely.outcome is Outcome.NO_LIKELIHOOD


def test_failures_are_counted_and_left_out(store: Any) -> None:
    store.expected_bg[0] = store.bg_error[0] = 0.0  # 8 events where none can come from
    matrix = np.ones((4, 4), dtype=bool)
    result = score(make_predictions(ROWS, YIELDS), store, matrix, math.inf, ScoreSettings())
    assert result.failures == {"ATLAS-A": 1}
    assert {m.candidate.analysis_id for m in result.members} == {"CMS-B", "CMS-C"}
    assert result.tl == pytest.approx(2.0 * sum(m.log_likelihood_ratio for m in result.members))


# -- rules of the combination ------------------------------------------------------------------------------------


class Ramp:
    """ln L ratio w·μ(2-μ): weight w at μ = 1, its own maximum or minimum."""

    outcome = Outcome.OK
    sigma_mu = 1.0

    def __init__(self, weight: float) -> None:
        self.weight = weight
        self.is_concave = weight >= 0.0
        self.mu_hat = 1.0 if weight > 0.0 else 0.0

    def nll(self, mu: float) -> float:
        return -self.log_ratio(mu).value

    def log_ratio(self, mu: float) -> LogRatio:
        return LogRatio(self.weight * mu * (2.0 - mu), 2.0 * self.weight * (1.0 - mu))


def test_the_three_rules_differ_as_documented() -> None:
    """T_L of A = 10 alone, B = 2, C = 1, D = -6 mutually combinable: {A}; free also {A}; legacy offset {B, C, D}."""
    curves = [Ramp(w / 2.0) for w in (10.0, 2.0, 1.0, -6.0)]
    matrix = ~np.eye(4, dtype=bool)
    matrix[0, :] = matrix[:, 0] = False
    maximal = find_best_combination(curves, matrix, mu_max=1.0)
    assert (maximal.members, maximal.tl, maximal.mu_hat) == ((0,), pytest.approx(10.0), pytest.approx(1.0))
    assert find_best_combination(curves, matrix, 1.0, CombinationRule.FREE).members == (0,)


def test_maximal_rule_keeps_members_that_hurt_and_free_rule_drops_them() -> None:
    curves = [TruncatedGaussianLikelihood(1.0, 0.5), TruncatedGaussianLikelihood(-0.5, 1.0)]
    matrix = ~np.eye(2, dtype=bool)
    maximal = find_best_combination(curves, matrix)
    assert maximal.members == (0, 1)
    assert maximal.mu_hat == pytest.approx((1.0 / 0.25 - 0.5) / (1.0 / 0.25 + 1.0), rel=1e-6)
    free = find_best_combination(curves, matrix, rule=CombinationRule.FREE)
    assert free.members == (0,)
    assert free.tl == pytest.approx(4.0, abs=1e-8)


def test_free_rule_with_nothing_that_helps_is_empty() -> None:
    result = find_best_combination([TruncatedGaussianLikelihood(-1.0, 1.0)], np.zeros((1, 1), dtype=bool), rule=CombinationRule.FREE)
    assert (result.members, result.tl, result.mu_hat, result.outcome) == ((), 0.0, 0.0, Outcome.OK)


def test_legacy_rule_prefers_many_members() -> None:
    """Offset 7: 17 for A against 9 + 8 + 1 = 18 for {B, C, D}. D's μ dependence is such that μ = 1 is its fixed point."""

    class AtOne(Ramp):
        def log_ratio(self, mu: float) -> LogRatio:
            return LogRatio(self.weight - (mu - 1.0) ** 2, -2.0 * (mu - 1.0))

    curves = [AtOne(w / 2.0) for w in (10.0, 2.0, 1.0, -6.0)]
    matrix = ~np.eye(4, dtype=bool)
    matrix[0, :] = matrix[:, 0] = False
    legacy = find_best_combination(curves, matrix, rule=CombinationRule.LEGACY_OFFSET)
    assert legacy.members == (1, 2, 3)
    assert legacy.tl == pytest.approx(-3.0)


def test_shapes_are_checked() -> None:
    with pytest.raises(ValueError, match="2 curves"):
        find_best_combination([Ramp(1.0), Ramp(1.0)], np.zeros((3, 3), dtype=bool))
    with pytest.raises(ValueError, match="min_members"):
        find_best_combination([Ramp(1.0)], np.zeros((1, 1), dtype=bool), min_members=3)
