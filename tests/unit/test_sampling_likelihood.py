"""What states weigh on published results (the embedded excerpt): each named density against its definition."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from builder.evaluate import EvaluationSettings, Evaluator
from builder.protomodel import ProtoModel
from builder.sampling.likelihood import StoreLikelihood, is_vetoed
from builder.sampling.settings import SamplingSettings
from critics.settings import CriticSettings
from database.errors import ConfigError
from database.results.importer import open_embedded_store
from database.results.store import ResultsStore
from inference.score import ScoreSettings, select_candidates
from inference.settings import CombinationRule
from inference.spectrum import LBP_PID
from inference.types import Outcome, PredictionKind
from tests.sampling_toys import X2Z, XG, XT, build_prior

MASSES = ((500.0, 150.0), (700.0, 300.0), (1100.0, 160.0), (450.0, 100.0), (900.0, 60.0))


def stops(mass: float, lbp: float, kappa: float = 1.0) -> ProtoModel:
    return ProtoModel({XT: mass, LBP_PID: lbp}, {XT: {(6, LBP_PID): 1.0}}, {(-XT, XT): kappa})


@pytest.fixture(scope="module")
def store() -> ResultsStore:
    return open_embedded_store()


def build(store: ResultsStore, score: ScoreSettings | None = None, critics: tuple[str, ...] = (), **settings: Any) -> StoreLikelihood:
    evaluation = EvaluationSettings(
        score=score or ScoreSettings(), critics=CriticSettings.model_validate({"critics": critics}), penalties=()
    )
    return StoreLikelihood(Evaluator(store, evaluation), SamplingSettings.model_validate(settings))


def at_one(store: ResultsStore, model: ProtoModel, score: ScoreSettings) -> tuple[list[str], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Names, ln L(1)/L(0) and combinability of the model's candidates, one by one."""
    evaluator = Evaluator(store, EvaluationSettings(score=score))
    candidates = select_candidates(evaluator.predictor.predict(model.spectrum()), store, score)
    results = [candidate.result for candidate in candidates]
    values = np.array([candidate.likelihood.log_ratio(1.0).value for candidate in candidates])
    return [candidate.analysis_id for candidate in candidates], values, evaluator.combinability.is_combinable[np.ix_(results, results)]


@pytest.mark.parametrize("rule", [CombinationRule.MAXIMAL, CombinationRule.FREE])
def test_at_one_is_the_best_combination_by_brute_force(store: ResultsStore, rule: CombinationRule) -> None:
    score = ScoreSettings(combination_rule=rule)
    weigh = build(store, score)
    for (mass, lbp), kappa in itertools.product(MASSES, (0.3, 1.5)):
        model = stops(mass, lbp, kappa)
        _, values, matrix = at_one(store, model, score)
        best = -math.inf
        for size in range(len(values) + 1):
            for some in itertools.combinations(range(len(values)), size):
                if any(not matrix[a, b] for a, b in itertools.combinations(some, 2)):
                    continue
                addable = [c for c in range(len(values)) if c not in some and all(matrix[c, a] for a in some)]
                if rule is CombinationRule.FREE or not addable:
                    best = max(best, math.fsum(values[list(some)]))
        assert len(values) > 2
        assert weigh(model).log_likelihood == pytest.approx(best, abs=1e-9)


def test_profiled_is_half_of_tl(store: ResultsStore) -> None:
    weigh = build(store, critics=("upper_limit_v1",), likelihood="profiled")
    evaluator = Evaluator(store, EvaluationSettings())
    for mass, lbp in MASSES:
        model = stops(mass, lbp, 3.0)
        assert weigh(model).log_likelihood == pytest.approx(0.5 * evaluator.evaluate(model).tl, abs=1e-12)


def test_fixed_is_the_product_of_the_listed_analyses(store: ResultsStore) -> None:
    names, values, matrix = at_one(store, stops(500.0, 150.0), ScoreSettings())
    pair = next((a, b) for a, b in itertools.combinations(range(len(names)), 2) if matrix[a, b])
    apart = next((a, b) for a, b in itertools.combinations(range(len(names)), 2) if not matrix[a, b] and names[a] != names[b])
    chosen = tuple(names[i] for i in pair)
    weigh = build(store, likelihood="fixed", fixed_analyses=chosen)
    assert weigh(stops(500.0, 150.0)).log_likelihood == pytest.approx(math.fsum(values[list(pair)]))
    assert weigh(ProtoModel({XG: 2390.0, LBP_PID: 2000.0}, {XG: {(21, LBP_PID): 1.0}}, {})).log_likelihood == 0.0
    with pytest.raises(ConfigError, match="may not be combined"):
        build(store, likelihood="fixed", fixed_analyses=tuple(names[i] for i in apart))
    with pytest.raises(ConfigError, match="have no analysis ATLAS-NONE"):
        build(store, likelihood="fixed", fixed_analyses=("ATLAS-NONE",))


def test_a_model_nobody_sees_weighs_what_the_standard_model_weighs(store: ResultsStore) -> None:
    for settings in ({}, {"likelihood": "profiled"}):
        weight = build(store, **settings)(ProtoModel({LBP_PID: 100.0}, {}, {}))
        assert weight.log_likelihood == 0.0
        assert weight.outcome is Outcome.NO_PREDICTION


def test_a_model_excluded_at_its_own_strength_has_density_zero(store: ResultsStore) -> None:
    light = stops(450.0, 20.0, 3.0)
    weight = build(store, critics=("upper_limit_v1",))(light)
    assert weight.is_excluded
    assert weight.log_likelihood == -math.inf
    assert build(store, critics=("upper_limit_v1",), has_veto=False)(light).log_likelihood > -math.inf
    # with the signal strength profiled the cap is no veto
    assert build(store, critics=("upper_limit_v1",), likelihood="profiled")(light).log_likelihood >= 0.0
    evaluator = Evaluator(store, EvaluationSettings())
    assert evaluator.evaluate(light).mu_max < 1.0
    assert is_vetoed(evaluator.evaluate(light).verdict)


def test_a_state_and_its_protomodel_weigh_the_same_in_any_order(store: ResultsStore) -> None:
    prior = build_prior(particles=(XT, X2Z, XG), max_lbp_mass_gev=500.0)
    rng = np.random.default_rng(1)
    models = [prior.space.model_of(prior.draw(rng)) for _ in range(30)]
    first, second = build(store), build(store)
    there = [first(model).log_likelihood for model in models]
    back = [second(model).log_likelihood for model in reversed(models)]
    assert there == back[::-1]
    assert len({value for value in there if value != 0.0}) > 3


def test_scores_without_a_density_are_refused(store: ResultsStore) -> None:
    with pytest.raises(ConfigError, match="legacy-offset"):
        build(store, ScoreSettings(combination_rule=CombinationRule.LEGACY_OFFSET))
    evaluator = Evaluator(store, EvaluationSettings.model_validate({"penalties": ("extreme_ssms",)}))
    with pytest.raises(ConfigError, match="penalties"):
        StoreLikelihood(evaluator, SamplingSettings())


def test_a_failed_fit_is_an_outcome_with_the_analysis_named(store: ResultsStore) -> None:
    """A region whose background is not a number: its likelihood has none, and the state no density."""
    model = stops(500.0, 150.0)
    names, _, _ = at_one(store, model, ScoreSettings())
    candidates = select_candidates(Evaluator(store, EvaluationSettings()).predictor.predict(model.spectrum()), store, ScoreSettings())
    dataset = next(candidate.dataset for candidate in candidates if candidate.kind is PredictionKind.EFFICIENCY_MAP)
    broken = np.array(store.expected_bg)
    broken[dataset] = math.nan
    weight = build(replace(store, expected_bg=broken))(model)
    assert weight.outcome is Outcome.FIT_FAILED
    assert weight.log_likelihood == -math.inf
    assert set(weight.failures) <= set(names)
    assert sum(weight.failures.values()) == 1
