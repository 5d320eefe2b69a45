"""A process that shares its class changes to another class.

One of the processes that share a class, one of the other classes. The numbers of such processes before and after make the ratio.
Choice: (process, representative of the class it joins).
"""

from __future__ import annotations

import math

import numpy as np

from builder.sampling.moves.kappa_copy_detach import sharing
from builder.sampling.moves.protocol import Choice, Proposal, RatioTerms, pick
from builder.sampling.space import Space
from builder.sampling.state import SamplerState, build_state


class KappaTransfer:
    """A process changes from one class to another.

    Args:
        space: what is possible.
    """

    name = "kappa_transfer"
    reverse = "kappa_transfer"
    first_scale = None

    def __init__(self, space: Space) -> None:
        self._space = space

    def draw(self, rng: np.random.Generator, state: SamplerState, scale: float) -> Choice | None:
        """Return (process, representative); None where there are no two classes or no shared one."""
        options = sharing(state)
        if not options or len(state.kappas) < 2:
            return None
        process = pick(rng, options)
        number = state.kappa_class[process]
        return process, pick(rng, [members[0] for other, members in enumerate(state.class_members()) if other != number])

    def apply(self, state: SamplerState, choice: Choice) -> Proposal | None:
        """Return the state with the process in another class."""
        process, target = choice
        number = state.kappa_class[process]
        left = next(other for other in state.class_members()[number] if other != process)
        classes = {**state.kappa_class, process: state.kappa_class[target]}
        new = build_state(state.masses, state.decays, classes, state.kappas)
        return Proposal(new, RatioTerms(selection=math.log(len(sharing(state))) - math.log(len(sharing(new)))), (process, left))
