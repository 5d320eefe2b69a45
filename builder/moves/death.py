"""Death: a particle leaves the model.

Published (arXiv:2012.12246 Sec. 4.1): particles are removed more often when there are many, and more rarely at high
test statistic. Decays into the removed particle go, what remains of each mother is normalised and its multipliers
are scaled so that σ·BR of the surviving channels stays.

The reference code compared u ~ N(0.4/D, 0.5) with n/N, D = max(1, T_L + 1): removing became *more* frequent at high
test statistic. A choice that the ordering rule blocked was still counted as a change.

Here: u ~ N(1 - 0.6/D, 0.5), the same as the code at D = 1 and rising from there; remove iff u <= n/N. A blocked
choice is no change. Particles that are left without any open channel leave too.
"""

from __future__ import annotations

import math

import numpy as np

from builder.moves.context import MoveContext
from builder.moves.draft import Draft, settle_decays
from builder.moves.settings import DeathSettings
from builder.particles import POOL_PIDS
from builder.protomodel import ProtoModel

MIN_PARTICLES = 2
"""Nothing is removed from a model of X_Z^1 and one more particle."""


def death_probability(num_particles: int, damping: float, settings: DeathSettings, pool_size: int = len(POOL_PIDS)) -> float:
    """Return P(remove) = Φ((n/N - 1 + reach/D) / spread); 0 for two particles or fewer.

    Args:
        num_particles: n, the lightest particle included.
        damping: D = max(1, T_L + 1).
        settings: reach and spread.
        pool_size: N.

    Examples:
        Three particles at low test statistic, as published, and at T_L = 5:

        >>> round(death_probability(3, 1.0, DeathSettings()), 2), round(death_probability(3, 6.0, DeathSettings()), 2)
        (0.31, 0.07)
    """
    if num_particles <= MIN_PARTICLES:
        return 0.0
    gap = num_particles / pool_size - 1.0 + settings.reach / damping
    return 0.5 * math.erfc(-gap / settings.spread / math.sqrt(2.0))


def death(rng: np.random.Generator, protomodel: ProtoModel, context: MoveContext) -> ProtoModel | None:
    """Remove a particle with the probability of `death_probability`.

    Args:
        rng: source of randomness.
        protomodel: the model; left as it is.
        context: settings and test statistic of the current model.

    Returns:
        The model without the particle; None if nothing is removed.
    """
    settings = context.settings.death
    num_particles = len(protomodel.masses)
    if num_particles <= MIN_PARTICLES:
        return None
    threshold = rng.normal(1.0 - settings.reach / context.damping, settings.spread)
    if threshold > num_particles / context.pool_size:
        return None
    pids = Draft.from_protomodel(protomodel, context.pool.channels).bsm_pids()
    if rng.random() < settings.heaviest_probability:
        pid = max(pids, key=lambda p: (protomodel.masses[p], p))
    else:
        pid = pids[int(rng.integers(len(pids)))]
    return remove_particle(rng, protomodel, pid, context)


def remove_particle(rng: np.random.Generator, protomodel: ProtoModel, pid: int, context: MoveContext) -> ProtoModel | None:
    """Remove one given particle and all that cannot decay without it.

    Args:
        rng: source of randomness (for particles that need new branching ratios).
        protomodel: the model; left as it is.
        pid: positive PDG id.
        context: settings.

    Returns:
        The smaller model; None if the ordering rule blocks it or fewer than two particles would remain.
    """
    rules = context.settings.rules
    draft = Draft.from_protomodel(protomodel, context.pool.channels)
    leaving: tuple[int, ...] = (pid,)
    while leaving:
        for gone in leaving:
            draft.drop_particle(gone)
        leaving = settle_decays(rng, draft, context.settings.birth.br_spread)
    gone_now = set(protomodel.masses) - set(draft.masses)
    is_blocked = any(lighter in gone_now and heavier in draft.masses for lighter, heavier in rules.ordered_pairs)
    if is_blocked or len(draft.masses) < MIN_PARTICLES:
        return None
    return draft.freeze()
