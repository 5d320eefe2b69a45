"""Masses: one of them, two by the same amount, or the whole spectrum.

Steps are symmetric, so only the decays that have to follow (`transfer`) enter the ratio; what the prior forbids is rejected. Choices:
(particles, step [GeV], incoming; None where the masses are impossible).
"""

from __future__ import annotations

import itertools

import numpy as np

from builder.sampling.moves.protocol import Choice, Proposal, heavy_step, pick
from builder.sampling.moves.transfer import draw_incoming, list_changes, transfer
from builder.sampling.space import Space
from builder.sampling.state import SamplerState, build_state


def shifted(state: SamplerState, pids: tuple[int, ...], step: float) -> dict[int, float]:
    """Return the masses [GeV] with some of them moved by the same step."""
    return {pid: mass + step if pid in pids else mass for pid, mass in state.masses.items()}


class _MassMove:
    """What the three moves share."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._decay = space.settings.proposals.channel_decay
        self.first_scale: float | None = space.settings.proposals.mass_scale_gev

    def draw_shift(self, rng: np.random.Generator, state: SamplerState, pids: tuple[int, ...], scale: float) -> Choice:
        """Return (particles, step, incoming); nothing is drawn for masses that are impossible."""
        step = heavy_step(rng, scale)
        masses = shifted(state, pids, step)
        changes = list_changes(state, masses, self._space.channels) if self._space.has_room(masses) else None
        return pids, step, None if changes is None else draw_incoming(rng, changes, self._decay)

    def apply(self, state: SamplerState, choice: Choice) -> Proposal | None:
        """Return the state with moved masses."""
        pids, step, incoming = choice
        if incoming is None:
            return None
        masses = shifted(state, pids, step)
        changes = list_changes(state, masses, self._space.channels)
        moved = None if changes is None else transfer(changes, incoming, self._decay)
        if moved is None:
            return None
        decays, outgoing, terms = moved
        return Proposal(build_state(masses, decays, state.kappa_class, state.kappas), terms, (pids, -step, outgoing))


class MassOne(_MassMove):
    """One mass, X_Z^1's included."""

    name = "mass_one"
    reverse = "mass_one"

    def draw(self, rng: np.random.Generator, state: SamplerState, scale: float) -> Choice | None:
        """Return (particles, step, incoming)."""
        return self.draw_shift(rng, state, (pick(rng, state.content),), scale)


class MassPair(_MassMove):
    """Two masses by the same amount, as the members of a multiplet move."""

    name = "mass_pair"
    reverse = "mass_pair"

    def draw(self, rng: np.random.Generator, state: SamplerState, scale: float) -> Choice | None:
        """Return (particles, step, incoming); None where there are no two particles."""
        pairs = tuple(itertools.combinations(state.content, 2))
        return self.draw_shift(rng, state, pick(rng, pairs), scale) if pairs else None


class MassAll(_MassMove):
    """All masses by the same amount: mass differences stay."""

    name = "mass_all"
    reverse = "mass_all"

    def draw(self, rng: np.random.Generator, state: SamplerState, scale: float) -> Choice | None:
        """Return (particles, step, incoming); None where X_Z^1 is alone, for which this is the move of one mass."""
        return self.draw_shift(rng, state, state.content, scale) if len(state.content) > 1 else None
