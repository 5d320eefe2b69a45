"""One step of a walk: propose, evaluate, rescale, decide.

Walk: moves ──▶ **kernel** ──▶ walk ──▶ campaign. The kernel is a pure function of a random generator and a state; the
evaluation it is built with must be one, too. In order:

1. the Metropolis number is drawn;
2. a teleport may replace everything that follows up to the decision (off by default);
3. trim, then birth, branching ratios, multipliers, death, mass: each decides for itself whether it happens;
4. model and simplified copy are evaluated; the copy is taken if its K is not lower (arXiv:2012.12246 Sec. 4.1);
5. if K would be refused, the step ends here;
6. multipliers are scaled by mu_hat, and the scaled model is evaluated anew until mu_hat = 1: its K can differ, because
   thresholds on cross sections and multipliers are fixed numbers. What is decided upon and stored is the scaled
   model's own evaluation. Not scaled: mu_hat = 0;
7. it is accepted if K_new > K_old, else with probability exp((K_new - K_old)/2) (the paper's sentence has accepted and
   rejected exchanged); a model without a score, vetoed by a critic, or not scalable to mu_hat = 1 below the cap, never.

8. a model that is the walk's best by some margin is refined along the gradient of K, if the settings ask for it.

A critic judges the scaled model: what counts is whether the model is excluded at the signal strength it is stored with.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from enum import StrEnum
from itertools import count
from typing import NamedTuple, TypeAlias

import numpy as np

from builder.evaluation import Evaluation
from builder.moves.birth import birth
from builder.moves.branching_ratio import branching_ratio
from builder.moves.context import Move, MoveContext
from builder.moves.death import death
from builder.moves.mass import mass
from builder.moves.merge import merge
from builder.moves.settings import WalkSettings
from builder.moves.ssm import ssm
from builder.moves.teleport import teleport
from builder.moves.trim import trim
from builder.protomodel import ProtoModel
from builder.walk_state import WalkState, admissible_k, score_of
from inference.types import Outcome

EvaluateFn: TypeAlias = Callable[[ProtoModel], Evaluation]
"""Scores one model; deterministic, and never raises for physics or numerics."""

RefineFn: TypeAlias = Callable[[ProtoModel, Evaluation], ProtoModel | None]
"""Returns a better model of the same content, not yet scaled to mu_hat = 1; None where there is none. Deterministic."""

HiscoresFn: TypeAlias = Callable[[], tuple[tuple[ProtoModel, float], ...]]
"""Returns stored models with their K; only teleports ask."""

RANDOM_CHANGES: tuple[tuple[str, Move], ...] = (("birth", birth), ("branching_ratio", branching_ratio), ("ssm", ssm), ("death", death))
"""Random changes in the order of a step; the mass move follows, since it asks whether one of these happened."""


class Decision(StrEnum):
    """How a step ended."""

    ACCEPTED = "accepted"
    METROPOLIS = "metropolis"
    """K is lower, and the Metropolis number refused it."""
    NO_SCORE = "no_score"
    """The proposal could not be evaluated; the outcome says why."""
    EXCLUDED = "excluded"
    """A critic vetoed the proposal."""
    NOT_RESCALED = "not_rescaled"
    """No multipliers below the cap give mu_hat = 1."""
    UNCHANGED = "unchanged"
    """No move changed the model."""


class StepInfo(NamedTuple):
    """What happened in one step.

    Attributes:
        moves: names of the moves that changed the proposal, in order.
        is_accepted: whether the walk moved.
        log_alpha: logarithm of the acceptance probability; -inf where the proposal is not admissible.
        outcome: outcome of the proposal's evaluation.
        is_excluded: whether a critic vetoed the proposal.
        k_proposed: K of the proposal; -inf where it has none.
        tl_proposed: T_L of the proposal; nan where it has none.
        num_particles_proposed: particles of the proposal, the lightest included.
        hiscore_candidate: the accepted model with its evaluation; None in rejected steps.
        decision: how the step ended.
        num_evaluations: models evaluated in this step.
        failures: failed numerical evaluations per analysis id, over all models evaluated in this step.
    """

    moves: tuple[str, ...]
    is_accepted: bool
    log_alpha: float
    outcome: Outcome
    is_excluded: bool
    k_proposed: float
    tl_proposed: float
    num_particles_proposed: int
    hiscore_candidate: tuple[ProtoModel, Evaluation] | None
    decision: Decision
    num_evaluations: int
    failures: Mapping[str, int]


Kernel: TypeAlias = Callable[[np.random.Generator, WalkState], tuple[WalkState, StepInfo]]


class Rescaled(NamedTuple):
    """A model scaled to mu_hat = 1.

    Attributes:
        protomodel: the scaled model.
        evaluation: its own evaluation.
        is_converged: whether mu_hat is 1 (or 0).
    """

    protomodel: ProtoModel
    evaluation: Evaluation
    is_converged: bool


def log_acceptance(k_new: float, k_old: float) -> float:
    """Return ln min(1, exp((K_new - K_old)/2)), arXiv:2012.12246 Sec. 4.1; -inf where the new model has no K.

    Examples:
        >>> log_acceptance(4.0, 3.0), log_acceptance(2.0, 3.0)
        (0.0, -0.5)
    """
    if k_new == -math.inf:
        return -math.inf
    return 0.0 if k_old == -math.inf else min(0.0, 0.5 * (k_new - k_old))


def contributing_pids(evaluation: Evaluation) -> frozenset[int]:
    """Return the particles that contribute to any member of the best combination."""
    return frozenset(pid for member in evaluation.combination for pid in member.pids)


def propose(rng: np.random.Generator, protomodel: ProtoModel, context: MoveContext) -> tuple[ProtoModel, tuple[str, ...]]:
    """Return a randomly changed model and the names of the moves that changed it."""
    current, names = protomodel, []
    trimmed = trim(rng, current, context)
    if trimmed is not None:
        current = trimmed
        names.append("trim")
    is_changed = False
    for name, move in RANDOM_CHANGES:
        changed = move(rng, current, context)
        if changed is not None:
            current, is_changed = changed, True
            names.append(name)
    moved = mass(rng, current, replace(context, is_changed=is_changed))
    if moved is not None:
        current = moved
        names.append("mass")
    return context.settings.pool.restrict(current), tuple(names)


def scale_ssms(protomodel: ProtoModel, factor: float, settings: WalkSettings) -> ProtoModel:
    """Return the model with all multipliers times the factor, none above the caps."""
    scaled = protomodel.with_scaled_production(factor)
    too_large = {pair: settings.ssm_cap for pair, value in scaled.ssms.items() if value > settings.ssm_cap}
    return settings.pool.restrict(scaled.with_ssms(too_large) if too_large else scaled)


def rescale(protomodel: ProtoModel, evaluation: Evaluation, evaluate: EvaluateFn, settings: WalkSettings) -> Rescaled:
    """Scale the multipliers by mu_hat and evaluate anew, until mu_hat is 1.

    Args:
        protomodel: the model.
        evaluation: its evaluation.
        evaluate: scores a model.
        settings: tolerance on mu_hat, number of attempts, cap of the multipliers.

    Returns:
        The scaled model with its own evaluation. It is not converged where mu_hat stays away from 1, which
        happens when the cap forbids the signal strength the data ask for.
    """
    for num_scalings in count():
        is_scored = score_of(evaluation) > -math.inf
        if not is_scored or evaluation.mu_hat <= 0.0 or abs(evaluation.mu_hat - 1.0) <= settings.mu_tolerance:
            break
        if num_scalings == settings.max_rescalings or not math.isfinite(evaluation.mu_hat):
            return Rescaled(protomodel, evaluation, False)
        protomodel = scale_ssms(protomodel, evaluation.mu_hat, settings)
        evaluation = evaluate(protomodel)
    return Rescaled(protomodel, evaluation, True)


def build_kernel(
    evaluate: EvaluateFn,
    settings: WalkSettings,
    hiscores: HiscoresFn | None = None,
    judge_fully: EvaluateFn | None = None,
    refine: RefineFn | None = None,
    temperature: float = 1.0,
) -> Kernel:
    """Build the function that does one step.

    Args:
        evaluate: scores a model.
        settings: the walk's settings.
        hiscores: returns stored models with their K, for teleports.
        judge_fully: evaluates a model that would be accepted, costly critics included; None: `evaluate` asks every critic.
        refine: returns a better model of the same content (`builder.refine`); asked for the best models of the walk.
        temperature: T of the walk; a lower K is accepted with probability exp(ΔK/2T).

    Returns:
        `kernel(rng, state) -> (state, info)`; the same generator and state give the same result.
    """

    def kernel(rng: np.random.Generator, state: WalkState) -> tuple[WalkState, StepInfo]:
        evaluations: list[Evaluation] = []

        def evaluate_counted(protomodel: ProtoModel) -> Evaluation:
            evaluations.append(evaluate(protomodel))
            return evaluations[-1]

        log_threshold = temperature * math.log1p(-rng.random())  # ln of the Metropolis number, times T: compared with ΔK/2
        context = MoveContext(
            settings=settings,
            step=state.step + 1,
            k=state.k,
            tl=state.evaluation.tl if state.evaluation.outcome == Outcome.OK else math.nan,
            contributing_pids=contributing_pids(state.evaluation),
            hiscores=hiscores() if hiscores is not None and settings.teleport.is_enabled else (),
        )
        target = teleport(rng, state.protomodel, context)
        proposal, moves = (target, ("teleport",)) if target is not None else propose(rng, state.protomodel, context)
        if proposal == state.protomodel:
            return _reject(state, proposal, state.evaluation, moves, Decision.UNCHANGED, evaluations)

        evaluation = evaluate_counted(proposal)
        copy = None if target is not None else merge(rng, proposal, context)
        if copy is not None:
            copy_evaluation = evaluate_counted(copy)
            if score_of(copy_evaluation) >= score_of(evaluation) and score_of(copy_evaluation) > -math.inf:
                proposal, evaluation = copy, copy_evaluation
                moves = (*moves, "merge")

        if score_of(evaluation) == -math.inf:
            return _reject(state, proposal, evaluation, moves, Decision.NO_SCORE, evaluations)
        if target is None and log_acceptance(score_of(evaluation), state.k) < log_threshold:
            return _reject(state, proposal, evaluation, moves, Decision.METROPOLIS, evaluations)

        scaled = rescale(proposal, evaluation, evaluate_counted, settings)
        proposal, evaluation = scaled.protomodel, scaled.evaluation
        if score_of(evaluation) == -math.inf:
            return _reject(state, proposal, evaluation, moves, Decision.NO_SCORE, evaluations)
        if not scaled.is_converged:
            return _reject(state, proposal, evaluation, moves, Decision.NOT_RESCALED, evaluations)
        if evaluation.verdict.is_excluded:
            return _reject(state, proposal, evaluation, moves, Decision.EXCLUDED, evaluations)
        if log_acceptance(evaluation.k, state.k) < log_threshold:
            return _reject(state, proposal, evaluation, moves, Decision.METROPOLIS, evaluations)
        if judge_fully is not None:
            evaluation = judge_fully(proposal)
            if evaluation.verdict.is_excluded:
                return _reject(state, proposal, evaluation, moves, Decision.EXCLUDED, evaluations)

        if refine is not None and evaluation.k >= state.best_k + settings.refine.min_gain:
            refined = _refine(refine, proposal, evaluation, evaluate_counted, judge_fully, settings)
            if refined is not None:
                proposal, evaluation = refined
                moves = (*moves, "refine")

        is_best = evaluation.k > state.best_k
        accepted = WalkState(
            protomodel=proposal,
            evaluation=evaluation,
            step=state.step + 1,
            best_protomodel=proposal if is_best else state.best_protomodel,
            best_evaluation=evaluation if is_best else state.best_evaluation,
        )
        info = StepInfo(
            moves=moves,
            is_accepted=True,
            log_alpha=log_acceptance(evaluation.k, state.k),
            outcome=evaluation.outcome,
            is_excluded=False,
            k_proposed=evaluation.k,
            tl_proposed=evaluation.tl,
            num_particles_proposed=proposal.num_particles,
            hiscore_candidate=(proposal, evaluation),
            decision=Decision.ACCEPTED,
            num_evaluations=len(evaluations),
            failures=_sum_failures(evaluations),
        )
        return accepted, info

    return kernel


def _refine(
    refine: RefineFn,
    protomodel: ProtoModel,
    evaluation: Evaluation,
    evaluate: EvaluateFn,
    judge_fully: EvaluateFn | None,
    settings: WalkSettings,
) -> tuple[ProtoModel, Evaluation] | None:
    """Return the refined and scaled model with its evaluation; None if it is not admissible or not better."""
    better = refine(protomodel, evaluation)
    if better is None:
        return None
    better = settings.pool.restrict(better)
    scaled = rescale(better, evaluate(better), evaluate, settings)
    if not scaled.is_converged or admissible_k(scaled.evaluation) <= evaluation.k:
        return None
    final = scaled.evaluation if judge_fully is None else judge_fully(scaled.protomodel)
    return (scaled.protomodel, final) if admissible_k(final) > evaluation.k else None


def _reject(
    state: WalkState,
    proposal: ProtoModel,
    evaluation: Evaluation,
    moves: tuple[str, ...],
    decision: Decision,
    evaluations: list[Evaluation],
) -> tuple[WalkState, StepInfo]:
    """Return the state one step later, still at the same model, and why."""
    is_admissible = decision in (Decision.METROPOLIS, Decision.UNCHANGED)
    has_score = score_of(evaluation) > -math.inf
    outcome = evaluation.outcome
    if outcome == Outcome.OK and not has_score:
        outcome = Outcome.NON_FINITE
    info = StepInfo(
        moves=moves,
        is_accepted=False,
        log_alpha=log_acceptance(score_of(evaluation), state.k) if is_admissible else -math.inf,
        outcome=outcome,
        is_excluded=decision == Decision.EXCLUDED,
        k_proposed=score_of(evaluation),
        tl_proposed=evaluation.tl if has_score else math.nan,
        num_particles_proposed=proposal.num_particles,
        hiscore_candidate=None,
        decision=decision,
        num_evaluations=len(evaluations),
        failures=_sum_failures(evaluations),
    )
    return replace(state, step=state.step + 1), info


def _sum_failures(evaluations: list[Evaluation]) -> dict[str, int]:
    """Return the failed numerical evaluations per analysis id, summed over models."""
    failures: Counter[str] = Counter()
    for evaluation in evaluations:
        failures.update(evaluation.failures)
    return dict(failures)
