"""The likelihood of several independent results at one common signal strength, as a limit needs it.

    ln L_c(μ) = Σ_{i in c} ln L_i(μ)

Nuisances are profiled in each factor, which is exact where results share none. The background-only fit factorises too, so the
Asimov data of the product are those of its factors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

from inference.likelihoods.protocol import Likelihood, LogRatio
from inference.limits import LimitableLikelihood
from inference.types import Outcome

_MU_PRECISION = 1e-9
_MAX_BISECTIONS = 200


class CommonStrength:
    """Curves of several likelihoods, summed at a common μ.

    Args:
        members: the factors, one or more, with outcome OK.
    """

    def __init__(self, members: Sequence[Likelihood]) -> None:
        self.members = tuple(members)

    @property
    def outcome(self) -> Outcome:
        """OK if every factor is."""
        return next((m.outcome for m in self.members if m.outcome is not Outcome.OK), Outcome.OK)

    @property
    def is_concave(self) -> bool:
        """Whether every factor is known to be concave."""
        return all(member.is_concave for member in self.members)

    def log_ratio(self, mu: float) -> LogRatio:
        """ln L(μ)/L(0) and its slope, summed over the factors; nan if a fit failed.

        Examples:
            >>> from inference.likelihoods.single_region import SingleRegionLikelihood
            >>> region = SingleRegionLikelihood(observed=8.0, background=4.0, background_error=1.0, signal=2.0)
            >>> ProductLikelihood([region, region]).log_ratio(1.0).value == 2 * region.log_ratio(1.0).value
            True
        """
        points = [member.log_ratio(mu) for member in self.members]
        return LogRatio(sum(point.value for point in points), sum(point.slope for point in points))

    def nll(self, mu: float) -> float:
        """-ln L(μ) with all constants."""
        return math.fsum(member.nll(mu) for member in self.members)

    @cached_property
    def mu_hat(self) -> float:
        """Best μ >= 0: the root of the slope, bracketed by the factors' own best μ; nan if a fit failed."""
        own = [member.mu_hat for member in self.members]
        low, high = min(own), max(own)
        if not math.isfinite(low) or not math.isfinite(high):
            return math.nan
        for _ in range(_MAX_BISECTIONS):
            if high - low <= _MU_PRECISION * high:
                break
            middle = 0.5 * (low + high)
            slope = self.log_ratio(middle).slope
            if math.isnan(slope):
                return math.nan
            low, high = (middle, high) if slope > 0.0 else (low, middle)
        return 0.5 * (low + high)

    @property
    def sigma_mu(self) -> float:
        """1/√Σ 1/σ_i² of the factors' own uncertainties: the scale of a limit search, exact for Gaussians."""
        weight = math.fsum(1.0 / member.sigma_mu**2 for member in self.members if member.sigma_mu > 0.0)
        return 1.0 / math.sqrt(weight) if weight > 0.0 else math.inf


class ProductLikelihood(CommonStrength):
    """Product of likelihoods that can provide their Asimov data, so that it has a limit.

    Args:
        members: the factors, one or more, with outcome OK.
    """

    def __init__(self, members: Sequence[LimitableLikelihood]) -> None:
        super().__init__(members)
        self._limitable = tuple(members)

    def asimov(self) -> CommonStrength:
        """The same signals with the expected data of the background-only fits."""
        return CommonStrength([member.asimov() for member in self._limitable])
