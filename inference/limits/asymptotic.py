"""Observed and expected limits on the signal strength from asymptotic formulas.

The limit at 95 % CL is the μ with CLs = 0.05. CLs(μ) is turned into the number of standard deviations z with CLs = 2 [1 - Φ(z)], which is
nearly a straight line in μ; its slope is known, because the slope of a profiled likelihood is. So a few fits of the data and of the Asimov
data suffice (`crossing.find_crossing`), and no differences of fits are taken. Expected limits need fits of the Asimov data only.

Which data are expected is a property of the likelihood (`DataKind`): with observed data the Asimov data are those of the background-only
fit to them (a posteriori), with a priori data those of the nominal background.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from inference.likelihoods.protocol import Likelihood
from inference.limits.conventions import AsimovConvention, LimitableLikelihood, build_asimov
from inference.limits.crossing import find_crossing
from inference.limits.curves import TestCurve
from inference.limits.statistics import (
    CONFIDENCE_LEVEL,
    EXPECTED_SIGMAS,
    TestStatistic,
    expected_cls,
    expected_root,
    gaussian_limit,
    log_cls,
    straighten,
)
from inference.types import Outcome


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """How limits are made.

    Attributes:
        confidence_level: 0.95 by convention.
        statistic: q_tilde or q.
        asimov: convention of the Asimov data.
    """

    confidence_level: float = CONFIDENCE_LEVEL
    statistic: TestStatistic = TestStatistic.Q_TILDE
    asimov: AsimovConvention = AsimovConvention.PUBLISHED


class LimitResult(NamedTuple):
    """Upper limit on the signal strength.

    Attributes:
        mu_ul: the limit; nan without one, inf if no signal strength is excluded.
        outcome: OK, FIT_FAILED, or NON_FINITE for a likelihood that excludes nothing.
        num_evaluations: signal strengths at which CLs was computed.
    """

    mu_ul: float
    outcome: Outcome
    num_evaluations: int

    @property
    def r(self) -> float:
        """1/μ_UL: the signal is excluded where r > 1; nan without a limit."""
        return 1.0 / self.mu_ul if self.mu_ul != 0.0 else math.inf


class ExpectedLimits(NamedTuple):
    """Expected upper limits for backgrounds that fluctuate by -2, -1, 0, 1 and 2 standard deviations.

    Attributes:
        values: the five limits, rising; nan without one, inf if nothing would be excluded.
        outcome: OK, or why there are none.
        num_evaluations: signal strengths at which the Asimov data were fitted.
    """

    values: tuple[float, ...]
    outcome: Outcome
    num_evaluations: int

    @property
    def median(self) -> float:
        """The expected limit."""
        return self.values[2]


class UpperLimits(NamedTuple):
    """Observed and expected limits of one likelihood."""

    observed: LimitResult
    expected: ExpectedLimits


class CLsResult(NamedTuple):
    """CLs of one signal strength.

    Attributes:
        observed: CLs of the data; nan if a fit failed.
        expected: CLs for backgrounds that fluctuate by -2, -1, 0, 1 and 2 standard deviations.
        outcome: OK or FIT_FAILED.
    """

    observed: float
    expected: tuple[float, ...]
    outcome: Outcome


def compute_cls(likelihood: LimitableLikelihood, mu: float = 1.0, settings: LimitSettings | None = None) -> CLsResult:
    """CLs of a signal strength, observed and expected.

    Examples:
        100 expected, 100 seen, 20 more predicted with the signal: a little less than 2 standard deviations.

        >>> from inference.likelihoods.single_region import SingleRegionLikelihood
        >>> region = SingleRegionLikelihood(observed=100.0, background=100.0, background_error=0.0, signal=20.0)
        >>> round(compute_cls(region).observed, 3)
        0.06...
    """
    settings = settings or LimitSettings()
    data, asimov = _curves(likelihood, settings)
    failed = CLsResult(math.nan, (math.nan,) * len(EXPECTED_SIGMAS), Outcome.FIT_FAILED)
    if not (data.is_usable and asimov.is_usable):
        return failed
    (q, _), (q_asimov, _) = data.at(mu), asimov.at(mu)
    if math.isnan(q) or math.isnan(q_asimov):
        return failed
    observed = math.exp(log_cls(q, q_asimov, statistic=settings.statistic).value)
    return CLsResult(observed, tuple(expected_cls(q_asimov, n) for n in EXPECTED_SIGMAS), Outcome.OK)


def find_upper_limit(
    likelihood: LimitableLikelihood, confidence_level: float | None = None, settings: LimitSettings | None = None
) -> LimitResult:
    """Observed upper limit on μ by CLs.

    Args:
        likelihood: of the data; with a priori data the result is the expected limit before looking.
        confidence_level: overrides that of the settings.
        settings: test statistic and conventions.

    Examples:
        100 expected, 100 seen: a little more than 1.96 √100 = 19.6 events, since the signal adds to the variance.

        >>> from inference.likelihoods.single_region import SingleRegionLikelihood
        >>> region = SingleRegionLikelihood(observed=100.0, background=100.0, background_error=0.0, signal=10.0)
        >>> round(find_upper_limit(region).mu_ul, 2)
        2.09
    """
    settings = settings or LimitSettings()
    data, asimov = _curves(likelihood, settings)
    return _observed_limit(data, asimov, settings, confidence_level or settings.confidence_level)


def find_expected_limits(likelihood: LimitableLikelihood, settings: LimitSettings | None = None) -> ExpectedLimits:
    """Expected upper limits on μ, median and fluctuations of one and two standard deviations; see the module for which data.

    Examples:
        >>> from inference.likelihoods.single_region import SingleRegionLikelihood
        >>> region = SingleRegionLikelihood(observed=120.0, background=100.0, background_error=0.0, signal=10.0)
        >>> [round(value, 2) for value in find_expected_limits(region).values]
        [1.09, 1.48, 2.09, 2.98, 4.11]
    """
    settings = settings or LimitSettings()
    return _expected_limits(_curves(likelihood, settings)[1], settings)


def find_upper_limits(likelihood: LimitableLikelihood, settings: LimitSettings | None = None) -> UpperLimits:
    """Observed and expected limits, which share the fits of the Asimov data."""
    settings = settings or LimitSettings()
    data, asimov = _curves(likelihood, settings)
    return UpperLimits(_observed_limit(data, asimov, settings, settings.confidence_level), _expected_limits(asimov, settings))


def _curves(likelihood: LimitableLikelihood, settings: LimitSettings) -> tuple[TestCurve, TestCurve]:
    if likelihood.outcome is not Outcome.OK:
        nothing = TestCurve(likelihood, settings.statistic)
        return nothing, nothing
    return TestCurve(likelihood, settings.statistic), TestCurve(build_asimov(likelihood, settings.asimov), settings.statistic)


def _width(likelihood: Likelihood) -> float:
    """Length scale of a curve: σ_μ; 1 where the curve is flat at its maximum, which says nothing about what follows."""
    sigma = likelihood.sigma_mu
    return sigma if 0.0 < sigma < math.inf else 1.0


def _observed_limit(data: TestCurve, asimov: TestCurve, settings: LimitSettings, confidence_level: float) -> LimitResult:
    if not (data.is_usable and asimov.is_usable):
        return LimitResult(math.nan, Outcome.FIT_FAILED, 0)
    sigma = _width(data.likelihood)
    target = expected_root(0.0, confidence_level)

    def excess(mu: float) -> tuple[float, float]:
        (q, dq), (q_asimov, dq_asimov) = data.at(mu), asimov.at(mu)
        if not (math.isfinite(q) and math.isfinite(q_asimov)):
            return math.nan, math.nan
        z, slope = straighten(log_cls(q, q_asimov, dq, dq_asimov, settings.statistic))
        return z - target, slope

    start = max(0.0, data.mu_hat)
    centre = data.mu_hat
    if centre == 0.0:  # where the maximum would be without the bound at 0
        centre = min(0.0, data.likelihood.log_ratio(0.0).slope * sigma * sigma)
    found = find_crossing(excess, start, max(gaussian_limit(centre, sigma, confidence_level), start + 0.1 * sigma), sigma)
    return LimitResult(found.position, found.outcome, found.num_evaluations)


def _expected_limits(asimov: TestCurve, settings: LimitSettings) -> ExpectedLimits:
    if not asimov.is_usable:
        return ExpectedLimits((math.nan,) * 5, Outcome.FIT_FAILED, 0)
    sigma = _width(asimov.likelihood)
    limits: list[float] = []
    outcome, num_evaluations = Outcome.OK, 0
    low = max(0.0, asimov.mu_hat)
    reached, per_sigma = 0.0, sigma  # √q_A at `low`, and how far one more unit of it is
    for num_sigmas in EXPECTED_SIGMAS:
        target = expected_root(num_sigmas, settings.confidence_level)

        def excess(mu: float, target: float = target) -> tuple[float, float]:
            q, dq = asimov.at(mu)
            if not math.isfinite(q):
                return math.nan, math.nan
            root = math.sqrt(max(0.0, q))
            return root - target, dq / (2.0 * root) if root > 0.0 else math.nan

        found = find_crossing(excess, low, low + (target - reached) * per_sigma, sigma)
        num_evaluations += found.num_evaluations
        limits.append(found.position)
        if found.outcome is not Outcome.OK:
            outcome = found.outcome
            break
        low, reached = found.position, target
        per_sigma = 1.0 / found.slope if found.slope > 0.0 else sigma
    limits += [math.nan if outcome is Outcome.FIT_FAILED else math.inf] * (len(EXPECTED_SIGMAS) - len(limits))
    return ExpectedLimits(tuple(limits), outcome, num_evaluations)
