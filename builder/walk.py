"""A walk: one chain of protomodels, started, continued, stored and replayed.

Walk: kernel ──▶ **walk** ──▶ campaign. Every step draws from its own generator, keyed by the campaign's seed, the walk's
number and the step's: a walk that is interrupted and resumed from its stored state goes on as if nothing had happened, and
any single step can be replayed.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator

import numpy as np

from builder.evaluation import Evaluation
from builder.kernel import (
    Decision,
    EvaluateFn,
    HiscoresFn,
    Kernel,
    Rescaled,
    StepInfo,
    build_kernel,
    rescale,
)
from builder.moves.birth import add_particle, force_birth
from builder.moves.context import MoveContext
from builder.moves.settings import WalkSettings
from builder.protomodel import ProtoModel
from builder.rates import implied_ssms
from builder.walk_state import WalkState, admissible_k
from database.errors import ConfigError
from inference.spectrum import LBP_PID

__all__ = [
    "Decision",
    "EvaluateFn",
    "HiscoresFn",
    "Kernel",
    "StepInfo",
    "WalkSettings",
    "WalkState",
    "build_kernel",
    "draw_start",
    "run_steps",
    "start_walk",
    "step_rng",
]

log = logging.getLogger(__name__)

MAX_KEY = 2**64
"""Seed, walk number and step are 64-bit numbers."""


def step_rng(seed: int, walk_number: int, step: int) -> np.random.Generator:
    """Return the generator of one step: Philox with key (seed, walk number) and the step in the counter.

    Streams of different (seed, walk number, step) never overlap (Salmon et al., DOI 10.1145/2063384.2063405).

    Args:
        seed: the campaign's seed.
        walk_number: the walk's number in the campaign.
        step: the step's number; 0 is the start.

    Raises:
        ConfigError: one of them is negative or needs more than 64 bits.

    Examples:
        >>> step_rng(1, 2, 3).random() == step_rng(1, 2, 3).random(), step_rng(1, 2, 3).random() == step_rng(1, 2, 4).random()
        (True, False)
    """
    for name, value in (("seed", seed), ("walk_number", walk_number), ("step", step)):
        if not 0 <= value < MAX_KEY:
            raise ConfigError(f"{name} must be between 0 and 2^64 - 1, not {value}.")
    key = np.array([seed, walk_number], dtype=np.uint64)
    counter = np.array([0, 0, 0, step], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


def draw_start(rng: np.random.Generator, settings: WalkSettings) -> ProtoModel:
    """Return a first model: X_Z^1 at U(200, 500) GeV and one particle at random, or those the settings ask for.

    Args:
        rng: source of randomness.
        settings: range of the lightest mass, initial particles, rules.

    Raises:
        ConfigError: a particle of the initial content is not possible under the rules.
    """
    start, context = settings.start, MoveContext(settings)
    lbp_mass = float(rng.uniform(start.lbp_mass_min_gev, start.lbp_mass_max_gev))
    lightest = ProtoModel({LBP_PID: lbp_mass}, {}, {})
    if not start.initial_particles:
        first = force_birth(rng, lightest, context)
        if first is None:
            raise ConfigError("walk: no particle can be added to X_Z^1; check forbidden_particles, pool and rules.")
        return settings.pool.restrict(first)
    protomodel = lightest
    for pid in start.initial_particles:
        needed = settings.rules.particle_to_add(pid, protomodel.masses)
        larger = add_particle(rng, protomodel, pid, context) if needed == pid and pid not in protomodel.masses else None
        if larger is None:
            raise ConfigError(f"walk.start.initial_particles: {pid} cannot be added to {list(protomodel.masses)} under the rules.")
        protomodel = larger
    return settings.pool.restrict(protomodel)


def start_walk(
    seed: int, walk_number: int, evaluate: EvaluateFn, settings: WalkSettings, protomodel: ProtoModel | None = None
) -> WalkState:
    """Return the state of a walk before its first step.

    Args:
        seed: the campaign's seed.
        walk_number: the walk's number in the campaign.
        evaluate: scores a model.
        settings: the walk's settings.
        protomodel: model to start from; None: a random one (`draw_start`). Explicit cross sections become
            multipliers, so that moves can change them.

    Returns:
        The state, multipliers scaled to mu_hat = 1 where the model has a score. A start without one, vetoed by a
        critic, or not scalable below the cap has K = -inf: the walk leaves it for the first admissible model.
    """
    rng = step_rng(seed, walk_number, 0)
    if protomodel is not None:
        first = _with_multipliers(protomodel)
        scaled = rescale(first, evaluate(first), evaluate, settings)
    elif settings.start.num_candidates > 1 and not settings.start.initial_particles:
        scaled = _draw_promising(rng, evaluate, settings)
        first = scaled.protomodel
    else:
        first = draw_start(rng, settings)
        scaled = rescale(first, evaluate(first), evaluate, settings)
    evaluation: Evaluation = scaled.evaluation
    log.info("walk=%d step=0 particles=%s outcome=%s k=%s", walk_number, list(first.masses), evaluation.outcome, evaluation.k)
    return WalkState(scaled.protomodel, evaluation, 0, scaled.protomodel, evaluation, scaled.is_converged)


def _draw_promising(rng: np.random.Generator, evaluate: EvaluateFn, settings: WalkSettings) -> Rescaled:
    """Draw several starts, score them, and take one with probability exp(K/2); without any score, the first.

    The reference program's initialiser draws topologies of single excesses from a table of significances; scoring the drawn models
    themselves also knows which excesses go together and what contradicts them.
    """
    context = MoveContext(settings)
    candidates: list[Rescaled] = []
    for _ in range(settings.start.num_candidates):
        model = draw_start(rng, settings)
        for _ in range(int(rng.integers(settings.start.max_candidate_particles))):
            larger = force_birth(rng, model, context)
            model = model if larger is None else settings.pool.restrict(larger)
        candidates.append(rescale(model, evaluate(model), evaluate, settings))
    scores = np.array([admissible_k(found.evaluation) if found.is_converged else -math.inf for found in candidates])
    if not np.isfinite(scores).any():
        return candidates[0]
    weights = np.exp(0.5 * (scores - scores.max()))
    return candidates[int(rng.choice(len(candidates), p=weights / weights.sum()))]


def _with_multipliers(protomodel: ProtoModel) -> ProtoModel:
    """Return the model with explicit cross sections turned into multipliers; pairs without a reference are dropped."""
    if protomodel.explicit_xsecs_fb is None:
        return protomodel
    produced = implied_ssms(protomodel.masses, protomodel.explicit_xsecs_fb)
    silent = ProtoModel(protomodel.masses, protomodel.branching_ratios, {}, widths=protomodel.widths)
    pairs = {pair for xsecs in silent.spectrum().xsecs_fb.values() for pair in xsecs}
    return silent.with_ssms({pair: produced.get(pair, 0.0) for pair in pairs})


def run_steps(state: WalkState, num_steps: int, *, seed: int, walk_number: int, kernel: Kernel) -> Iterator[tuple[WalkState, StepInfo]]:
    """Yield state and info of the next steps; stopping in between and going on later gives the same chain.

    Args:
        state: where the walk stands.
        num_steps: steps to do.
        seed: the campaign's seed.
        walk_number: the walk's number in the campaign.
        kernel: from `build_kernel`.
    """
    for _ in range(num_steps):
        state, info = kernel(step_rng(seed, walk_number, state.step + 1), state)
        k_text = "none" if math.isinf(info.k_proposed) else f"{info.k_proposed:.3f}"
        log.debug("walk=%d step=%d moves=%s k=%s decision=%s", walk_number, state.step, ",".join(info.moves), k_text, info.decision)
        yield state, info
