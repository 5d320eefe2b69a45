"""Test statistics of the signal strength and what they say about it.

With the profile likelihood ratio λ(μ) = L(μ)/L(μ̂) (Cowan, Cranmer, Gross, Vitells, arXiv:1007.1727, equations 14 and 16),

    q_μ  = -2 ln λ(μ) for μ̂ <= μ, else 0        with μ̂ free to be negative
    q̃_μ  the same with μ̂ >= 0

and q_A its value for the Asimov data of the background-only hypothesis,

    q_μ, and q̃_μ <= q_A:  CL_{s+b} = 1 - Φ(√q),                  CL_b = Φ(√q_A - √q)
    q̃_μ > q_A:            CL_{s+b} = 1 - Φ((q + q_A)/2√q_A),     CL_b = 1 - Φ((q - q_A)/2√q_A)

CLs = CL_{s+b}/CL_b. Data that fluctuate by N standard deviations around the background-only expectation have √q = √q_A - N (equation 89),
so that their limit lies where √q_A(μ) = N + Φ⁻¹(1 - α Φ(N)), α = 1 - confidence level.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import NamedTuple

from scipy import special

CONFIDENCE_LEVEL = 0.95

EXPECTED_SIGMAS = (-2, -1, 0, 1, 2)
"""Fluctuations of the background for which expected values are given."""

_LOG_TWO = math.log(2.0)


class TestStatistic(StrEnum):
    """Which test statistic; see the module."""

    __test__ = False  # no test case

    Q_TILDE = "q_tilde"
    """μ̂ >= 0: no credit for deficits beyond the background."""
    Q = "q"
    """μ̂ may be negative, as far as the likelihood reaches."""


class LogCLs(NamedTuple):
    """ln CLs at one signal strength.

    Attributes:
        value: ln CLs <= 0.
        slope: its derivative in μ.
    """

    value: float
    slope: float


def _log_phi(x: float) -> float:
    return float(special.log_ndtr(x))


def _log_phi_slope(x: float) -> float:
    """d ln Φ(x)/dx = φ(x)/Φ(x), stable for x of any size."""
    return math.sqrt(2.0 / math.pi) / float(special.erfcx(-x / math.sqrt(2.0)))


def log_cls(q: float, q_asimov: float, dq: float = 0.0, dq_asimov: float = 0.0, statistic: TestStatistic = TestStatistic.Q_TILDE) -> LogCLs:
    """ln CLs from the test statistics of the data and of the Asimov data, with its derivative.

    Args:
        q: test statistic of the data, >= 0.
        q_asimov: test statistic of the Asimov data, >= 0.
        dq: its derivative in μ.
        dq_asimov: the same of the Asimov data.
        statistic: q_tilde or q.

    Returns:
        ln CLs; 0 where the Asimov data do not tell the hypotheses apart.
    """
    root, root_asimov = math.sqrt(max(0.0, q)), math.sqrt(max(0.0, q_asimov))
    d_root = dq / (2.0 * root) if root > 0.0 else 0.0
    d_asimov = dq_asimov / (2.0 * root_asimov) if root_asimov > 0.0 else 0.0
    if root <= root_asimov or statistic is TestStatistic.Q:
        above, below = -root, root_asimov - root
        d_above, d_below = -d_root, d_asimov - d_root
    elif root_asimov == 0.0:
        return LogCLs(0.0, 0.0)
    else:
        above, below = -(q + q_asimov) / (2.0 * root_asimov), -(q - q_asimov) / (2.0 * root_asimov)
        d_ratio = (dq - 0.5 * q * dq_asimov / q_asimov) / (2.0 * root_asimov)  # of q/(2 √q_A)
        d_above, d_below = -(d_ratio + 0.5 * d_asimov), -(d_ratio - 0.5 * d_asimov)
    slope = _log_phi_slope(above) * d_above - _log_phi_slope(below) * d_below
    return LogCLs(min(0.0, _log_phi(above) - _log_phi(below)), slope)


def cls_value(q: float, q_asimov: float, statistic: TestStatistic = TestStatistic.Q_TILDE) -> float:
    """CLs from the test statistics of the data and of the Asimov data.

    Args:
        q: test statistic of the data, >= 0.
        q_asimov: test statistic of the Asimov data, >= 0.
        statistic: q_tilde or q.

    Returns:
        CLs in [0, 1]; 1 where the Asimov data do not tell the hypotheses apart.

    Examples:
        Data as expected (q = q_A) reach CLs = 0.05 at √q = 1.96:

        >>> round(cls_value(1.959964**2, 1.959964**2), 6)
        0.05
    """
    return math.exp(log_cls(q, q_asimov, statistic=statistic).value)


def expected_cls(q_asimov: float, num_sigmas: float) -> float:
    """CLs for data that fluctuate by N standard deviations around the background-only expectation: [1 - Φ(√q_A - N)]/Φ(N).

    Examples:
        >>> round(expected_cls(1.959964**2, 0), 6)
        0.05
    """
    root = math.sqrt(max(0.0, q_asimov))
    return math.exp(_log_phi(num_sigmas - root) - _log_phi(num_sigmas))


def expected_root(num_sigmas: float, confidence_level: float = CONFIDENCE_LEVEL) -> float:
    """√q_A at the expected limit of data that fluctuate by N standard deviations: N + Φ⁻¹(1 - α Φ(N)).

    Examples:
        >>> [round(expected_root(n), 4) for n in EXPECTED_SIGMAS]
        [1.0518, 1.412, 1.96, 2.7272, 3.656]
    """
    alpha = 1.0 - confidence_level
    return num_sigmas - float(special.ndtri(alpha * special.ndtr(num_sigmas)))


def gaussian_limit(mu_hat: float, sigma: float, confidence_level: float = CONFIDENCE_LEVEL) -> float:
    """Limit of a Gaussian likelihood with mean μ̂ (of any sign) and width σ: μ̂ + σ Φ⁻¹(1 - α Φ(μ̂/σ)).

    Examples:
        >>> round(gaussian_limit(0.0, 1.0), 4)
        1.96
    """
    alpha = 1.0 - confidence_level
    return mu_hat - sigma * float(special.ndtri_exp(math.log(alpha) + _log_phi(mu_hat / sigma)))


def straighten(point: LogCLs) -> tuple[float, float]:
    """z with CLs = 2 [1 - Φ(z)] and its derivative: nearly a straight line in μ, and easy to solve.

    Examples:
        >>> z, slope = straighten(LogCLs(math.log(0.05), -1.0))
        >>> round(z, 4)
        1.96
    """
    z = -float(special.ndtri_exp(point.value - _LOG_TWO))
    return z, -point.slope / _log_phi_slope(-z)
