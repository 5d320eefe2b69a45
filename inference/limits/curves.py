"""The test statistic of one likelihood as a curve in μ."""

from __future__ import annotations

import math

from inference.likelihoods.protocol import Likelihood
from inference.limits.conventions import lowest_strength
from inference.limits.crossing import find_crossing
from inference.limits.statistics import TestStatistic
from inference.types import Outcome


class TestCurve:
    """q(μ) of one likelihood with its slope.

    Args:
        likelihood: observed, Asimov or pseudo-data.
        statistic: q_tilde or q.

    Attributes:
        mu_hat: where q vanishes; nan if no maximum was found.
        best: ln L(μ̂)/L(0).
    """

    __test__ = False  # no test case

    def __init__(self, likelihood: Likelihood, statistic: TestStatistic) -> None:
        self.likelihood = likelihood
        self.mu_hat = likelihood.mu_hat if likelihood.outcome is Outcome.OK else math.nan
        if statistic is TestStatistic.Q and self.mu_hat == 0.0:
            self.mu_hat = _find_negative_maximum(likelihood)
        self.best = math.nan if math.isnan(self.mu_hat) else likelihood.log_ratio(self.mu_hat).value

    @property
    def is_usable(self) -> bool:
        """Whether there is a maximum to compare with."""
        return math.isfinite(self.best)

    def at(self, mu: float) -> tuple[float, float]:
        """q and dq/dμ; nan if the fit failed."""
        if mu <= self.mu_hat:
            return 0.0, 0.0
        value, slope = self.likelihood.log_ratio(mu)
        if value > self.best:  # a better minimum than the free fit found: then that is the free fit
            self.best, self.mu_hat = value, mu
        return 2.0 * (self.best - value), -2.0 * slope


def _find_negative_maximum(likelihood: Likelihood) -> float:
    """μ̂ of a likelihood that falls from μ = 0 on, within the strengths that it is defined for."""
    lowest = lowest_strength(likelihood)
    if lowest >= 0.0:
        return 0.0

    def falling(distance: float) -> tuple[float, float]:
        value, slope = likelihood.log_ratio(-distance)
        return (slope if math.isfinite(value) else math.nan), math.nan

    if likelihood.log_ratio(0.0).slope >= 0.0:
        return 0.0
    sigma = likelihood.sigma_mu
    width = sigma if math.isfinite(sigma) else 1.0
    low, high = 0.0, -lowest
    at_end = likelihood.log_ratio(-high)
    if math.isfinite(at_end.value) and at_end.slope <= 0.0:
        return -high
    found = find_crossing(lambda x: falling(x) if x < high else (math.inf, math.nan), low, min(0.5 * width, 0.5 * high), 0.1 * width)
    return -found.position if found.outcome is Outcome.OK else math.nan
