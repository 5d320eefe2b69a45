"""What the network of a surrogate sees of a signal, and derivatives of it along a direction.

With u_i = s_i/√v_i and t = √(|u|² + ε²):

    u/8,   u/t,   ln(1 + s/b)·b/√v,   ln t

the linear and the logarithmic part of the Poisson likelihood, and size and direction of the signal apart. What the network gives is
multiplied by t: -ln L grows like t² at first and like t far away, so that the network itself has only a bounded number to learn.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from inference.types import FloatArray

SOFTENING = 0.3
"""ε: below it, signals have no direction."""
LINEAR_SCALE = 8.0
_SMALLEST_BACKGROUND = 0.05
"""Backgrounds of fewer events enter the logarithm as this many."""


class Features(NamedTuple):
    """Inputs of the layers, with derivatives along a direction.

    Attributes:
        inputs: shape (num_samples, 3·num_regions + 1).
        tangents: their derivatives, same shape.
        length: t, shape (num_samples, 1).
        length_tangent: its derivative, same shape.
    """

    inputs: FloatArray
    tangents: FloatArray
    length: FloatArray
    length_tangent: FloatArray


def log_scales(variances: FloatArray, background: FloatArray) -> FloatArray:
    """√v/b per region: the logarithmic feature is ln(1 + scale·u)/scale."""
    scales: FloatArray = np.sqrt(variances) / np.maximum(background, _SMALLEST_BACKGROUND)
    return scales


def build_features(u: FloatArray, direction: FloatArray, scales: FloatArray) -> Features:
    """Features of signals.

    Args:
        u: signals in units of √v, shape (num_samples, num_regions).
        direction: in which derivatives are taken, same shape.
        scales: of the logarithms, shape (num_regions,).
    """
    t = np.sqrt((u * u).sum(axis=1, keepdims=True) + SOFTENING**2)
    along = (u * direction).sum(axis=1, keepdims=True)
    stretched = 1.0 + scales * u
    inputs = (u / LINEAR_SCALE, u / t, np.log(stretched) / scales, np.log(t))
    tangents = (direction / LINEAR_SCALE, direction / t - u * (along / t**3), direction / stretched, along / t**2)
    return Features(np.concatenate(inputs, axis=1), np.concatenate(tangents, axis=1), t, along / t)
