"""Climbing along the gradient of K, starts at excesses, hot walkers: on the embedded results."""

import math

import numpy as np
import pytest

from builder.evaluate import EvaluationSettings, Evaluator
from builder.evaluation import Evaluation
from builder.kernel import build_kernel, rescale
from builder.moves.settings import RefineSettings, StartSettings, WalkSettings
from builder.protomodel import ProtoModel
from builder.refine import _Coordinates, build_refiner, climb
from builder.walk import run_steps, start_walk, step_rng
from builder.walk_state import admissible_k
from database.results.embedded import open_embedded_store
from inference.gradients.parameters import Parameters

STOP = ProtoModel(
    {1000022: 60.0, 1000023: 450.0, 1000006: 520.0},
    {1000006: {(6, 1000022): 0.6, (6, 1000023): 0.4}, 1000023: {(23, 1000022): 1.0}},
    {(-1000006, 1000006): 0.8},
)
SETTINGS = WalkSettings()


@pytest.fixture(scope="module")
def evaluator() -> Evaluator:
    return Evaluator(open_embedded_store(), EvaluationSettings())


def test_a_climb_raises_k_and_keeps_the_content(evaluator: Evaluator) -> None:
    start = rescale(STOP, evaluator.evaluate(STOP), evaluator.evaluate, SETTINGS)
    found = climb(evaluator, start.protomodel, SETTINGS.rules, RefineSettings(max_evaluations=20), SETTINGS.ssm_cap)
    assert found.k > found.k_start + 1e-3
    assert found.protomodel.pids == STOP.pids
    assert {pid: set(channels) for pid, channels in found.protomodel.branching_ratios.items()} == {
        pid: set(channels) for pid, channels in start.protomodel.branching_ratios.items()
    }
    assert SETTINGS.rules.find_violation(found.protomodel.masses) is None
    scaled = rescale(found.protomodel, evaluator.evaluate(found.protomodel), evaluator.evaluate, SETTINGS)
    assert admissible_k(scaled.evaluation) == pytest.approx(found.k, abs=0.02)  # masses are rounded to 0.1 GeV there


def test_a_climb_next_to_an_edge_of_the_rules(evaluator: Evaluator) -> None:
    """Steps to spectra that do not exist (X_Z^2 below X_Z^1) are refused, not errors."""
    close = ProtoModel(
        {1000022: 290.0, 1000023: 292.0, 1000006: 520.0},
        {1000006: {(6, 1000022): 0.5, (6, 1000023): 0.5}, 1000023: {(-11, 11, 1000022): 1.0}},
        {(-1000006, 1000006): 0.8},
    )
    found = climb(evaluator, close, SETTINGS.rules, RefineSettings(mass_scale_gev=200.0, max_evaluations=15), SETTINGS.ssm_cap)
    assert found.k >= found.k_start


def test_a_climb_is_repeatable(evaluator: Evaluator) -> None:
    first, second = (climb(evaluator, STOP, SETTINGS.rules, RefineSettings(max_evaluations=8), 100.0) for _ in range(2))
    assert (first.protomodel, first.k) == (second.protomodel, second.k)


def test_models_with_explicit_cross_sections_or_small_k_stay_as_they_are(evaluator: Evaluator) -> None:
    explicit = ProtoModel(STOP.masses, STOP.branching_ratios, {}, {13: {(-1000006, 1000006): 400.0}})
    assert climb(evaluator, explicit, SETTINGS.rules, RefineSettings(), 100.0).protomodel is explicit
    refine = build_refiner(evaluator, SETTINGS.rules, RefineSettings(min_k=1e6), 100.0)
    assert refine(STOP, evaluator.evaluate(STOP)) is None


def test_slopes_of_the_coordinates_are_the_chain_rule() -> None:
    """A linear function of the model's parameters, differentiated by finite differences."""
    channels = tuple((pid, daughters) for pid, ratios in STOP.branching_ratios.items() for daughters in ratios)
    parameters = Parameters(tuple(STOP.masses), ((-1000006, 1000006),), channels)
    coordinates = _Coordinates(STOP, parameters, SETTINGS.rules, RefineSettings(), 100.0)
    gradient = np.random.default_rng(3).normal(size=parameters.size)

    def value(x: np.ndarray) -> float:
        model = coordinates.model(x)
        numbers = [model.masses[pid] for pid in parameters.masses]
        numbers += [model.ssm(pair) for pair in parameters.ssms]
        numbers += [model.branching_ratios[pid][daughters] for pid, daughters in parameters.branching_ratios]
        return float(gradient @ np.array(numbers))

    slope = coordinates.slope(coordinates.start, gradient)
    for i in range(parameters.size):
        step = np.zeros(parameters.size)
        step[i] = 1e-6
        difference = (value(coordinates.start + step) - value(coordinates.start - step)) / 2e-6
        assert slope[i] == pytest.approx(difference, rel=1e-6, abs=1e-6)


def test_a_walk_with_refinement_replays(evaluator: Evaluator) -> None:
    settings = WalkSettings(refine=RefineSettings(is_enabled=True, min_k=-10.0, max_evaluations=6))
    chains = []
    for _ in range(2):
        kernel = build_kernel(
            evaluator.evaluate, settings, refine=build_refiner(evaluator, settings.rules, settings.refine, settings.ssm_cap)
        )
        state = start_walk(1, 0, evaluator.evaluate, settings)
        chains.append([(s.k, info.moves) for s, info in run_steps(state, 40, seed=1, walk_number=0, kernel=kernel)])
    assert chains[0] == chains[1]
    assert any("refine" in moves for _, moves in chains[0])


def test_starts_at_excesses_are_better_than_random_ones(evaluator: Evaluator) -> None:
    plain, drawn = SETTINGS, WalkSettings(start=StartSettings(num_candidates=20))
    starts = [[start_walk(1, walk, evaluator.evaluate, settings).k for walk in range(6)] for settings in (plain, drawn)]
    assert np.median(starts[1]) > np.median(starts[0])
    assert start_walk(1, 3, evaluator.evaluate, drawn).protomodel == start_walk(1, 3, evaluator.evaluate, drawn).protomodel


def test_a_hot_walk_accepts_what_a_cold_one_refuses(evaluator: Evaluator) -> None:
    def score(model: ProtoModel) -> Evaluation:
        return evaluator.evaluate(model)

    state = start_walk(2, 0, score, SETTINGS)
    accepted = []
    for temperature in (1.0, 1e9):
        kernel = build_kernel(score, SETTINGS, temperature=temperature)
        infos = [info for _, info in run_steps(state, 60, seed=2, walk_number=0, kernel=kernel)]
        accepted.append(sum(info.is_accepted for info in infos))
        assert step_rng(2, 0, 1).random() == step_rng(2, 0, 1).random()
    assert accepted[1] > accepted[0]


@pytest.mark.parametrize("temperatures", [(0.0,), (1.0, -2.0), (math.inf,), ()])
def test_temperatures_are_positive(temperatures: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="temperatures"):
        WalkSettings(temperatures=temperatures)
