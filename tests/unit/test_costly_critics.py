"""Critics that fit likelihoods are asked late: the same chain for less work, and verdicts complete where models are stored."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest

from builder.evaluate import EvaluationSettings, Evaluator
from builder.evaluation import Evaluation
from builder.kernel import build_kernel
from builder.protomodel import ProtoModel
from builder.walk import run_steps, start_walk
from builder.walk_state import WalkState
from configs.loading import parse_settings
from configs.schema import RunConfig
from critics.settings import CriticName, CriticSettings
from database.results.importer import open_embedded_store
from services.campaign.hiscores import describe_hiscore

NUM_STEPS = 60
CONFIG = parse_settings(RunConfig, {"walk": {"ssm_cap": 20.0, "pool": {"allowed_particles": ["Xt", "Xd", "X_W^1", "X_Z^2"]}}})


@pytest.fixture(scope="module")
def evaluator() -> Evaluator:
    # a strict threshold, so that the likelihood critic vetoes some of what the others admit
    critics = CriticSettings(critics=tuple(CriticName), likelihood_threshold=0.6)
    return Evaluator(open_embedded_store(), EvaluationSettings(critics=critics))


def walk(evaluate: Any, judge_fully: Any, seed: int) -> tuple[list[str], WalkState]:
    kernel = build_kernel(evaluate, CONFIG.walk, None, judge_fully)
    state = start_walk(seed, 0, judge_fully or evaluate, CONFIG.walk)
    decisions = []
    for after, info in run_steps(state, NUM_STEPS, seed=seed, walk_number=0, kernel=kernel):
        state = after
        decisions.append(f"{info.decision} {info.k_proposed!r} {state.protomodel.content_hash}")
    return decisions, state


@pytest.mark.parametrize("seed", [3, 4])
def test_late_critics_give_the_same_chain(evaluator: Evaluator, seed: int) -> None:
    calls: Counter[str] = Counter()

    def late(model: ProtoModel) -> Evaluation:
        calls["late"] += 1
        return evaluator.evaluate(model)

    def early(model: ProtoModel) -> Evaluation:
        calls["early"] += 1
        return evaluator.evaluate(model, skips_costly_critics=True)

    eager, at_end = walk(evaluator.evaluate, None, seed)
    lazy, same_end = walk(early, late, seed)
    assert lazy == eager
    assert same_end.to_json() == at_end.to_json()
    assert 0 < calls["late"] < 0.7 * calls["early"]
    assert any(decision.startswith("excluded") for decision in eager), "the test needs a veto"
    assert any(decision.startswith("accepted") for decision in eager)


def test_stored_verdicts_are_complete(evaluator: Evaluator) -> None:
    _, state = walk(lambda model: evaluator.evaluate(model, skips_costly_critics=True), evaluator.evaluate, 3)
    stored = describe_hiscore(0, state.step, state.best_protomodel, state.best_evaluation)
    assert [finding["critic"] for finding in stored.verdict["findings"]] == [name.value for name in CriticName]
    constraints = stored.verdict["constraints"]
    assert {constraint["critic"] for constraint in constraints} <= {name.value for name in CriticName}
    assert all(math.isfinite(constraint["r_obs"]) for constraint in constraints)
    assert evaluator.has_costly_critics
