"""Merge: two partners become one of the mean mass. Split: one becomes two.

(m_1, m_2) -> m = (m_1 + m_2)/2, u = (m_2 - m_1)/2, |∂(m_1, m_2)/∂(m, u)| = 2. The second of the pair (larger PDG id) leaves, with its
decays and processes; the first keeps its own. Split draws u uniformly up to half of `max_merge_gap_gev`, of either sign where the
ordering of the pair allows both, and the rest as a birth does. Choices: merge (first, second, incoming), split (first, second, u [GeV],
incoming, assignment).
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from builder.sampling.moves.birth_death import new_processes
from builder.sampling.moves.processes import draw_assignment, log_probability, put_in, take_out
from builder.sampling.moves.protocol import Choice, Proposal, RatioTerms, pick
from builder.sampling.moves.transfer import draw_incoming, list_changes, transfer
from builder.sampling.space import Space
from builder.sampling.state import SamplerState, build_state

LOG_JACOBIAN = math.log(2.0)
"""ln |∂(m_1, m_2)/∂(m, u)|."""


def _merged_masses(state: SamplerState, first: int, second: int) -> dict[int, float]:
    mean = 0.5 * (state.masses[first] + state.masses[second])
    return {pid: m for pid, m in state.masses.items() if pid != second} | {first: mean}


class _PairMove:
    """What merge and split share."""

    first_scale = None

    def __init__(self, space: Space) -> None:
        self._space = space
        self._max_half_gap = 0.5 * space.settings.proposals.max_merge_gap_gev
        self._pairs = tuple(pair for group in space.particles.merger_groups.values() for pair in itertools.combinations(sorted(group), 2))

    def mergeable(self, state: SamplerState) -> tuple[tuple[int, int], ...]:
        """Return the pairs that may merge."""
        masses = state.masses
        return tuple(
            (first, second)
            for first, second in self._pairs
            if first in masses
            and second in masses
            and self._space.can_remove(second, masses)
            and self._in_reach(first, second, 0.5 * (masses[second] - masses[first]))
        )

    def splittable(self, state: SamplerState) -> tuple[tuple[int, int], ...]:
        """Return the pairs that a particle of the state may split into."""
        return tuple(pair for pair in self._pairs if pair[0] in state.masses and self._space.can_add(pair[1], state.masses))

    def reach(self, first: int, second: int) -> tuple[float, float]:
        """Return the interval of u [GeV]."""
        is_ordered = (first, second) in self._space.rules.ordered_pairs
        return (0.0 if is_ordered else -self._max_half_gap), self._max_half_gap

    def _in_reach(self, first: int, second: int, u: float) -> bool:
        low, high = self.reach(first, second)
        return low <= u <= high


class Split(_PairMove):
    """One particle becomes two.

    Args:
        space: what is possible.
    """

    name = "split"
    reverse = "merge"

    def draw(self, rng: np.random.Generator, state: SamplerState, scale: float) -> Choice | None:
        """Return (first, second, u, incoming, assignment); None where nothing can split."""
        options = self.splittable(state)
        if not options:
            return None
        first, second = pick(rng, options)
        u = float(rng.uniform(*self.reach(first, second)))
        mass = state.masses[first]
        changes = list_changes(state, {**state.masses, first: mass - u, second: mass + u}, self._space.channels)
        if changes is None:
            return None
        settings = self._space.settings
        incoming = draw_incoming(rng, changes, settings.proposals.channel_decay)
        assignment = draw_assignment(rng, new_processes(state, second), len(state.kappas), self._space)
        return first, second, u, incoming, assignment

    def apply(self, state: SamplerState, choice: Choice) -> Proposal | None:
        """Return the state with both particles."""
        first, second, u, incoming, assignment = choice
        mass = state.masses[first]
        masses = {**state.masses, first: mass - u, second: mass + u}
        changes = list_changes(state, masses, self._space.channels)
        settings = self._space.settings
        moved = None if changes is None else transfer(changes, incoming, settings.proposals.channel_decay)
        if moved is None:
            return None
        decays, outgoing, terms = moved
        rest, _ = take_out(state, ())
        new = build_state(masses, decays, *put_in(rest, assignment))
        options = self.mergeable(new)
        if (first, second) not in options:
            return None
        selection, density = log_probability(assignment, len(rest.kappas), self._space)
        low, high = self.reach(first, second)
        own = RatioTerms(
            selection=math.log(len(self.splittable(state))) - math.log(len(options)) - selection,
            density=math.log(high - low) - density,
            jacobian=LOG_JACOBIAN,
        )
        return Proposal(new, terms.plus(own), (first, second, outgoing))


class Merge(_PairMove):
    """Two particles become one.

    Args:
        space: what is possible.
    """

    name = "merge"
    reverse = "split"

    def draw(self, rng: np.random.Generator, state: SamplerState, scale: float) -> Choice | None:
        """Return (first, second, incoming); None where nothing can merge."""
        options = self.mergeable(state)
        if not options:
            return None
        first, second = pick(rng, options)
        changes = list_changes(state, _merged_masses(state, first, second), self._space.channels)
        if changes is None:
            return None
        return first, second, draw_incoming(rng, changes, self._space.settings.proposals.channel_decay)

    def apply(self, state: SamplerState, choice: Choice) -> Proposal | None:
        """Return the state with one particle."""
        first, second, incoming = choice
        u = 0.5 * (state.masses[second] - state.masses[first])
        masses = _merged_masses(state, first, second)
        changes = list_changes(state, masses, self._space.channels)
        settings = self._space.settings
        moved = None if changes is None else transfer(changes, incoming, settings.proposals.channel_decay)
        if moved is None:
            return None
        decays, outgoing, terms = moved
        rest, assignment = take_out(state, (process for process in state.kappa_class if second in process))
        new = build_state(masses, decays, *put_in(rest, ()))
        options = self.splittable(new)
        if (first, second) not in options:
            return None
        selection, density = log_probability(assignment, len(rest.kappas), self._space)
        low, high = self.reach(first, second)
        own = RatioTerms(
            selection=math.log(len(self.mergeable(state))) - math.log(len(options)) + selection,
            density=density - math.log(high - low),
            jacobian=-LOG_JACOBIAN,
        )
        return Proposal(new, terms.plus(own), (first, second, u, outgoing, assignment))
