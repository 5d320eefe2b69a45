"""Birth: a frozen particle joins the model.

Published (arXiv:2012.12246 Sec. 4.1): particles are added more rarely the higher the test statistic and the more
particles there are; mass, branching ratios and multipliers of the newcomer are drawn. A model of X_Z^1 alone always
gets a particle.

The reference code compared u ~ N(1 - 0.7/D, 0.5) with n/N, D = max(1, T_L + 1), which made adding *more* frequent at
high test statistic; added a lighter partner although the user had forbidden it, and lost the draw when the particle
itself was forbidden; its last resort for stops in the corridor left a half-made X_t^2 behind.

Here: u ~ N(0.3/D, 0.5), the same as the code at D = 1 and falling from there; add iff u >= n/N. Candidates are all
frozen particles that (with the lighter partner taken first) are not forbidden. If no legal mass is found the move fails.
"""

from __future__ import annotations

import math

import numpy as np

from builder.decays import open_channels
from builder.moves.context import MoveContext
from builder.moves.draft import Draft
from builder.moves.settings import BirthSettings
from builder.particle_rules import ParticleRules
from builder.particles import POOL_PIDS, SM_MASSES
from builder.protomodel import ProtoModel
from inference.spectrum import LBP_PID

OFF_SHELL_WINDOWS = {1000023: SM_MASSES[23], 1000024: SM_MASSES[24]}
"""Mass difference to X_Z^1 [GeV] below which X_Z^2 and X_W^1 decay through an off-shell Z or W."""


def birth_probability(num_particles: int, damping: float, settings: BirthSettings, pool_size: int = len(POOL_PIDS)) -> float:
    """Return P(add) = 1 - Φ((n/N - reach/D) / spread); 1 for a model of X_Z^1 alone.

    Args:
        num_particles: n, the lightest particle included.
        damping: D = max(1, T_L + 1).
        settings: reach and spread.
        pool_size: N.

    Examples:
        Two particles at low test statistic, as published, and at T_L = 5:

        >>> round(birth_probability(2, 1.0, BirthSettings()), 2), round(birth_probability(2, 6.0, BirthSettings()), 2)
        (0.66, 0.46)
    """
    if num_particles <= 1:
        return 1.0
    gap = num_particles / pool_size - settings.reach / damping
    return 0.5 * math.erfc(gap / settings.spread / math.sqrt(2.0))


def birth(rng: np.random.Generator, protomodel: ProtoModel, context: MoveContext) -> ProtoModel | None:
    """Add a random particle with the probability of `birth_probability`.

    Args:
        rng: source of randomness.
        protomodel: the model; left as it is.
        context: settings and test statistic of the current model.

    Returns:
        The model with one more particle; None if nothing is added.
    """
    settings = context.settings.birth
    num_particles = len(protomodel.masses)
    if num_particles > 1:
        threshold = rng.normal(settings.reach / context.damping, settings.spread)
        if threshold < num_particles / context.pool_size:
            return None
    return force_birth(rng, protomodel, context)


def force_birth(rng: np.random.Generator, protomodel: ProtoModel, context: MoveContext) -> ProtoModel | None:
    """Add a random particle in any case; None if every particle is present, forbidden, or finds no legal mass."""
    candidates = _list_candidates(protomodel, context)
    if not candidates:
        return None
    return add_particle(rng, protomodel, candidates[int(rng.integers(len(candidates)))], context)


def add_particle(rng: np.random.Generator, protomodel: ProtoModel, pid: int, context: MoveContext) -> ProtoModel | None:
    """Add one given particle with random mass and branching ratios; None if it finds no legal mass."""
    draft = Draft.from_protomodel(protomodel, context.pool.channels)
    mass = draw_mass(rng, pid, draft.masses, context)
    if mass is None:
        return None
    draft.add_particle(rng, pid, mass, context.settings.birth.br_spread)
    return draft.freeze()


def _list_candidates(protomodel: ProtoModel, context: MoveContext) -> list[int]:
    """Return what each frozen particle would add, one entry per frozen particle; forbidden ones are left out."""
    rules, pids = context.settings.rules, context.pool.pids
    wanted = (rules.particle_to_add(pid, protomodel.masses) for pid in pids if pid not in protomodel.masses)
    return sorted(pid for pid in wanted if pid in pids)


def off_shell_range(pid: int, masses: dict[int, float], rules: ParticleRules) -> tuple[float, float] | None:
    """Return the masses [GeV] at which a particle is legal and off shell; None where there are none."""
    if pid not in OFF_SHELL_WINDOWS:
        return None
    low, high = rules.mass_bounds(pid, masses)
    high = min(high, masses[LBP_PID] + OFF_SHELL_WINDOWS[pid])
    return (low, high) if low < high else None


def draw_mass(rng: np.random.Generator, pid: int, masses: dict[int, float], context: MoveContext) -> float | None:
    """Return a flat draw between the legal bounds, outside the corridor and with an open channel; None if there is none.

    X_Z^2 and X_W^1 start off shell with the probability of the settings.
    """
    settings, rules = context.settings.birth, context.settings.rules
    low, high = rules.mass_bounds(pid, masses)
    window = off_shell_range(pid, masses, rules)
    if window is not None and rng.random() < settings.off_shell_probability:
        low, high = window
    if low >= high:
        return None
    for _ in range(settings.max_redraws):
        mass = float(rng.uniform(low, high))
        is_legal = not rules.is_in_corridor(pid, mass, masses[LBP_PID])
        if is_legal and open_channels(pid, {**masses, pid: mass}, context.pool.channels):
            return mass
    return None
