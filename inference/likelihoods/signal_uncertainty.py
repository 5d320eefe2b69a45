"""One signal region whose expected signal is itself uncertain, log-normally.

    L(μ, θ, η) = Pois(n | μ s κ^η + b + θ) · N(θ | 0, δ²) · N(η | 0, 1),   κ = 1 + ε

ε is the relative uncertainty of the signal yield (theory, acceptance). θ is profiled in closed form for every η, and η by safeguarded
Newton steps on a function of one variable. An option: by default signals have no uncertainty, which in the reference code has no effect on
single regions either. The best fit is the one without it, its error gets μ̂ s ln κ in quadrature. ln L(μ) is not concave in general.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from numba import njit

from inference.likelihoods.protocol import LogRatio
from inference.likelihoods.single_region import SingleRegionLikelihood, profile_region
from inference.settings import Conventions
from inference.types import Outcome

_HALF_LOG_TWO_PI = 0.5 * math.log(2.0 * math.pi)
_STEP = 1e-6
"""Step in η of the second derivative."""


@njit(cache=True)
def _profile_pull(
    mu: float, observed: float, background: float, error: float, signal: float, log_kappa: float, is_smodels: bool
) -> tuple[float, float, float]:
    """-ln L(μ) with the constants of θ, profiled over θ and η; its slope in μ; the fitted η."""
    low, high = -math.inf, math.inf
    pull = 0.0
    nll, slope = math.nan, math.nan
    for _ in range(200):
        factor = math.exp(log_kappa * pull)
        nll, per_event, _theta = profile_region(mu * factor, observed, background, error, signal, is_smodels)
        slope = per_event * factor
        gradient = mu * slope * log_kappa + pull
        if mu == 0.0 or signal == 0.0:
            break
        if gradient < 0.0:
            low = pull
        else:
            high = pull
        other = math.exp(log_kappa * (pull + _STEP))
        _nll, there, _theta = profile_region(mu * other, observed, background, error, signal, is_smodels)
        curvature = (mu * there * other * log_kappa + pull + _STEP - gradient) / _STEP
        target = pull - gradient / curvature if curvature > 0.0 else math.nan
        if not low < target < high:
            if low == -math.inf:
                target = pull - 1.0
            elif high == math.inf:
                target = pull + 1.0
            else:
                target = 0.5 * (low + high)
        if abs(target - pull) <= 1e-10 * (1.0 + abs(pull)):
            break
        pull = target
    return nll + 0.5 * pull * pull, slope, pull


@dataclass(frozen=True, slots=True)
class UncertainSignalLikelihood:
    """Likelihood of one signal region with an uncertain signal.

    Attributes:
        region: the region, with the expected signal.
        relative_uncertainty: ε of the signal yield; >= 0.
    """

    region: SingleRegionLikelihood
    relative_uncertainty: float

    @property
    def outcome(self) -> Outcome:
        """That of the region."""
        return self.region.outcome

    @property
    def is_concave(self) -> bool:
        """Only without any uncertainty."""
        return self.relative_uncertainty == 0.0

    @property
    def mu_hat(self) -> float:
        """max(0, n - b)/s: the best fit pulls nothing."""
        return self.region.mu_hat

    @property
    def sigma_mu(self) -> float:
        """That of the region, and the uncertainty of the fitted signal, in quadrature."""
        return math.hypot(self.region.sigma_mu, self.region.mu_hat * self._log_kappa)

    def asimov(self) -> UncertainSignalLikelihood:
        """The same signal with the background-only fit as data."""
        return UncertainSignalLikelihood(self.region.asimov(), self.relative_uncertainty)

    def asimov_with(self, is_moved: bool) -> UncertainSignalLikelihood:
        """The same, auxiliary data of the background moved or centred; the signal's stay at 0, where the background-only fit has them."""
        return UncertainSignalLikelihood(self.region.asimov_with(is_moved), self.relative_uncertainty)

    def nll(self, mu: float) -> float:
        """-ln L(μ), profiled, with all constants.

        Examples:
            >>> region = SingleRegionLikelihood(observed=8.0, background=3.8, background_error=1.0, signal=2.1)
            >>> round(UncertainSignalLikelihood(region, 0.2).nll(1.0), 6)
            4.08483
        """
        return self._profile(mu)[0] + _HALF_LOG_TWO_PI

    def log_ratio(self, mu: float) -> LogRatio:
        """ln L(μ)/L(0) and its slope."""
        nll, slope, _ = self._profile(mu)
        return LogRatio(self.region.nll(0.0) - nll, -slope)

    @property
    def _log_kappa(self) -> float:
        return math.log1p(self.relative_uncertainty)

    def _profile(self, mu: float) -> tuple[float, float, float]:
        region, is_pinned = self.region, self.region.conventions.has(Conventions.REGION_NUISANCES)
        nll, slope, pull = _profile_pull(
            float(mu), region.data, region.background, region.background_error, region.signal, self._log_kappa, is_pinned
        )
        return float(nll), float(slope), float(pull)
