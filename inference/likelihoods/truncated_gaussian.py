"""Likelihood rebuilt from a pair of published limits: a Gaussian in μ, truncated at μ = 0.

The observed and the expected 95 % CL limit on the signal strength, u = UL_obs/σ and e = UL_exp/σ, fix its two numbers:
the width σ_μ = e/1.96, and the centre μ̂ such that 95 % of the probability above zero lies below u,

    [erf((u-μ̂)/√2σ) + erf(μ̂/√2σ)] / [1 + erf(μ̂/√2σ)] = 0.95

(Azatov, Contino, Galloway, arXiv:1202.3415; as in arXiv:2012.12246). A limit stronger than expected gives μ̂ < 0.
The likelihood is L(μ) = N(μ | μ̂, σ_μ²)/Φ(μ̂/σ_μ).

Large differences of the two limits say that the Gaussian is not a good description. As in arXiv:2012.12246 the excess
is capped, u <= e + 2 σ_μ, and a pair with |obs - exp|/(obs + exp) > 0.4 is not used (`max_asymmetry`). Later versions
of SModelS widen σ_μ for an excess by 1/(1 - 0.6 (u-e)/(u+e)); here that is the option `widening` = 0.6, 0 by default.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from numba import njit

from inference.likelihoods.protocol import LogRatio
from inference.types import DataKind, Outcome

CONFIDENCE_FACTOR = 1.96
"""Expected limit over the width of the Gaussian; two-sided 95 %."""

MAX_EXCESS_SIGMAS = 2.0
"""Cap of the excess, in standard deviations above the expected limit (arXiv:2012.12246)."""

_SQRT2 = math.sqrt(2.0)


@njit(cache=True)
def _log_upper_tail(x: float) -> float:
    """ln Q(x), Q the upper tail of the standard normal, stable for large x."""
    if x < 20.0:
        return math.log(0.5 * math.erfc(x / _SQRT2))
    y = 1.0 / (x * x)
    return -0.5 * x * x - math.log(x) - 0.9189385332046727 + math.log1p(-y * (1.0 - 3.0 * y * (1.0 - 5.0 * y)))


@njit(cache=True)
def _hazard(x: float) -> float:
    """φ(x)/Q(x)."""
    if x < 20.0:
        return math.exp(-0.5 * x * x) / (_SQRT2 * math.sqrt(math.pi)) / (0.5 * math.erfc(x / _SQRT2))
    return x + 1.0 / x - 2.0 / (x * x * x)


@njit(cache=True)
def _solve_centre(y: float) -> float:
    """m = μ̂/σ with Q(y - m) = 0.05 Q(-m): the truncated Gaussian's 95 % point lies at y = u/σ > 0.

    Newton's method inside a bracket; ln Q(y - m) - ln Q(-m) rises with m.
    """
    high = y  # Q(0)/Q(-y) > 0.05: the root lies below
    low = -math.inf
    m = y - 1.6448536269514722
    if m < 0.0:  # far below, ln Q(y - m)/Q(-m) = y m - y²/2
        m = min(m + 1.0, 0.5 * y + math.log(0.05) / y) if y < 1.0 else m
    for _ in range(200):
        excess = _log_upper_tail(y - m) - _log_upper_tail(-m) - math.log(0.05)
        if excess > 0.0:
            high = m
        else:
            low = m
        step = -excess / (_hazard(y - m) - _hazard(-m))
        following = m + step
        if not low < following < high:
            following = 0.5 * (low + high) if low > -math.inf else m - 2.0 * (1.0 + abs(m))
        if abs(following - m) <= 1e-15 * max(1.0, abs(m)) or following in (low, high):
            return following
        m = following
    return m


@njit(cache=True)
def gaussian_of_limits(
    xsec_fb: float, ul_obs_fb: float, ul_exp_fb: float, max_excess_sigmas: float, widening: float
) -> tuple[float, float]:
    """Centre and width of the truncated Gaussian of a cross section and its limits; nan where they define none.

    Args:
        xsec_fb: predicted cross section at μ = 1 [fb].
        ul_obs_fb, ul_exp_fb: 95 % CL limits [fb].
        max_excess_sigmas, widening: see `build_truncated_gaussian`.
    """
    if not (0.0 < xsec_fb < math.inf and 0.0 < ul_exp_fb < math.inf and 0.0 < ul_obs_fb < math.inf):
        return math.nan, math.nan
    limit, expected = ul_obs_fb / xsec_fb, ul_exp_fb / xsec_fb
    limit = min(limit, expected * (1.0 + max_excess_sigmas / CONFIDENCE_FACTOR))
    if limit > expected:
        expected /= 1.0 - widening * abs(limit - expected) / (limit + expected)
    sigma = expected / CONFIDENCE_FACTOR
    return sigma * _solve_centre(limit / sigma), sigma


def asymmetry(ul_obs: float, ul_exp: float) -> float:
    """|UL_obs - UL_exp|/(UL_obs + UL_exp).

    Examples:
        >>> round(asymmetry(4.5, 2.5), 4)
        0.2857
    """
    return abs(ul_obs - ul_exp) / (ul_obs + ul_exp)


@dataclass(frozen=True, slots=True)
class TruncatedGaussianLikelihood:
    """Gaussian in μ whose 95 % CL limits are the published ones.

    Attributes:
        centre: μ̂ of the Gaussian, negative for a limit stronger than expected.
        sigma_mu: its width.
    """

    centre: float
    sigma_mu: float

    @property
    def is_concave(self) -> bool:
        """Always: ln L is a parabola."""
        return True

    @property
    def outcome(self) -> Outcome:
        """NON_FINITE if the limits do not define a Gaussian, else OK."""
        return Outcome.OK if math.isfinite(self.centre) and 0.0 < self.sigma_mu < math.inf else Outcome.NON_FINITE

    @property
    def mu_hat(self) -> float:
        """The centre, or 0 where it is negative."""
        return max(0.0, self.centre)

    def asimov(self) -> TruncatedGaussianLikelihood:
        """The same with expected data: centred at 0."""
        return TruncatedGaussianLikelihood(0.0, self.sigma_mu)

    def asimov_with(self, is_moved: bool) -> TruncatedGaussianLikelihood:
        """The same: there are no auxiliary data."""
        return self.asimov()

    def nll(self, mu: float) -> float:
        """-ln L(μ), normalised on μ >= 0."""
        pull = (mu - self.centre) / self.sigma_mu
        log_norm = float(_log_upper_tail(-self.centre / self.sigma_mu))
        return 0.5 * pull * pull + math.log(self.sigma_mu) + 0.5 * math.log(2.0 * math.pi) + log_norm

    def log_ratio(self, mu: float) -> LogRatio:
        """ln L(μ)/L(0) = μ (2 μ̂ - μ)/2σ² and its slope.

        Examples:
            >>> TruncatedGaussianLikelihood(centre=2.0, sigma_mu=1.0).log_ratio(2.0)
            LogRatio(value=2.0, slope=0.0)
        """
        inverse = 1.0 / (self.sigma_mu * self.sigma_mu)
        return LogRatio(0.5 * mu * (2.0 * self.centre - mu) * inverse, (self.centre - mu) * inverse)


def build_truncated_gaussian(
    xsec_fb: float,
    ul_obs_fb: float,
    ul_exp_fb: float,
    data_kind: DataKind = DataKind.OBSERVED,
    max_excess_sigmas: float = MAX_EXCESS_SIGMAS,
    widening: float = 0.0,
) -> TruncatedGaussianLikelihood:
    """Truncated Gaussian of a cross section and its limits.

    Args:
        xsec_fb: predicted cross section at μ = 1 [fb].
        ul_obs_fb: observed 95 % CL limit [fb].
        ul_exp_fb: expected 95 % CL limit [fb].
        data_kind: a priori gives a Gaussian centred at 0.
        max_excess_sigmas: the observed limit counts at most as expected + this many σ; inf: no cap.
        widening: 0.6 as in SModelS >= 2.1, 0 as in arXiv:2012.12246.

    Returns:
        The likelihood; its outcome is NON_FINITE if a limit or the cross section is not a positive number.

    Examples:
        >>> g = build_truncated_gaussian(xsec_fb=1.0, ul_obs_fb=2.5, ul_exp_fb=2.5)
        >>> round(g.sigma_mu, 4), round(g.centre, 3)
        (1.2755, 0.0)
    """
    centre, sigma = gaussian_of_limits(xsec_fb, ul_obs_fb, ul_exp_fb, max_excess_sigmas, widening)
    if data_kind is not DataKind.OBSERVED and math.isfinite(centre):
        centre = 0.0
    return TruncatedGaussianLikelihood(float(centre), float(sigma))
