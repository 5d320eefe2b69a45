"""A common relative uncertainty of all signal yields of an analysis, on top of any likelihood.

    L(μ) = max_η L₀(μ κ^η) exp(-η²/2),    κ = 1 + ε

Since all yields move together, the uncertainty is one of the signal strength, and profiling it needs the curve L₀ alone: no model has to
know of it. The best fit is that of L₀, its error gets μ̂ ln κ in quadrature.
"""

from __future__ import annotations

import math

from inference.likelihoods.protocol import Likelihood, LogRatio
from inference.limits.conventions import AsimovConvention, build_asimov, lowest_strength
from inference.types import Outcome

_MAX_ITERATIONS = 100
_PRECISION = 1e-9


class UncertainStrengthLikelihood:
    """A likelihood with an uncertain signal.

    Args:
        inner: without the uncertainty.
        relative_uncertainty: ε of all yields together; >= 0.

    Examples:
        As the likelihood of one region with an uncertain signal:

        >>> from inference.likelihoods.signal_uncertainty import UncertainSignalLikelihood
        >>> from inference.likelihoods.single_region import SingleRegionLikelihood
        >>> region = SingleRegionLikelihood(observed=8.0, background=3.8, background_error=1.0, signal=2.1)
        >>> both = UncertainStrengthLikelihood(region, 0.2), UncertainSignalLikelihood(region, 0.2)
        >>> [round(likelihood.log_ratio(4.0).value, 6) for likelihood in both]
        [0.681089, 0.681089]
    """

    def __init__(self, inner: Likelihood, relative_uncertainty: float) -> None:
        self.inner = inner
        self.relative_uncertainty = relative_uncertainty
        self._log_kappa = math.log1p(relative_uncertainty)

    @property
    def outcome(self) -> Outcome:
        """That of the likelihood."""
        return self.inner.outcome

    @property
    def is_concave(self) -> bool:
        """Only without any uncertainty, and if the likelihood is."""
        return self.relative_uncertainty == 0.0 and self.inner.is_concave

    @property
    def mu_hat(self) -> float:
        """The best fit pulls nothing."""
        return self.inner.mu_hat

    @property
    def sigma_mu(self) -> float:
        """That of the likelihood, and the uncertainty of the fitted signal, in quadrature."""
        return math.hypot(self.inner.sigma_mu, self.inner.mu_hat * self._log_kappa)

    @property
    def mu_min(self) -> float:
        """Smallest signal strength of the likelihood."""
        return lowest_strength(self.inner)

    def nll(self, mu: float) -> float:
        """-ln L(μ) with all constants."""
        return self.inner.nll(0.0) + 0.5 * math.log(2.0 * math.pi) - self.log_ratio(mu).value

    def log_ratio(self, mu: float) -> LogRatio:
        """ln L(μ)/L(0) and its slope; nan if a fit failed."""
        point = self.inner.log_ratio(mu)
        if mu == 0.0 or self._log_kappa == 0.0 or not math.isfinite(point.slope):
            return point
        pull, point = self._find_pull(mu, point)
        factor = math.exp(self._log_kappa * pull)
        return LogRatio(point.value - 0.5 * pull * pull, factor * point.slope)

    def _find_pull(self, mu: float, at_zero: LogRatio) -> tuple[float, LogRatio]:
        """η where d/dη [ln L₀(μ κ^η) - η²/2] = 0, and the curve there: regula falsi (Illinois) on the side where the slope points."""

        def gradient(pull: float) -> tuple[float, LogRatio]:
            strength = mu * math.exp(self._log_kappa * pull)
            point = self.inner.log_ratio(strength)
            return strength * self._log_kappa * point.slope - pull, point

        near, value_near, point = 0.0, mu * self._log_kappa * at_zero.slope, at_zero
        if value_near == 0.0 or math.isnan(value_near):
            return near, point
        step = math.copysign(min(abs(value_near), 1.0), value_near)
        far = step
        value_far, point = gradient(far)
        while value_far * value_near > 0.0 and abs(far) < 40.0:
            near, value_near = far, value_far
            far += step
            value_far, point = gradient(far)
        side = 0
        for _ in range(_MAX_ITERATIONS):
            if not math.isfinite(value_far) or not math.isfinite(value_near) or value_far == 0.0:
                return far, point
            middle = (near * value_far - far * value_near) / (value_far - value_near)
            value, point = gradient(middle)
            if abs(value) <= _PRECISION * (1.0 + abs(middle)) or abs(far - near) <= _PRECISION:
                return middle, point
            if value * value_far > 0.0:
                far, value_far = middle, value
                value_near = 0.5 * value_near if side > 0 else value_near
                side = 1
            else:
                near, value_near = middle, value
                value_far = 0.5 * value_far if side < 0 else value_far
                side = -1
        return far, point

    def asimov(self) -> UncertainStrengthLikelihood:
        """The same for the Asimov data; the signal's own measurement stays where the background-only fit has it, at 0."""
        return self._asimov(AsimovConvention.PUBLISHED)

    def asimov_with(self, is_moved: bool) -> UncertainStrengthLikelihood:
        """The same with the auxiliary data moved to the fit, or centred."""
        return self._asimov(AsimovConvention.MOVED if is_moved else AsimovConvention.CENTRED)

    def _asimov(self, convention: AsimovConvention) -> UncertainStrengthLikelihood:
        return UncertainStrengthLikelihood(build_asimov(self.inner, convention), self.relative_uncertainty)
