"""A channel opens, or closes.

Opening picks one of the particles with closed groups, one of these groups, and its branching ratio f ~ Beta(1, k) next to k open ones,
which shrink by 1 - f: |∂(b')/∂(b, f)| = (1 - f)^(k - 1). Closing picks one of the particles with two open groups or more, and one of
these. Choices: open (pid, group, f), close (pid, group).
"""

from __future__ import annotations

import math

import numpy as np

from builder.decays import ChannelTable
from builder.sampling.moves.protocol import Choice, Proposal, RatioTerms, pick
from builder.sampling.space import Space
from builder.sampling.state import SamplerState, available_groups, build_state


def closed_groups(state: SamplerState, table: ChannelTable) -> dict[int, tuple[str, ...]]:
    """Return the groups that could open, per particle that has some."""
    closed = {pid: tuple(g for g in available_groups(pid, state.masses, table) if g not in groups) for pid, groups in state.decays.items()}
    return {pid: groups for pid, groups in closed.items() if groups}


def closable(state: SamplerState) -> tuple[int, ...]:
    """Return the particles that can lose a group."""
    return tuple(pid for pid, groups in state.decays.items() if len(groups) > 1)


def _log_density(share: float, num_open: int) -> float:
    """ln of the density Beta(1, k) of a share."""
    return math.log(num_open) + (num_open - 1) * math.log1p(-share)


def _log_jacobian(share: float, num_open: int) -> float:
    """ln |∂(b')/∂(b, f)|."""
    return (num_open - 1) * math.log1p(-share)


class BrOpen:
    """A group of channels opens.

    Args:
        space: what is possible.
    """

    name = "br_open"
    reverse = "br_close"
    first_scale = None

    def __init__(self, space: Space) -> None:
        self._space = space

    def draw(self, rng: np.random.Generator, state: SamplerState, scale: float) -> Choice | None:
        """Return (pid, group, share); None where everything is open."""
        closed = closed_groups(state, self._space.channels)
        if not closed:
            return None
        pid = pick(rng, tuple(closed))
        share = float(rng.beta(1.0, len(state.decays[pid])))
        return (pid, pick(rng, closed[pid]), share) if 0.0 < share < 1.0 else None

    def apply(self, state: SamplerState, choice: Choice) -> Proposal | None:
        """Return the state with the group open."""
        pid, group, share = choice
        closed, groups = closed_groups(state, self._space.channels), state.decays[pid]
        num_open = len(groups)
        opened = {**{g: br * (1.0 - share) for g, br in groups.items()}, group: share}
        new = build_state(state.masses, {**state.decays, pid: opened}, state.kappa_class, state.kappas)
        terms = RatioTerms(
            selection=math.log(len(closed)) + math.log(len(closed[pid])) - math.log(len(closable(new))) - math.log(num_open + 1),
            density=-_log_density(share, num_open),
            jacobian=_log_jacobian(share, num_open),
        )
        return Proposal(new, terms, (pid, group))


class BrClose:
    """A group of channels closes.

    Args:
        space: what is possible.
    """

    name = "br_close"
    reverse = "br_open"
    first_scale = None

    def __init__(self, space: Space) -> None:
        self._space = space

    def draw(self, rng: np.random.Generator, state: SamplerState, scale: float) -> Choice | None:
        """Return (pid, group); None where no particle has two open groups."""
        options = closable(state)
        if not options:
            return None
        pid = pick(rng, options)
        return pid, pick(rng, tuple(state.decays[pid]))

    def apply(self, state: SamplerState, choice: Choice) -> Proposal | None:
        """Return the state with the group closed."""
        pid, group = choice
        groups = state.decays[pid]
        share, num_left = groups[group], len(groups) - 1
        left = {g: br for g, br in groups.items() if g != group}
        total = math.fsum(left.values())
        if not (0.0 < share < 1.0 and total > 0.0):
            return None
        left = {g: br / total for g, br in left.items()}
        new = build_state(state.masses, {**state.decays, pid: left}, state.kappa_class, state.kappas)
        closed = closed_groups(new, self._space.channels)
        terms = RatioTerms(
            selection=math.log(len(closable(state))) + math.log(num_left + 1) - math.log(len(closed)) - math.log(len(closed[pid])),
            density=_log_density(share, num_left),
            jacobian=-_log_jacobian(share, num_left),
        )
        return Proposal(new, terms, (pid, group, share))
