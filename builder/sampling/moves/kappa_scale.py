"""Multipliers of one tied class, or of all classes in which a particle is produced: ln κ moves by a symmetric step.

The classes a particle takes part in are the same before and after, so the ratio is one. Choice: (classes, step).
"""

from __future__ import annotations

import math

import numpy as np

from builder.sampling.moves.protocol import Choice, Proposal, RatioTerms, heavy_step, pick
from builder.sampling.space import Space
from builder.sampling.state import OFF, SamplerState, build_state


class _KappaMove:
    """What both moves share."""

    def __init__(self, space: Space) -> None:
        self.first_scale: float | None = space.settings.proposals.log_kappa_scale

    def apply(self, state: SamplerState, choice: Choice) -> Proposal | None:
        """Return the state with other multipliers."""
        numbers, step = choice
        kappas = tuple(kappa * math.exp(step) if number in numbers else kappa for number, kappa in enumerate(state.kappas))
        return Proposal(build_state(state.masses, state.decays, state.kappa_class, kappas), RatioTerms(), (numbers, -step))


class KappaClass(_KappaMove):
    """The multiplier of one class."""

    name = "kappa_class"
    reverse = "kappa_class"

    def draw(self, rng: np.random.Generator, state: SamplerState, scale: float) -> Choice | None:
        """Return (classes, step); None where nothing is produced."""
        return ((pick(rng, range(len(state.kappas))),), heavy_step(rng, scale)) if state.kappas else None


class KappaParticle(_KappaMove):
    """The multipliers of all classes in which a particle is produced."""

    name = "kappa_particle"
    reverse = "kappa_particle"

    def draw(self, rng: np.random.Generator, state: SamplerState, scale: float) -> Choice | None:
        """Return (classes, step); None where the particle is not produced."""
        if not state.others:
            return None
        pid = pick(rng, state.others)
        numbers = sorted({number for process, number in state.kappa_class.items() if pid in process and number != OFF})
        return (tuple(numbers), heavy_step(rng, scale)) if numbers else None
