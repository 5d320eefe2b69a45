"""A draw from the prior: the state forgets where it was.

The ratio p(s)/p(s') cancels the prior of the target, so the likelihood alone decides, and at β = 0 every proposal is accepted. Choice:
(state,).
"""

from __future__ import annotations

import numpy as np

from builder.sampling.moves.protocol import Choice, Proposal, RatioTerms
from builder.sampling.prior import Prior
from builder.sampling.state import SamplerState


class Independent:
    """A draw from the prior.

    Args:
        prior: the prior.
    """

    name = "independent"
    reverse = "independent"
    first_scale = None

    def __init__(self, prior: Prior) -> None:
        self._prior = prior

    def draw(self, rng: np.random.Generator, state: SamplerState, scale: float) -> Choice | None:
        """Return (state,)."""
        return (self._prior.draw(rng),)

    def apply(self, state: SamplerState, choice: Choice) -> Proposal | None:
        """Return the drawn state."""
        (new,) = choice
        return Proposal(new, RatioTerms(density=self._prior.log_density(state) - self._prior.log_density(new)), (state,))
