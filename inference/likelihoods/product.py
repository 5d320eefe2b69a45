"""Product of independent likelihoods with one common signal strength: several analyses, or disjoint regions of one.

    ln L(μ) = Σ ln L_i(μ)

Nuisances are profiled in each factor, which is exact where factors share none. The background-only fit factorises too: the Asimov data of
the product are those of its factors. A product is a likelihood like any other, so it has limits, CLs and r-values (`inference.limits`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise

from inference.likelihoods.protocol import Likelihood, LogRatio
from inference.limits.conventions import AsimovConvention, build_asimov, lowest_strength
from inference.types import Outcome

_MAX_ITERATIONS = 100
_RELATIVE_PRECISION = 1e-10


class ProductLikelihood:
    """Product of likelihoods at a common μ.

    Args:
        members: the factors; none: a flat likelihood.

    Examples:
        Two equal measurements: the limit is √2 stronger, or a little less, than that of one.

        >>> from inference.likelihoods.single_region import SingleRegionLikelihood
        >>> from inference.limits import find_upper_limit
        >>> region = SingleRegionLikelihood(observed=100.0, background=100.0, background_error=0.0, signal=10.0)
        >>> round(find_upper_limit(ProductLikelihood([region, region])).r / find_upper_limit(region).r, 2)
        1.44
    """

    def __init__(self, members: Sequence[Likelihood]) -> None:
        self.members = tuple(members)
        self._last: tuple[float, LogRatio] | None = None

    @property
    def outcome(self) -> Outcome:
        """OK if every factor is, else that of the first that is not."""
        return next((member.outcome for member in self.members if member.outcome is not Outcome.OK), Outcome.OK)

    @property
    def is_concave(self) -> bool:
        """Whether every factor is known to be concave."""
        return all(member.is_concave for member in self.members)

    @property
    def mu_min(self) -> float:
        """Smallest signal strength that every factor is defined for."""
        return max((lowest_strength(member) for member in self.members), default=0.0)

    def nll(self, mu: float) -> float:
        """-ln L(μ) with all constants."""
        return math.fsum(member.nll(mu) for member in self.members)

    def log_ratio(self, mu: float) -> LogRatio:
        """ln L(μ)/L(0) and its slope; nan if a fit failed."""
        if self._last is None or self._last[0] != mu:
            points = [member.log_ratio(mu) for member in self.members]
            self._last = (mu, LogRatio(math.fsum(p.value for p in points), math.fsum(p.slope for p in points)))
        return self._last[1]

    @cached_property
    def mu_hat(self) -> float:
        """Best μ >= 0; nan if a fit failed.

        It lies between the factors' own best strengths. Factors that are not concave may give several maxima: then the search starts
        between each pair of neighbours, and the highest wins.
        """
        own = sorted({member.mu_hat for member in self.members})
        if not own or math.isnan(sum(own)):
            return math.nan if own else 0.0
        stops = own if not self.is_concave else [own[0], own[-1]]
        found = [_maximise(self, low, high) for low, high in pairwise(stops)] or [own[0]]
        if any(math.isnan(mu) for mu in found):
            return math.nan
        return max(found, key=lambda mu: self.log_ratio(mu).value)

    @cached_property
    def sigma_mu(self) -> float:
        """1/√(d²(-ln L)/dμ²) at μ̂, from the slope's difference over a thousandth of the factors' σ; inf for a flat likelihood."""
        weight = math.fsum(member.sigma_mu**-2 for member in self.members if 0.0 < member.sigma_mu < math.inf)
        if weight == 0.0:
            return math.inf
        scale = 1.0 / math.sqrt(weight)
        mu, step = self.mu_hat, 1e-3 * scale
        curvature = (self.log_ratio(mu).slope - self.log_ratio(mu + step).slope) / step
        return 1.0 / math.sqrt(curvature) if curvature > 0.01 * weight else scale

    def asimov(self) -> ProductLikelihood:
        """The same signals with the expected data of the background-only fits, each in its published convention.

        Raises:
            TypeError: a factor has no Asimov data.
        """
        return self._asimov(AsimovConvention.PUBLISHED)

    def asimov_with(self, is_moved: bool) -> ProductLikelihood:
        """The same with the auxiliary data of every factor moved to the fit, or centred."""
        return self._asimov(AsimovConvention.MOVED if is_moved else AsimovConvention.CENTRED)

    def _asimov(self, convention: AsimovConvention) -> ProductLikelihood:
        return ProductLikelihood([build_asimov(member, convention) for member in self.members])


def _maximise(likelihood: Likelihood, low: float, high: float) -> float:
    """Maximum between two strengths where the slope is >= 0 and <= 0: Illinois' regula falsi on the slope; nan if a fit failed."""
    at_low, at_high = likelihood.log_ratio(low).slope, likelihood.log_ratio(high).slope
    if math.isnan(at_low) or math.isnan(at_high):
        return math.nan
    if at_low <= 0.0 or at_high >= 0.0:
        return low if at_low <= 0.0 else high
    side = 0
    for _ in range(_MAX_ITERATIONS):
        if high - low <= _RELATIVE_PRECISION * high:
            break
        mu = (low * at_high - high * at_low) / (at_high - at_low)
        if not low < mu < high:
            mu = 0.5 * (low + high)
        slope = likelihood.log_ratio(mu).slope
        if math.isnan(slope):
            return math.nan
        if slope == 0.0:
            return mu
        if slope > 0.0:
            low, at_low = mu, slope
            at_high = 0.5 * at_high if side > 0 else at_high
            side = 1
        else:
            high, at_high = mu, slope
            at_low = 0.5 * at_low if side < 0 else at_low
            side = -1
    return 0.5 * (low + high)
