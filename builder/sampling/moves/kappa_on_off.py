"""A process is switched on, or off.

Switching on picks one of the processes that are off, and assigns it as in `processes`: a class of its own with ln κ uniform, or one
of the others. Switching off picks one of the processes that are on. Choices: on (process, assignment), off (process,).
"""

from __future__ import annotations

import math

import numpy as np

from builder.sampling.moves.processes import draw_assignment, log_probability, put_in, take_out
from builder.sampling.moves.protocol import Choice, Proposal, RatioTerms, pick
from builder.sampling.space import Space
from builder.sampling.state import OFF, SamplerState, build_state
from inference.spectrum import PidPair


def _select(state: SamplerState, *, is_on: bool) -> tuple[PidPair, ...]:
    return tuple(process for process, number in state.kappa_class.items() if (number != OFF) == is_on)


class KappaOn:
    """A process is switched on.

    Args:
        space: what is possible.
    """

    name = "kappa_on"
    reverse = "kappa_off"
    first_scale = None

    def __init__(self, space: Space) -> None:
        self._space = space

    def draw(self, rng: np.random.Generator, state: SamplerState, scale: float) -> Choice | None:
        """Return (process, assignment); None where everything is on."""
        options = _select(state, is_on=False)
        if not options:
            return None
        process = pick(rng, options)
        return process, draw_assignment(rng, (process,), len(state.kappas), self._space, can_be_off=False)

    def apply(self, state: SamplerState, choice: Choice) -> Proposal | None:
        """Return the state with the process on."""
        process, assignment = choice
        rest, _ = take_out(state, (process,))
        new = build_state(state.masses, state.decays, *put_in(rest, assignment))
        selection, density = log_probability(assignment, len(rest.kappas), self._space, can_be_off=False)
        num_off, num_on = len(_select(state, is_on=False)), len(_select(new, is_on=True))
        return Proposal(new, RatioTerms(math.log(num_off) - math.log(num_on) - selection, -density), (process,))


class KappaOff:
    """A process is switched off.

    Args:
        space: what is possible.
    """

    name = "kappa_off"
    reverse = "kappa_on"
    first_scale = None

    def __init__(self, space: Space) -> None:
        self._space = space

    def draw(self, rng: np.random.Generator, state: SamplerState, scale: float) -> Choice | None:
        """Return (process,); None where everything is off."""
        options = _select(state, is_on=True)
        return (pick(rng, options),) if options else None

    def apply(self, state: SamplerState, choice: Choice) -> Proposal | None:
        """Return the state with the process off."""
        (process,) = choice
        rest, assignment = take_out(state, (process,))
        new = build_state(state.masses, state.decays, *put_in(rest, ((process, OFF, None),)))
        selection, density = log_probability(assignment, len(rest.kappas), self._space, can_be_off=False)
        num_off, num_on = len(_select(new, is_on=False)), len(_select(state, is_on=True))
        return Proposal(new, RatioTerms(math.log(num_on) - math.log(num_off) + selection, density), (process, assignment))
