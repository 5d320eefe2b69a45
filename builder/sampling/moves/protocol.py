"""What a move is, and what a proposal carries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from builder.sampling.state import SamplerState

Choice = tuple[Any, ...]
"""What a move has drawn; each move documents its own."""


class RatioTerms(NamedTuple):
    """The log proposal ratio in its three parts.

    Attributes:
        selection: ln of reverse over forward probabilities of the discrete choices (which particle, channel, process).
        density: ln of reverse over forward densities of the continuous draws.
        jacobian: ln |∂(s', u')/∂(s, u)| in the coordinates of the state and of the draws.
    """

    selection: float = 0.0
    density: float = 0.0
    jacobian: float = 0.0

    def plus(self, other: RatioTerms) -> RatioTerms:
        """Return the terms of two independent parts of one move."""
        return RatioTerms(self.selection + other.selection, self.density + other.density, self.jacobian + other.jacobian)


class Proposal(NamedTuple):
    """A proposed state.

    Attributes:
        state: the proposed state.
        terms: its log proposal ratio in parts.
        reverse_choice: the choice with which the reverse move goes back.
    """

    state: SamplerState
    terms: RatioTerms
    reverse_choice: Choice

    @property
    def log_ratio(self) -> float:
        """Return ln q(reverse)/q(forward) + ln |Jacobian|."""
        return sum(self.terms)


class Move(Protocol):
    """One kind of change, with its exact proposal ratio."""

    @property
    def name(self) -> str:
        """Name of the move."""

    @property
    def reverse(self) -> str:
        """Name of the move that goes back; its own where it is symmetric."""

    @property
    def first_scale(self) -> float | None:
        """Width to start the adaptation from; None for moves without a width."""

    def draw(self, rng: np.random.Generator, state: SamplerState, scale: float) -> Choice | None:
        """Return what the move does to a state; None where it can do nothing."""

    def apply(self, state: SamplerState, choice: Choice) -> Proposal | None:
        """Return the proposal that a choice leads to; None where it leads nowhere."""


def propose(move: Move, rng: np.random.Generator, state: SamplerState, scale: float = 1.0) -> Proposal | None:
    """Return a proposal, None where the move can do nothing to this state (the chain stays).

    Args:
        move: the move.
        rng: source of randomness.
        state: the present state.
        scale: width of the move's steps; moves without a width ignore it.
    """
    choice = move.draw(rng, state, scale)
    return None if choice is None else move.apply(state, choice)


def pick(rng: np.random.Generator, options: Sequence[Any]) -> Any:
    """Return one of some options, each with the same probability."""
    return options[int(rng.integers(len(options)))]


def heavy_step(rng: np.random.Generator, scale: float) -> float:
    """Return a symmetric step: normal, its width between a hundredth of the scale and the scale, uniform in the logarithm."""
    return float(scale * rng.normal() * 10.0 ** (-2.0 * rng.random()))
