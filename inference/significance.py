"""Local significances, as quoted in hiscore tables."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from scipy import special

CONFIDENCE_FACTOR = 1.96
"""95 % CL limit over the standard deviation of a Gaussian."""
_NUM_NODES = 200
_RANGE_SIGMAS = 8.0


@lru_cache(maxsize=1)
def _nodes() -> tuple[np.ndarray[tuple[int], np.dtype[np.float64]], np.ndarray[tuple[int], np.dtype[np.float64]]]:
    x, w = np.polynomial.legendre.leggauss(_NUM_NODES)
    return x, w


@lru_cache(maxsize=4096)
def region_significance(observed: float, background: float, error: float) -> float:
    """Significance of an excess in one signal region [standard deviations]; negative for a deficit.

    Z = -Φ⁻¹(p) with the mid-p value p = P(N > n) + ½ P(N = n), N Poisson with a Gaussian mean b ± δ cut at 0: the toys of
    arXiv:2012.12246 §2, integrated instead of drawn.

    Args:
        observed: observed events.
        background: expected background [events].
        error: its uncertainty [events].

    Examples:
        >>> round(region_significance(413, 359.0, 10.0), 1), round(region_significance(5, 3.3, 0.7), 1)
        (2.5, 0.9)
    """
    n = math.floor(observed + 0.5)
    if error > 0.0:
        low = max(0.0, background - _RANGE_SIGMAS * error)
        high = background + _RANGE_SIGMAS * error
        x, w = _nodes()
        mean = 0.5 * (high - low) * x + 0.5 * (high + low)
        weight = w * np.exp(-0.5 * ((mean - background) / error) ** 2)
        weight /= weight.sum()
    else:
        mean, weight = np.array([background]), np.ones(1)
    log_point = special.xlogy(n, mean) - mean - math.lgamma(n + 1.0)
    above = float(np.sum(weight * (special.pdtrc(n, mean) + 0.5 * np.exp(log_point))))
    below = float(np.sum(weight * (special.pdtr(n, mean) - 0.5 * np.exp(log_point))))
    # the smaller tail carries the digits
    return float(-special.ndtri(above)) if above < below else float(special.ndtri(below))


def limit_significance(ul_obs: float, ul_exp: float) -> float:
    """Significance read off a pair of 95 % CL limits: (obs - exp)/(exp/1.96).

    Examples:
        >>> round(limit_significance(30.8, 19.6), 2)
        1.12
    """
    return (ul_obs - ul_exp) / (ul_exp / CONFIDENCE_FACTOR) if ul_exp > 0.0 else math.nan
