"""Whole walks on targets known in closed form: acceptance, best model, replay."""

from __future__ import annotations

import json
import math
import os
from collections import Counter

import pytest

from builder.evaluation import Evaluation, Member, PriorTerms
from builder.kernel import Decision, StepInfo
from builder.moves.settings import WalkSettings
from builder.protomodel import ProtoModel
from builder.walk import EvaluateFn, build_kernel, run_steps, start_walk
from builder.walk_state import WalkState
from critics.verdict import Verdict
from inference.spectrum import LBP_PID
from inference.types import Outcome

SEED = int(os.environ.get("PROTOMODELS_TEST_SEED", "20"))
XD, XT = 1000001, 1000006
BEST_MASSES = {XT: 1100.0, LBP_PID: 160.0}
PEAK_TL = 16.0


def evaluate_hill(model: ProtoModel) -> Evaluation:
    """Score: T_L = 16 for κσ of X_t pairs at its best, falling with the distance of (m_t, m_LBP) from (1100, 160) GeV.

    T_L is the gain of a Gaussian in ln μ around the best cross section, so mu_hat scales every model to 5 fb; each
    particle costs 1, each multiplier class 0.25. Models with X_d below 900 GeV are excluded.
    """
    num = model.num_particles
    log_prior = -(num / 2 + len(set(model.ssms.values())) / 8)
    terms = PriorTerms(num, 0, float(len(set(model.ssms.values()))))
    is_excluded = model.masses.get(XD, math.inf) < 900.0
    verdict = Verdict(is_excluded, math.inf, 2.0 if is_excluded else 0.5, math.nan, "light X_d" if is_excluded else "fine")
    xsec = model.xsecs_fb(13).get((-XT, XT), 0.0)
    if xsec <= 0.0:
        return Evaluation(Outcome.NO_PREDICTION, -math.inf, math.nan, math.nan, math.inf, log_prior, terms, verdict)
    distance = sum(((model.masses[pid] - best) / 400.0) ** 2 for pid, best in BEST_MASSES.items())
    tl = PEAK_TL * math.exp(-0.5 * distance) * model.branching_ratios[XT].get((6, LBP_PID), 0.0)
    member = Member("HILL", "em", "SR", ("T2tt",), 8.0, 3.0, 1.0, 2.0, 5.0, (LBP_PID, XT), 0.5 * tl)
    return Evaluation(Outcome.OK, tl + 2 * log_prior, tl, 5.0 / xsec, math.inf, log_prior, terms, verdict, (member,))


def run_walk(
    evaluate: EvaluateFn, num_steps: int, walk_number: int = 0, settings: WalkSettings | None = None
) -> tuple[list[WalkState], list[StepInfo]]:
    settings = settings or WalkSettings()
    kernel = build_kernel(evaluate, settings)
    start = start_walk(SEED, walk_number, evaluate, settings)
    chain = list(run_steps(start, num_steps, seed=SEED, walk_number=walk_number, kernel=kernel))
    return [start] + [state for state, _ in chain], [info for _, info in chain]


@pytest.fixture(scope="module")
def walks() -> list[tuple[list[WalkState], list[StepInfo]]]:
    return [run_walk(evaluate_hill, 600, number, WalkSettings(ssm_cap=1e5)) for number in range(5)]


def test_the_best_model_is_found(walks: list[tuple[list[WalkState], list[StepInfo]]]) -> None:
    """Best K = 16 - 2 - 0.25 for {X_Z^1, X_t}; 600 steps of ±200 GeV come within half a unit of it, from anywhere."""
    for states, _ in walks:
        best = states[-1].best_protomodel
        assert set(best.masses) == {LBP_PID, XT}
        assert states[-1].best_k == pytest.approx(13.75, abs=0.5)
        assert best.masses[XT] == pytest.approx(1100.0, abs=150.0)
        assert best.xsecs_fb(13)[-XT, XT] == pytest.approx(5.0, rel=0.02)


def test_acceptance_follows_the_stated_probability(walks: list[tuple[list[WalkState], list[StepInfo]]]) -> None:
    """Steps decided by the Metropolis number: their number accepted agrees with the sum of their probabilities."""
    decided = [info for _, infos in walks for info in infos if -6.0 < info.log_alpha < 0.0 and info.decision != Decision.UNCHANGED]
    probabilities = [math.exp(info.log_alpha) for info in decided]
    spread = math.sqrt(sum(p * (1.0 - p) for p in probabilities))
    assert len(decided) > 200
    assert abs(sum(info.is_accepted for info in decided) - sum(probabilities)) < 4.0 * spread
    assert all(info.is_accepted for _, infos in walks for info in infos if info.log_alpha == 0.0 and info.decision != Decision.UNCHANGED)


def test_stored_evaluations_are_those_of_the_stored_models(walks: list[tuple[list[WalkState], list[StepInfo]]]) -> None:
    for states, infos in walks:
        for state in states[:: len(states) // 40]:
            assert evaluate_hill(state.protomodel) == state.evaluation
            assert evaluate_hill(state.best_protomodel) == state.best_evaluation
        for info in infos:
            if info.hiscore_candidate is not None:
                model, evaluation = info.hiscore_candidate
                assert evaluation.mu_hat == pytest.approx(1.0, abs=0.00101)
                assert not evaluation.verdict.is_excluded
                assert model.masses.get(XD, math.inf) >= 900.0


def test_everything_that_can_happen_is_counted(walks: list[tuple[list[WalkState], list[StepInfo]]]) -> None:
    infos = [info for _, some in walks for info in some]
    decisions = Counter(info.decision for info in infos)
    outcomes = Counter(info.outcome for info in infos if info.decision != Decision.UNCHANGED)
    moves = Counter(move for info in infos for move in info.moves)
    assert decisions[Decision.ACCEPTED] > 50
    assert decisions[Decision.EXCLUDED] > 0
    assert decisions[Decision.METROPOLIS] > 0
    assert decisions[Decision.NO_SCORE] == outcomes[Outcome.NO_PREDICTION] > 0
    assert set(moves) >= {"trim", "birth", "branching_ratio", "ssm", "death", "mass", "merge"}
    assert sum(info.num_evaluations for info in infos) < 3 * len(infos)


def test_best_k_never_falls_and_is_the_largest_accepted(walks: list[tuple[list[WalkState], list[StepInfo]]]) -> None:
    for states, infos in walks:
        best = [state.best_k for state in states]
        assert best == sorted(best)
        accepted = [info.k_proposed for info in infos if info.is_accepted]
        assert best[-1] == max([states[0].k, *accepted])


def test_trim_keeps_models_small(walks: list[tuple[list[WalkState], list[StepInfo]]]) -> None:
    sizes = [state.protomodel.num_particles for states, _ in walks for state in states[200:]]
    assert sum(sizes) / len(sizes) < 3.5


@pytest.mark.parametrize("cut", [1, 37, 100])
def test_a_stored_and_resumed_walk_is_the_same_walk(cut: int) -> None:
    settings = WalkSettings(ssm_cap=1e5)
    kernel = build_kernel(evaluate_hill, settings)
    whole_states, whole_infos = run_walk(evaluate_hill, 150, 3, settings)
    text = json.dumps(whole_states[cut].to_json(), allow_nan=False)
    resumed = WalkState.from_json(json.loads(text))
    rest = list(run_steps(resumed, 150 - cut, seed=SEED, walk_number=3, kernel=kernel))
    for (state, info), whole_state, whole_info in zip(rest, whole_states[cut + 1 :], whole_infos[cut:], strict=True):
        assert json.dumps(state.to_json()) == json.dumps(whole_state.to_json())
        assert repr(info) == repr(whole_info)
        assert state.protomodel.content_hash == whole_state.protomodel.content_hash


def test_seed_and_walk_number_decide_everything() -> None:
    first, _ = run_walk(evaluate_hill, 40, 1)
    again, _ = run_walk(evaluate_hill, 40, 1)
    other, _ = run_walk(evaluate_hill, 40, 2)
    assert [s.protomodel for s in first] == [s.protomodel for s in again]
    assert first[0].protomodel != other[0].protomodel


def test_walks_leave_starts_that_cannot_be_scored() -> None:
    walks = [run_walk(evaluate_hill, 200, number) for number in range(5)]
    unscored = [infos for states, infos in walks if states[0].k == -math.inf]
    assert unscored
    for infos in unscored:
        assert any(info.is_accepted for info in infos)


def test_forbidden_particles_never_appear_in_a_walk() -> None:
    settings = WalkSettings(forbidden_particles=(XD, 1000021, 1000023, 1000024), ssm_cap=1e5)
    states, _ = run_walk(evaluate_hill, 300, 0, settings)
    seen = {pid for state in states for pid in state.protomodel.masses}
    assert not seen & {XD, 1000021, 1000023, 1000024, 1000002, 1000003}


def test_the_cap_holds_in_every_stored_model() -> None:
    states, _ = run_walk(evaluate_hill, 300, 0, WalkSettings(ssm_cap=3.0))
    accepted = [state for state in states if state.step and state.k > -math.inf]
    assert accepted
    assert all(max(state.protomodel.ssms.values()) <= 3.0 for state in accepted)
