"""An open and a closed channel of one particle exchange their roles: the branching ratio goes to the other one.

One of the particles with closed groups, one of its open and one of its closed groups: the numbers of options are the same before and
after, so the ratio is one. Choice: (pid, open group, closed group).
"""

from __future__ import annotations

import numpy as np

from builder.sampling.moves.br_open_close import closed_groups
from builder.sampling.moves.protocol import Choice, Proposal, RatioTerms, pick
from builder.sampling.space import Space
from builder.sampling.state import SamplerState, build_state


class BrExchange:
    """An open and a closed group exchange their roles.

    Args:
        space: what is possible.
    """

    name = "br_exchange"
    reverse = "br_exchange"
    first_scale = None

    def __init__(self, space: Space) -> None:
        self._space = space

    def draw(self, rng: np.random.Generator, state: SamplerState, scale: float) -> Choice | None:
        """Return (pid, open group, closed group); None where everything is open."""
        closed = closed_groups(state, self._space.channels)
        if not closed:
            return None
        pid = pick(rng, tuple(closed))
        return pid, pick(rng, tuple(state.decays[pid])), pick(rng, closed[pid])

    def apply(self, state: SamplerState, choice: Choice) -> Proposal | None:
        """Return the state with the roles exchanged."""
        pid, closing, opening = choice
        groups = {opening if group == closing else group: br for group, br in state.decays[pid].items()}
        new = build_state(state.masses, {**state.decays, pid: groups}, state.kappa_class, state.kappas)
        return Proposal(new, RatioTerms(), (pid, opening, closing))
