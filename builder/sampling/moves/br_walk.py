"""Branching ratios of one particle, its open channels kept: a draw from a Dirichlet distribution around the present ones.

b' ~ Dirichlet(1 + b/s²), s the width. The ratio of the two densities is all there is. Choice: (pid, new values, s).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from builder.sampling.moves.protocol import Choice, Proposal, RatioTerms, pick
from builder.sampling.space import Space
from builder.sampling.state import SamplerState, build_state


def log_dirichlet(values: Sequence[float], centre: Sequence[float], scale: float) -> float:
    """Return ln of the density of branching ratios drawn around a centre.

    Examples:
        Far wider than the simplex it is flat, Γ(2) = 1 for two channels:

        >>> round(log_dirichlet([0.3, 0.7], [0.5, 0.5], 1e6), 6)
        0.0
    """
    alphas = [1.0 + value / scale**2 for value in centre]
    norm = math.lgamma(math.fsum(alphas)) - math.fsum(map(math.lgamma, alphas))
    return norm + math.fsum((alpha - 1.0) * math.log(value) for alpha, value in zip(alphas, values, strict=True))


class BrWalk:
    """Branching ratios of one particle.

    Args:
        space: what is possible.
    """

    name = "br_walk"
    reverse = "br_walk"

    def __init__(self, space: Space) -> None:
        self.first_scale: float | None = space.settings.proposals.br_scale

    def draw(self, rng: np.random.Generator, state: SamplerState, scale: float) -> Choice | None:
        """Return (pid, values, scale); None where no particle has two open groups."""
        options = tuple(pid for pid, groups in state.decays.items() if len(groups) > 1)
        if not options:
            return None
        pid = pick(rng, options)
        values = rng.dirichlet([1.0 + br / scale**2 for br in state.decays[pid].values()])
        return (pid, tuple(values.tolist()), scale) if values.min() > 0.0 else None

    def apply(self, state: SamplerState, choice: Choice) -> Proposal | None:
        """Return the state with other branching ratios."""
        pid, values, scale = choice
        old = tuple(state.decays[pid].values())
        decays = {**state.decays, pid: dict(zip(state.decays[pid], values, strict=True))}
        terms = RatioTerms(density=log_dirichlet(old, values, scale) - log_dirichlet(values, old, scale))
        return Proposal(build_state(state.masses, decays, state.kappa_class, state.kappas), terms, (pid, old, scale))
