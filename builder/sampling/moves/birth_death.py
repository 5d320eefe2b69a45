"""Birth: a particle joins, with mass, decays and multipliers. Death: a particle leaves.

Birth picks one of the particles that may join (p = 1/number of them), its mass uniformly from what the prior allows it next to the
others, the groups that open for it and for its possible mothers as in `transfer`, the classes of its processes as in `processes`. Death
picks one of the particles that may leave. Choices: birth (pid, mass [GeV], incoming, assignment), death (pid,).
"""

from __future__ import annotations

import math

import numpy as np

from builder.sampling.moves.processes import draw_assignment, log_probability, put_in, take_out
from builder.sampling.moves.protocol import Choice, Proposal, RatioTerms, pick
from builder.sampling.moves.transfer import draw_incoming, list_changes, transfer
from builder.sampling.space import Space
from builder.sampling.state import SamplerState, build_state, processes_of
from inference.spectrum import PidPair


def joining(space: Space, state: SamplerState) -> tuple[int, ...]:
    """Return the particles that may join a state."""
    return tuple(pid for pid in space.pool if space.can_add(pid, state.masses))


def leaving(space: Space, state: SamplerState) -> tuple[int, ...]:
    """Return the particles that may leave a state."""
    return tuple(pid for pid in state.masses if space.can_remove(pid, state.masses))


def new_processes(state: SamplerState, pid: int) -> tuple[PidPair, ...]:
    """Return the processes that come into being when a particle joins."""
    content = tuple(sorted((*state.masses, pid)))
    return tuple(process for process in processes_of(content) if pid in process)


class Birth:
    """A particle joins.

    Args:
        space: what is possible.
    """

    name = "birth"
    reverse = "death"
    first_scale = None

    def __init__(self, space: Space) -> None:
        self._space = space

    def draw(self, rng: np.random.Generator, state: SamplerState, scale: float) -> Choice | None:
        """Return (pid, mass, incoming, assignment); None where no particle can join."""
        options = joining(self._space, state)
        if not options:
            return None
        pid = pick(rng, options)
        interval = self._space.mass_interval(pid, state.masses)
        if not interval:
            return None
        mass = interval.at(1.0 - rng.random())
        changes = list_changes(state, {**state.masses, pid: mass}, self._space.channels)
        if changes is None:
            return None
        settings = self._space.settings
        incoming = draw_incoming(rng, changes, settings.proposals.channel_decay)
        assignment = draw_assignment(rng, new_processes(state, pid), len(state.kappas), self._space)
        return pid, mass, incoming, assignment

    def apply(self, state: SamplerState, choice: Choice) -> Proposal | None:
        """Return the state with the particle."""
        pid, mass, incoming, assignment = choice
        masses = {**state.masses, pid: mass}
        changes = list_changes(state, masses, self._space.channels)
        settings = self._space.settings
        moved = None if changes is None else transfer(changes, incoming, settings.proposals.channel_decay)
        if moved is None:
            return None
        decays, _, terms = moved
        rest, _ = take_out(state, ())
        new = build_state(masses, decays, *put_in(rest, assignment))
        selection, density = log_probability(assignment, len(rest.kappas), self._space)
        own = RatioTerms(
            selection=math.log(len(joining(self._space, state))) - math.log(len(leaving(self._space, new))) - selection,
            density=math.log(self._space.mass_interval(pid, state.masses).length) - density,
        )
        return Proposal(new, terms.plus(own), (pid,))


class Death:
    """A particle leaves.

    Args:
        space: what is possible.
    """

    name = "death"
    reverse = "birth"
    first_scale = None

    def __init__(self, space: Space) -> None:
        self._space = space

    def draw(self, rng: np.random.Generator, state: SamplerState, scale: float) -> Choice | None:
        """Return (pid,); None where no particle can leave."""
        options = leaving(self._space, state)
        return (pick(rng, options),) if options else None

    def apply(self, state: SamplerState, choice: Choice) -> Proposal | None:
        """Return the state without the particle."""
        (pid,) = choice
        masses = {other: mass for other, mass in state.masses.items() if other != pid}
        changes = list_changes(state, masses, self._space.channels)
        settings = self._space.settings
        moved = None if changes is None else transfer(changes, {}, settings.proposals.channel_decay)
        if moved is None:
            return None
        decays, outgoing, terms = moved
        rest, assignment = take_out(state, (process for process in state.kappa_class if pid in process))
        new = build_state(masses, decays, *put_in(rest, ()))
        interval = self._space.mass_interval(pid, masses)
        if not interval.contains(state.masses[pid]):
            return None
        selection, density = log_probability(assignment, len(rest.kappas), self._space)
        own = RatioTerms(
            selection=math.log(len(leaving(self._space, state))) - math.log(len(joining(self._space, new))) + selection,
            density=density - math.log(interval.length),
        )
        return Proposal(new, terms.plus(own), (pid, state.masses[pid], outgoing, assignment))
