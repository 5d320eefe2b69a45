"""Upper limits on the signal strength from profile likelihoods (CLs, asymptotic formulae).

With q_μ = 2 ln L(μ̂)/L(μ) (0 for μ < μ̂, μ̂ >= 0) and q_A the same for the Asimov data of the background-only fit
(Cowan, Cranmer, Gross, Vitells, arXiv:1007.1727):

    q <= q_A:  CL_{s+b} = 1 - Φ(√q),                  CL_b = Φ(√q_A - √q)
    else:      CL_{s+b} = 1 - Φ((q + q_A)/2√q_A),     CL_b = 1 - Φ((q - q_A)/2√q_A)

CLs = CL_{s+b}/CL_b; the limit at 95 % CL is the μ with CLs = 0.05. Convention: the Asimov data are the counts of the
background-only fit and the nuisances stay centred where the analysis puts them (as SModelS and spey do; HistFactory moves
the constraints to the fitted values, which changes limits by a few per cent).
"""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

from inference.likelihoods.protocol import Likelihood
from inference.types import Outcome

CONFIDENCE_LEVEL = 0.95

_SQRT2 = math.sqrt(2.0)
_MAX_EVALUATIONS = 100
_RELATIVE_PRECISION = 1e-7


class LimitableLikelihood(Likelihood, Protocol):
    """A likelihood that can provide its Asimov data."""

    def asimov(self) -> Likelihood:
        """The same signal with the expected data of the background-only fit."""


class LimitResult(NamedTuple):
    """Upper limit on the signal strength.

    Attributes:
        mu_ul: 95 % CL limit; nan without one, inf if no signal strength is excluded.
        outcome: OK, FIT_FAILED, or NON_FINITE for a flat likelihood.
        num_evaluations: signal strengths at which CLs was computed.
    """

    mu_ul: float
    outcome: Outcome
    num_evaluations: int


def _upper_tail(x: float) -> float:
    return 0.5 * math.erfc(x / _SQRT2)


def cls_value(q: float, q_asimov: float) -> float:
    """CLs from the test statistics of the data and of the Asimov data.

    Args:
        q: test statistic of the data, >= 0.
        q_asimov: test statistic of the Asimov data, >= 0.

    Returns:
        CLs in [0, 1]; 1 where the Asimov data do not tell the hypotheses apart.

    Examples:
        Data as expected (q = q_A) reach CLs = 0.05 at √q = 1.96:

        >>> round(cls_value(1.959964**2, 1.959964**2), 6)
        0.05
    """
    root, root_asimov = math.sqrt(max(0.0, q)), math.sqrt(max(0.0, q_asimov))
    if root <= root_asimov:
        return _upper_tail(root) / _upper_tail(root - root_asimov)
    if root_asimov == 0.0:
        return 1.0
    with_signal = _upper_tail((q + q_asimov) / (2.0 * root_asimov))
    without = _upper_tail((q - q_asimov) / (2.0 * root_asimov))
    return with_signal / without if without > 0.0 else 0.0


def find_upper_limit(likelihood: LimitableLikelihood, confidence_level: float = CONFIDENCE_LEVEL) -> LimitResult:
    """Upper limit on μ by CLs.

    The bracket starts at μ̂ + 1.7 σ_μ and doubles; inside, the root of ln CLs - ln(1 - CL) is found with the Illinois
    variant of regula falsi, to a relative precision of 1e-7.

    Examples:
        100 expected, 100 seen: a little more than 1.96 √100 = 19.6 events, since the signal adds to the variance.

        >>> from inference.likelihoods.single_region import SingleRegionLikelihood
        >>> region = SingleRegionLikelihood(observed=100.0, background=100.0, background_error=0.0, signal=10.0)
        >>> round(find_upper_limit(region).mu_ul, 2)
        2.09
    """
    asimov = likelihood.asimov()
    if likelihood.outcome is not Outcome.OK or asimov.outcome is not Outcome.OK:
        return LimitResult(math.nan, Outcome.FIT_FAILED, 0)
    mu_hat, mu_hat_asimov = likelihood.mu_hat, asimov.mu_hat
    best, best_asimov = likelihood.log_ratio(mu_hat).value, asimov.log_ratio(mu_hat_asimov).value
    target = math.log(1.0 - confidence_level)
    num_evaluations = 0

    def excess(mu: float) -> float:
        """ln CLs - ln 0.05; decreasing, nan if a fit failed."""
        nonlocal num_evaluations
        num_evaluations += 1
        q = 2.0 * (best - likelihood.log_ratio(mu).value) if mu > mu_hat else 0.0
        q_asimov = 2.0 * (best_asimov - asimov.log_ratio(mu).value) if mu > mu_hat_asimov else 0.0
        if math.isnan(q) or math.isnan(q_asimov):
            return math.nan
        value = cls_value(q, q_asimov)
        return math.log(value) - target if value > 0.0 else -1e3

    sigma = likelihood.sigma_mu
    if not math.isfinite(sigma):
        return LimitResult(math.inf, Outcome.NON_FINITE, 0)
    low, high = mu_hat, mu_hat + 1.7 * sigma
    at_low, at_high = -target, excess(high)
    while at_high > 0.0 and num_evaluations < _MAX_EVALUATIONS:
        low, at_low = high, at_high
        high = mu_hat + 2.0 * (high - mu_hat)
        at_high = excess(high)
    side = 0
    while high - low > _RELATIVE_PRECISION * high and num_evaluations < _MAX_EVALUATIONS:
        if math.isnan(at_low) or math.isnan(at_high):
            return LimitResult(math.nan, Outcome.FIT_FAILED, num_evaluations)
        mu = (low * at_high - high * at_low) / (at_high - at_low)
        if not low < mu < high:
            mu = 0.5 * (low + high)
        value = excess(mu)
        if abs(value) < 1e-9:
            return LimitResult(mu, Outcome.OK, num_evaluations)
        if value > 0.0:
            low, at_low = mu, value
            at_high = 0.5 * at_high if side > 0 else at_high
            side = 1
        else:
            high, at_high = mu, value
            at_low = 0.5 * at_low if side < 0 else at_low
            side = -1
    if num_evaluations >= _MAX_EVALUATIONS or math.isnan(at_low) or math.isnan(at_high):
        return LimitResult(math.nan, Outcome.FIT_FAILED, num_evaluations)
    return LimitResult(0.5 * (low + high), Outcome.OK, num_evaluations)
