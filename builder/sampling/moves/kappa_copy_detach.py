"""Copy: a process alone in its class takes over the multiplier of another class. Detach: a process leaves its class with a value of
its own.

Copy picks one of the processes alone in their class, and one of the other classes. Detach picks one of the processes that share
a class, and ln κ' ~ N(ln κ, `detach_width`) around the value it leaves. Choices: copy (process, representative of the class it joins),
detach (process, ln κ').
"""

from __future__ import annotations

import math

import numpy as np

from builder.sampling.moves.protocol import Choice, Proposal, RatioTerms, pick
from builder.sampling.space import Space
from builder.sampling.state import OFF, SamplerState, build_state
from inference.spectrum import PidPair


def alone(state: SamplerState) -> tuple[PidPair, ...]:
    """Return the processes that are alone in their class."""
    return tuple(members[0] for members in state.class_members() if len(members) == 1)


def sharing(state: SamplerState) -> tuple[PidPair, ...]:
    """Return the processes that share their class, in increasing order."""
    members = state.class_members()
    return tuple(process for process, number in state.kappa_class.items() if number != OFF and len(members[number]) > 1)


def log_normal(value: float, centre: float, width: float) -> float:
    """Return ln of the normal density."""
    return -0.5 * ((value - centre) / width) ** 2 - math.log(width) - 0.5 * math.log(2.0 * math.pi)


class KappaCopy:
    """A process takes over the multiplier of another class.

    Args:
        space: what is possible.
    """

    name = "kappa_copy"
    reverse = "kappa_detach"
    first_scale = None

    def __init__(self, space: Space) -> None:
        self._width = space.settings.proposals.detach_width

    def draw(self, rng: np.random.Generator, state: SamplerState, scale: float) -> Choice | None:
        """Return (process, representative); None where there are no two classes, or none with one member."""
        options = alone(state)
        if not options or len(state.kappas) < 2:
            return None
        process = pick(rng, options)
        others = [members[0] for members in state.class_members() if members[0] != process]
        return process, pick(rng, others)

    def apply(self, state: SamplerState, choice: Choice) -> Proposal | None:
        """Return the state with one class less."""
        process, target = choice
        old, joined = state.kappa_class[process], state.kappa_class[target]
        new = build_state(state.masses, state.decays, {**state.kappa_class, process: joined}, state.kappas)
        log_old = math.log(state.kappas[old])
        terms = RatioTerms(
            selection=math.log(len(alone(state))) + math.log(len(state.kappas) - 1) - math.log(len(sharing(new))),
            density=log_normal(log_old, math.log(state.kappas[joined]), self._width),
        )
        return Proposal(new, terms, (process, log_old))


class KappaDetach:
    """A process leaves its class with a multiplier of its own.

    Args:
        space: what is possible.
    """

    name = "kappa_detach"
    reverse = "kappa_copy"
    first_scale = None

    def __init__(self, space: Space) -> None:
        self._width = space.settings.proposals.detach_width

    def draw(self, rng: np.random.Generator, state: SamplerState, scale: float) -> Choice | None:
        """Return (process, ln κ'); None where no processes share a class."""
        options = sharing(state)
        if not options:
            return None
        process = pick(rng, options)
        return process, float(rng.normal(math.log(state.kappas[state.kappa_class[process]]), self._width))

    def apply(self, state: SamplerState, choice: Choice) -> Proposal | None:
        """Return the state with one class more."""
        process, log_kappa = choice
        number = state.kappa_class[process]
        left = next(other for other in state.class_members()[number] if other != process)
        classes = {**state.kappa_class, process: len(state.kappas)}
        new = build_state(state.masses, state.decays, classes, (*state.kappas, math.exp(log_kappa)))
        terms = RatioTerms(
            selection=math.log(len(sharing(state))) - math.log(len(alone(new))) - math.log(len(new.kappas) - 1),
            density=-log_normal(log_kappa, math.log(state.kappas[number]), self._width),
        )
        return Proposal(new, terms, (process, left))
