"""Mass: one particle gets lighter or heavier.

Published (arXiv:2012.12246 Sec. 4.1): always when nothing else changed in the step, else seldom. The step is flat; illegal
draws are repeated with a wider interval. The paper lets the interval shrink with test statistic and number of
particles; all published runs used ±200 GeV, which is the default here (`step_scaling`).

The second release of the reference code added the off-shell window of X_Z^2 and X_W^1, without effect because of two
misspelt variables, and a joint jump of the two, without checking walls, ordering, or the lightest particle. It also
left mass differences just above m_Z and m_W without any channel, and froze particles there.

Here both extras work and obey all rules, channels have no gap (see `builder.decays`), and a mass at which any
particle would lose its last channel is illegal. After a move closed channels go, branching ratios are normalised and
multipliers compensated as in `builder.moves.draft.settle_decays`.
"""

from __future__ import annotations

import math

import numpy as np

from builder.decays import is_off_shell, open_channels
from builder.moves.birth import off_shell_range
from builder.moves.context import MoveContext
from builder.moves.draft import Draft, settle_decays
from builder.protomodel import ProtoModel
from inference.spectrum import LBP_PID

ADAPTIVE_STEP_GEV = 40.0
"""Half width [GeV] of the adaptive step for one particle at D = 1, from the code behind arXiv:2012.12246."""

TIED_PARTNERS = {1000023: 1000024, 1000024: 1000023}
"""X_Z^2 and X_W^1, which jump together as the members of a multiplet do."""


def mass_step(num_particles: int, context: MoveContext) -> float:
    """Return the half width of the flat step [GeV].

    Examples:
        >>> from builder.moves.settings import WalkSettings
        >>> mass_step(4, MoveContext(WalkSettings()))
        200.0
    """
    settings = context.settings.mass
    if settings.step_scaling == "fixed":
        return settings.max_step_gev
    return min(settings.max_step_gev, ADAPTIVE_STEP_GEV / math.sqrt(num_particles) / context.damping)


def mass(rng: np.random.Generator, protomodel: ProtoModel, context: MoveContext) -> ProtoModel | None:
    """Move the mass of one random particle, the lightest included.

    Args:
        rng: source of randomness.
        protomodel: the model; left as it is.
        context: settings, and whether this step already changed something.

    Returns:
        The changed model; None if the move does not happen or no legal mass was found.
    """
    settings = context.settings.mass
    if context.is_changed and rng.random() >= settings.probability_after_change:
        return None
    draft = Draft.from_protomodel(protomodel, context.pool.channels)
    pids = sorted(draft.masses)
    pid = pids[int(rng.integers(len(pids)))]
    new_mass = _draw_off_shell(rng, pid, draft.masses, context)
    if new_mass is None:
        new_mass = _draw_step(rng, pid, draft.masses, context)
    if new_mass is None:
        return None
    draft.masses[pid] = new_mass
    newcomer = _tie_partner(rng, pid, draft, context)
    settle_decays(rng, draft, context.settings.birth.br_spread)
    if newcomer is not None:
        draft.add_particle(rng, newcomer[0], newcomer[1], context.settings.birth.br_spread)
    return draft.freeze()


def is_legal(pid: int, masses: dict[int, float], context: MoveContext) -> bool:
    """Return whether a mass obeys bounds, walls, ordering and corridor and leaves each particle a channel.

    Args:
        pid: the particle that was moved or added.
        masses: masses [GeV] after the change.
        context: settings.
    """
    rules = context.settings.rules
    low, high = rules.mass_bounds(pid, masses)
    if not low <= masses[pid] <= high:
        return False
    watched = rules.corridor_pids if pid == LBP_PID else (pid,)
    if any(rules.is_in_corridor(p, masses[p], masses[LBP_PID]) for p in watched if p in masses):
        return False
    return all(open_channels(p, masses, context.pool.channels) for p in masses if p != LBP_PID)


def _draw_step(rng: np.random.Generator, pid: int, masses: dict[int, float], context: MoveContext) -> float | None:
    """Return the first legal draw from a flat interval that widens with each failure; None if there is none."""
    settings = context.settings.mass
    half_width = mass_step(len(masses), context)
    for _ in range(settings.max_redraws):
        candidate = masses[pid] + float(rng.uniform(-half_width, half_width))
        if is_legal(pid, {**masses, pid: candidate}, context):
            return candidate
        half_width *= settings.widening
    return None


def _draw_off_shell(rng: np.random.Generator, pid: int, masses: dict[int, float], context: MoveContext) -> float | None:
    """Return, with the probability of the settings, a flat draw from the off-shell window of X_Z^2 or X_W^1; else None."""
    window = off_shell_range(pid, masses, context.settings.rules)
    if window is None or is_off_shell(pid, masses, context.pool.channels) or rng.random() >= context.settings.mass.off_shell_probability:
        return None
    candidate = float(rng.uniform(*window))
    return candidate if is_legal(pid, {**masses, pid: candidate}, context) else None


def _tie_partner(rng: np.random.Generator, pid: int, draft: Draft, context: MoveContext) -> tuple[int, float] | None:
    """Let X_W^1 follow X_Z^2, or the reverse, to (almost) the same mass; return (pid, mass [GeV]) if it has to be added."""
    settings = context.settings.mass
    partner = TIED_PARTNERS.get(pid)
    if partner is None:
        return None
    probability = settings.tie_probability_off_shell if is_off_shell(pid, draft.masses, draft.table) else settings.tie_probability
    if rng.random() >= probability or partner not in context.pool.pids:
        return None
    tied = draft.masses[pid] * float(rng.uniform(1.0 - settings.tie_half_width, 1.0 + settings.tie_half_width))
    if not is_legal(partner, {**draft.masses, partner: tied}, context):
        return None
    if partner not in draft.masses:
        return partner, tied
    draft.masses[partner] = tied
    return None
