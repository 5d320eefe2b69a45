"""Limits, CLs and the verdict of one likelihood, with the name and reason of what went wrong."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import NamedTuple

from inference.limits import LimitableLikelihood, compute_cls, find_expected_limits, find_upper_limit
from inference.multibin.deadline import FitClock
from inference.multibin.settings import ExpectedData, MultibinSettings, Quantity
from inference.types import Outcome

_NOT_YET = (math.nan,) * 5


class LimitOutcome(StrEnum):
    """What became of an analysis."""

    OK = "ok"
    NO_SIGNAL = "no_signal"
    """No signal is expected in its regions."""
    NO_MODEL = "no_model"
    """The model that was asked for does not exist, or cannot be evaluated."""
    OUTSIDE_DOMAIN = "outside_domain"
    """The signal is outside of what a learned model was trained for."""
    NOTHING_EXCLUDED = "nothing_excluded"
    """No signal strength is excluded."""
    FIT_FAILED = "fit_failed"
    TIMED_OUT = "timed_out"


class Verdict(StrEnum):
    """What the data say of the signal at μ = 1."""

    ALLOWED = "allowed"
    EXCLUDED = "excluded"
    UNDECIDED = "undecided"


class LimitValues(NamedTuple):
    """Limits of one likelihood; nan where not asked for or not found.

    Attributes:
        mu_ul_obs: observed upper limit on μ.
        mu_ul_exp: expected ones for backgrounds that fluctuate by -2, -1, 0, 1, 2 standard deviations.
        cls_obs: observed CLs at μ = 1.
        cls_exp: expected ones.
        mu_hat: best μ >= 0.
        sigma_mu: its uncertainty.
        outcome: OK, NOTHING_EXCLUDED, FIT_FAILED or TIMED_OUT.
        reason: in words; "" if all is well.
    """

    mu_ul_obs: float = math.nan
    mu_ul_exp: tuple[float, ...] = _NOT_YET
    cls_obs: float = math.nan
    cls_exp: tuple[float, ...] = _NOT_YET
    mu_hat: float = math.nan
    sigma_mu: float = math.nan
    outcome: LimitOutcome = LimitOutcome.FIT_FAILED
    reason: str = ""

    def verdict(self, confidence_level: float) -> Verdict:
        """Excluded if μ_UL < 1; without a limit, if CLs < 1 - confidence level; undecided without both."""
        if not math.isnan(self.mu_ul_obs):
            return Verdict.EXCLUDED if self.mu_ul_obs < 1.0 else Verdict.ALLOWED
        if not math.isnan(self.cls_obs):
            return Verdict.EXCLUDED if self.cls_obs < 1.0 - confidence_level else Verdict.ALLOWED
        return Verdict.UNDECIDED


def compute_limits(
    likelihood: LimitableLikelihood, apriori: LimitableLikelihood, settings: MultibinSettings, clock: FitClock
) -> LimitValues:
    """The quantities that were asked for.

    Args:
        likelihood: of the data.
        apriori: of the data expected before looking.
        settings: which quantities, test statistic and conventions.
        clock: knows whether a fit took too long.
    """
    wanted, limits = set(settings.quantities), settings.limit_settings
    if likelihood.outcome is not Outcome.OK:
        return _failed(LimitValues(), likelihood.outcome, clock)
    for_expected = apriori if settings.expected_data is ExpectedData.APRIORI else likelihood
    values = LimitValues(mu_hat=likelihood.mu_hat, sigma_mu=likelihood.sigma_mu, outcome=LimitOutcome.OK)
    outcomes = []
    if Quantity.UPLIM in wanted:
        found = find_upper_limit(likelihood, settings=limits)
        values = values._replace(mu_ul_obs=found.mu_ul)
        outcomes.append(found.outcome)
        if Quantity.EXPECTED in wanted:
            expected = find_expected_limits(for_expected, limits)
            values = values._replace(mu_ul_exp=expected.values)
            outcomes.append(expected.outcome)
    if Quantity.CLS in wanted:
        cls = compute_cls(likelihood, 1.0, limits)
        values = values._replace(cls_obs=cls.observed)
        outcomes.append(cls.outcome)
        if Quantity.EXPECTED in wanted:
            cls = cls if for_expected is likelihood else compute_cls(for_expected, 1.0, limits)
            values = values._replace(cls_exp=cls.expected)
    worst = next((outcome for outcome in outcomes if outcome is not Outcome.OK), Outcome.OK)
    return values if worst is Outcome.OK and not clock.is_over else _failed(values, worst, clock)


def _failed(values: LimitValues, outcome: Outcome, clock: FitClock) -> LimitValues:
    if clock.is_over:
        return values._replace(outcome=LimitOutcome.TIMED_OUT, reason=f"a fit took longer than {clock.seconds:g} s")
    if outcome is Outcome.OUTSIDE_DOMAIN:
        return values._replace(
            outcome=LimitOutcome.OUTSIDE_DOMAIN, reason="the signal is outside of what the learned model was trained for"
        )
    if outcome is Outcome.NON_FINITE and math.isinf(values.mu_ul_obs):
        return values._replace(outcome=LimitOutcome.NOTHING_EXCLUDED, reason="no signal strength is excluded")
    reason = "the data are impossible without signal" if outcome is Outcome.NON_FINITE else "a fit did not converge"
    return values._replace(outcome=LimitOutcome.FIT_FAILED, reason=reason)
