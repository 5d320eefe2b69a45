"""Derivative of the test statistic by the envelope theorem.

T_L = 2 max_μ F(μ; θ), F = Σ ln L_i(μ)/L_i(0) over the members of the best combination, 0 <= μ <= μ_max. Inside, ∂F/∂μ = 0 at μ̂ and

    dT_L/dθ = 2 Σ ∂(ln L_i(μ̂)/L_i(0))/∂θ

At μ̂ = μ_max the cap moves along: + 2 ∂F/∂μ · dμ_max/dθ. At μ̂ = 0 every term vanishes and so does the derivative: T_L grows from 0
quadratically in ∂F/∂μ(0). The prior counts and does not change, so dK = dT_L (`inference.score`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from inference.gradients.likelihoods import LikelihoodGradient
from inference.types import FloatArray


class ScoreGradient(NamedTuple):
    """Derivative of T_L, and where μ̂ was.

    Attributes:
        tl: dT_L/dθ, shape (num_parameters,).
        is_capped: whether μ̂ = μ_max and the likelihood still rises there.
    """

    tl: FloatArray
    is_capped: bool


def differentiate_score(members: Sequence[LikelihoodGradient], mu_hat: float, mu_max: float, mu_max_gradient: FloatArray) -> ScoreGradient:
    """dT_L/dθ of a combination.

    Args:
        members: its likelihoods at μ̂; at least one.
        mu_hat: where the combination has its maximum.
        mu_max: cap of the signal strength; may be inf.
        mu_max_gradient: dμ_max/dθ, shape (num_parameters,).
    """
    gradient: FloatArray = 2.0 * np.sum([member.log_ratio_gradient for member in members], axis=0)
    slope = sum(member.mu_slope for member in members)
    is_capped = mu_hat >= mu_max and slope > 0.0
    if is_capped:
        gradient += 2.0 * slope * mu_max_gradient
    return ScoreGradient(gradient, is_capped)
