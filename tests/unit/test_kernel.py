"""The decision of a step, case by case, with evaluations given by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from builder.evaluation import Evaluation, Member, PriorTerms
from builder.kernel import Decision, EvaluateFn, build_kernel, log_acceptance, rescale, scale_ssms
from builder.moves.settings import MergeSettings, TeleportSettings, WalkSettings
from builder.protomodel import ProtoModel
from builder.walk import run_steps, start_walk, step_rng
from builder.walk_state import WalkState, admissible_k
from critics.verdict import Verdict
from inference.spectrum import LBP_PID
from inference.types import Outcome

XT, XT2, XG = 1000006, 2000006, 1000021
SETTINGS = WalkSettings()
ADMITTED = Verdict(False, math.inf, 0.5, 0.6, "nothing excludes the model")
EXCLUDED = Verdict(True, 0.1, 13.0, 9.0, "excluded for the test")


def scored(k: float = 1.0, mu_hat: float = 1.0, verdict: Verdict = ADMITTED, outcome: Outcome = Outcome.OK) -> Evaluation:
    return Evaluation(outcome, k, k + 2.0, mu_hat, math.inf, -1.0, PriorTerms(2, 0, 1.0), verdict, (), {"CMS-SUS-19-006": 1}, 3)


def always(evaluation: Evaluation) -> EvaluateFn:
    return lambda _: evaluation


def stop_model(ssm: float = 1.0, mass: float = 1000.0) -> ProtoModel:
    return ProtoModel({LBP_PID: 200.0, XT: mass}, {XT: {(6, LBP_PID): 1.0}}, {(-XT, XT): ssm})


def state_at(evaluation: Evaluation, model: ProtoModel | None = None) -> WalkState:
    model = model or stop_model()
    return WalkState(model, evaluation, 0, model, evaluation)


@pytest.mark.parametrize(
    ("new", "old", "expected"),
    [
        (5.0, 4.0, 0.0),
        (4.0, 4.0, 0.0),
        (4.0, 6.0, -1.0),
        (-9.0, -math.inf, 0.0),
        (-math.inf, 1.0, -math.inf),
        (-math.inf, -math.inf, -math.inf),
    ],
)
def test_log_acceptance(new: float, old: float, expected: float) -> None:
    assert log_acceptance(new, old) == expected


def test_better_models_are_taken_and_offered_as_hiscores() -> None:
    kernel = build_kernel(always(scored(k=4.0)), SETTINGS)
    state, info = kernel(step_rng(1, 0, 1), state_at(scored(k=3.0)))
    assert info.is_accepted
    assert info.decision == Decision.ACCEPTED
    assert info.hiscore_candidate == (state.protomodel, state.evaluation)
    assert state.best_k == state.k == 4.0
    assert state.step == 1


@pytest.mark.parametrize(
    ("evaluation", "decision", "outcome"),
    [
        (scored(k=9.0, verdict=EXCLUDED), Decision.EXCLUDED, Outcome.OK),
        (scored(k=-math.inf, outcome=Outcome.NO_PREDICTION), Decision.NO_SCORE, Outcome.NO_PREDICTION),
        (scored(k=9.0, outcome=Outcome.FIT_FAILED), Decision.NO_SCORE, Outcome.FIT_FAILED),
        (scored(k=math.nan), Decision.NO_SCORE, Outcome.NON_FINITE),
        (scored(k=9.0, mu_hat=math.nan), Decision.NOT_RESCALED, Outcome.OK),
        (scored(k=9.0, mu_hat=2.0), Decision.NOT_RESCALED, Outcome.OK),
        (scored(k=-500.0), Decision.METROPOLIS, Outcome.OK),
    ],
)
def test_what_may_not_be_taken_is_counted_and_the_walk_stays(evaluation: Evaluation, decision: Decision, outcome: Outcome) -> None:
    start = state_at(scored(k=3.0))
    state, info = build_kernel(always(evaluation), SETTINGS)(step_rng(1, 0, 1), start)
    assert (info.decision, info.outcome, info.is_accepted) == (decision, outcome, False)
    assert info.is_excluded == (decision == Decision.EXCLUDED)
    assert info.hiscore_candidate is None
    assert info.failures["CMS-SUS-19-006"] == info.num_evaluations >= 1
    assert state == replace(start, step=1)


def test_any_scored_model_is_better_than_none_or_an_excluded_one() -> None:
    kernel = build_kernel(always(scored(k=-30.0)), SETTINGS)
    for poor in (scored(outcome=Outcome.NO_PREDICTION, k=-math.inf), scored(k=8.0, verdict=EXCLUDED)):
        state, info = kernel(step_rng(1, 0, 1), state_at(poor))
        assert info.is_accepted
        assert state.best_k == -30.0


def test_best_model_stays_when_the_walk_goes_down() -> None:
    high = state_at(scored(k=0.02))
    kernel = build_kernel(always(scored(k=0.0)), SETTINGS)
    state, info = next((s, i) for step in range(20) for s, i in [kernel(step_rng(1, 0, step), high)] if i.is_accepted)
    assert info.log_alpha == pytest.approx(-0.01)
    assert (state.k, state.best_k) == (0.0, 0.02)
    assert state.best_protomodel == high.protomodel


def kappa_target(target: float, cap_k: float = 3.0) -> Callable[[ProtoModel], Evaluation]:
    """Score a model as if the data wanted κ(stop pair) = target."""

    def evaluate(model: ProtoModel) -> Evaluation:
        kappa = model.ssm((-XT, XT))
        return scored(k=cap_k, mu_hat=target / kappa if kappa > 0.0 else 0.0)

    return evaluate


def test_rescaling_ends_at_mu_hat_one_and_keeps_the_scaled_models_own_evaluation() -> None:
    evaluate = kappa_target(0.25)
    scaled = rescale(stop_model(), evaluate(stop_model()), evaluate, SETTINGS)
    assert scaled.is_converged
    assert scaled.protomodel.ssms[-XT, XT] == pytest.approx(0.25)
    assert scaled.evaluation == evaluate(scaled.protomodel)
    assert scaled.evaluation.mu_hat == pytest.approx(1.0)


def test_stored_k_is_that_of_the_scaled_model() -> None:
    """K may jump when a threshold on κ is crossed: the step is decided and stored with the value after scaling."""

    def evaluate(model: ProtoModel) -> Evaluation:
        kappa = model.ssm((-XT, XT))
        return scored(k=2.0 if kappa < 0.5 else 5.0, mu_hat=0.1 / kappa)

    kernel = build_kernel(evaluate, WalkSettings(merge=MergeSettings(is_enabled=False)))
    low = state_at(scored(k=4.5))
    infos = [kernel(step_rng(1, 0, step), low)[1] for step in range(60)]
    accepted = [info for info in infos if info.is_accepted]
    assert accepted
    assert {info.k_proposed for info in accepted} == {2.0}
    assert {info.log_alpha for info in accepted} == {-1.25}


def test_mu_hat_zero_is_not_scaled() -> None:
    evaluation = scored(mu_hat=0.0)
    scaled = rescale(stop_model(), evaluation, always(evaluation), SETTINGS)
    assert scaled == (stop_model(), evaluation, True)


def test_the_cap_limits_scaling() -> None:
    assert scale_ssms(stop_model(2.0), 80.0, WalkSettings()).ssms[-XT, XT] == 100.0
    evaluate = kappa_target(500.0)
    assert not rescale(stop_model(), evaluate(stop_model()), evaluate, SETTINGS).is_converged
    assert rescale(stop_model(), evaluate(stop_model()), evaluate, WalkSettings(ssm_cap=1e4)).is_converged


def test_merged_copy_wins_ties_and_loses_when_worse() -> None:
    model = ProtoModel({LBP_PID: 200.0, XT: 900.0, XT2: 905.0}, {XT: {(6, LBP_PID): 1.0}, XT2: {(6, LBP_PID): 1.0}}, {})

    def evaluate_with(bonus: float) -> EvaluateFn:
        return lambda proposed: scored(k=5.0 + (bonus if proposed.num_particles == 2 else 0.0))

    taken = {}
    for bonus in (0.0, -0.001):
        kernel = build_kernel(evaluate_with(bonus), SETTINGS)
        infos = [kernel(step_rng(1, 0, step), state_at(scored(k=0.0), model))[1] for step in range(30)]
        taken[bonus] = sum("merge" in info.moves for info in infos)
    assert taken[0.0] > 10
    assert taken[-0.001] < taken[0.0]


def test_trim_uses_the_members_of_the_best_combination() -> None:
    member = Member("CMS-SUS-19-006", "em", "SR1", ("T2tt",), 10.0, 5.0, 1.0, 2.0, 5.0, (LBP_PID, XT), 1.0)
    model = ProtoModel({LBP_PID: 200.0, XT: 900.0, XG: 2000.0}, {XT: {(6, LBP_PID): 1.0}, XG: {(21, LBP_PID): 1.0}}, {})
    kernel = build_kernel(always(scored(k=5.0)), SETTINGS)
    _, info = kernel(step_rng(1, 0, 1), state_at(replace(scored(k=1.0), combination=(member,)), model))
    assert info.moves[0] == "trim"
    _, info = kernel(step_rng(1, 0, 1), state_at(scored(k=1.0), model))
    assert "trim" not in info.moves


def test_teleport_replaces_the_changes_of_a_step() -> None:
    settings = WalkSettings(teleport=TeleportSettings(is_enabled=True, max_probability=1.0, k_scale=1e-3))
    target = stop_model(mass=700.0)
    kernel = build_kernel(always(scored(k=6.0)), settings, lambda: ((target, 6.0),))
    state, info = kernel(step_rng(1, 0, 1), state_at(scored(k=0.0)))
    assert info.moves == ("teleport",)
    assert state.protomodel == target


def test_start_is_scaled_and_explicit_cross_sections_become_multipliers() -> None:
    reference = stop_model()
    explicit = ProtoModel(
        reference.masses, reference.branching_ratios, {}, {s: {(-XT, XT): 3.0 * reference.xsecs_fb(s)[-XT, XT]} for s in (8, 13)}
    )
    state = start_walk(1, 0, always(scored()), SETTINGS, explicit)
    assert state.protomodel.explicit_xsecs_fb is None
    assert state.protomodel.ssms[-XT, XT] == pytest.approx(3.0)
    scaled = start_walk(1, 0, kappa_target(0.5), SETTINGS, explicit)
    assert scaled.protomodel.ssms[-XT, XT] == pytest.approx(0.5)
    assert admissible_k(scaled.evaluation) == 3.0


def test_start_follows_the_published_rule_or_the_settings() -> None:
    for number in range(20):
        state = start_walk(7, number, always(scored()), SETTINGS)
        assert state.protomodel.num_particles == 2
        assert 200.0 <= state.protomodel.masses[LBP_PID] <= 500.0
    wanted = WalkSettings.model_validate({"start": {"initial_particles": [XT, XT2]}})
    assert set(start_walk(7, 0, always(scored()), wanted).protomodel.masses) == {LBP_PID, XT, XT2}


def test_run_steps_counts_from_the_state() -> None:
    kernel = build_kernel(always(scored()), SETTINGS)
    start = start_walk(1, 0, always(scored()), SETTINGS)
    steps = [state.step for state, _ in run_steps(start, 5, seed=1, walk_number=0, kernel=kernel)]
    assert steps == [1, 2, 3, 4, 5]


def test_a_start_beyond_the_cap_has_no_k_to_defend() -> None:
    evaluate = kappa_target(500.0, cap_k=9.0)
    state = start_walk(1, 0, evaluate, SETTINGS, stop_model())
    assert (state.k, state.best_k) == (-math.inf, -math.inf)
    assert WalkState.from_json(state.to_json()).k == -math.inf
    later, info = build_kernel(always(scored(k=-3.0)), SETTINGS)(step_rng(1, 0, 1), state)
    assert info.is_accepted
    assert (later.k, later.best_k) == (-3.0, -3.0)
