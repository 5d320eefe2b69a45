"""Which of several likelihoods of one signal is the most sensitive: the one with the smallest limit on μ expected before looking.

Limits are not computed. Each likelihood has a bracket of its limit; a signal strength is put between the two smallest estimates and CLs is
compared with 0.05 there, until the upper end of one bracket lies below the lower ends of all others. What helps to need few fits:

- counts alone, without any systematic uncertainty, exclude earlier than the likelihood does: Σ 2 [μ s - b ln(1 + μ s/b)] = 1.96² is a
  lower end without a fit, where the nominal background is its own background-only fit;
- there, q_A = q and μ̂ = 0, so that one fit is one evaluation;
- z with CLs = 2 [1 - Φ(z)] is nearly a straight line in μ and its slope is known: one evaluation gives a good estimate of the limit.

Likelihoods that agree where they were compared count as equal; the first one then speaks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from inference.analysis_models.protocol import AnalysisLikelihood
from inference.likelihoods.covariance import CovarianceLikelihood
from inference.likelihoods.histfactory import HistFactoryLikelihood
from inference.likelihoods.learned import LearnedLikelihood
from inference.likelihoods.protocol import Likelihood
from inference.limits.statistics import expected_root, log_cls, straighten
from inference.types import FloatArray, Outcome

EXCLUDED_Z = expected_root(0.0)
"""z at CLs = 0.05."""
_EQUAL_LIMITS = 1e-6
_EQUAL_Z, _EQUAL_SLOPES, _NEAR = 1e-7, 1e-4, 0.1
_CLOSE = 0.01
"""Estimates that are closer than this are compared at the same strength."""
_SYSTEMATICS = 1.2
"""First guess of the expected limit over that of counts alone."""
_MAX_EVALUATIONS = 200
_OWN_ASIMOV = 1e-7


class ExpectedCurve:
    """z(μ) of one likelihood with a priori data, and the bracket of its limit.

    Args:
        likelihood: of the signal, with a priori data.

    Attributes:
        low, high: the limit is between them.
        estimate: where it probably is; nan if the likelihood has no numbers, inf if it is flat.
        last: last strength, z and slope that were computed.
    """

    def __init__(self, likelihood: AnalysisLikelihood) -> None:
        self._data: Likelihood = likelihood
        self._asimov: Likelihood | None = None
        self._best, self._best_asimov, self._mu_hat, self._mu_hat_asimov = 0.0, 0.0, 0.0, 0.0
        self.low, self.high, self.estimate = 0.0, math.inf, math.nan
        self.last: tuple[float, float, float] = (math.nan, math.nan, math.nan)
        if likelihood.outcome is not Outcome.OK:
            return
        is_own_asimov = _is_own_asimov(likelihood)
        if not is_own_asimov:
            self._asimov = likelihood.asimov()
            if self._asimov.outcome is not Outcome.OK:
                return
            self._mu_hat, self._mu_hat_asimov = likelihood.mu_hat, self._asimov.mu_hat
            self._best = likelihood.log_ratio(self._mu_hat).value
            self._best_asimov = self._asimov.log_ratio(self._mu_hat_asimov).value
        counts = _counts_of(likelihood)
        if counts is None:
            self.estimate = EXCLUDED_Z * likelihood.sigma_mu
            return
        limit = limit_of_counts(*counts)
        self.estimate = _SYSTEMATICS * limit
        if is_own_asimov and math.isfinite(limit):
            self.low = (1.0 - 1e-3) * limit

    def evaluate(self, mu: float) -> None:
        """Computes z at a strength and narrows the bracket; the estimate is nan if a fit fails."""
        value, slope = self._data.log_ratio(mu)
        q, dq = (2.0 * (self._best - value), -2.0 * slope) if mu > self._mu_hat else (0.0, 0.0)
        q_asimov, dq_asimov = q, dq
        if self._asimov is not None:
            value, slope = self._asimov.log_ratio(mu)
            q_asimov, dq_asimov = (2.0 * (self._best_asimov - value), -2.0 * slope) if mu > self._mu_hat_asimov else (0.0, 0.0)
        if not (math.isfinite(q) and math.isfinite(q_asimov)):
            self.estimate = math.nan
            return
        if self._asimov is None:
            z = math.sqrt(max(q, 0.0))
            z_slope = 0.5 * dq / z if z > 0.0 else math.nan
        else:
            z, z_slope = straighten(log_cls(q, q_asimov, dq, dq_asimov))
        self.last = mu, z, z_slope
        if z >= EXCLUDED_Z:
            self.high = min(self.high, mu)
        else:
            self.low = max(self.low, mu)
        guess = mu + (EXCLUDED_Z - z) / z_slope if z_slope > 0.0 else (mu * EXCLUDED_Z / z if z > 0.0 else 4.0 * mu)
        if not self.low < guess < self.high:
            guess = math.sqrt(self.low * self.high) if self.low > 0.0 and self.high < math.inf else min(2.0 * mu, 0.5 * self.high)
        self.estimate = guess

    @property
    def is_settled(self) -> bool:
        """Whether the bracket is as narrow as limits that count as equal."""
        return self.high - self.low <= _EQUAL_LIMITS * self.low


def find_most_sensitive(likelihoods: Sequence[AnalysisLikelihood]) -> int:
    """Position of the likelihood with the smallest expected limit; the first of those that are equal, 0 if none has numbers.

    Args:
        likelihoods: of the same signal, with a priori data, in the order of preference.
    """
    if len(likelihoods) < 2:
        return 0
    alive = {k: curve for k, likelihood in enumerate(likelihoods) if math.isfinite((curve := ExpectedCurve(likelihood)).estimate)}
    for _ in range(_MAX_EVALUATIONS):
        if len(alive) < 2:
            break
        first, second = sorted(alive, key=lambda k: (alive[k].estimate, k))[:2]
        best, rival = alive[first], alive[second]
        if all(best.high <= curve.low for k, curve in alive.items() if k != first):
            return first
        if _are_equal(best, rival):
            del alive[max(first, second)]
            continue
        mu = math.sqrt(best.estimate * rival.estimate)
        if rival.estimate <= best.estimate * (1.0 + _CLOSE):
            best.evaluate(mu)
            rival.evaluate(mu)
        elif best.high > mu:
            best.evaluate(max(mu, best.low * (1.0 + 0.5 * _EQUAL_LIMITS)))
        else:
            nearest = next(k for k in sorted(alive, key=lambda k: (alive[k].estimate, k)) if k != first and alive[k].low < best.high)
            alive[nearest].evaluate(min(max(mu, best.high), alive[nearest].high))
        alive = {k: curve for k, curve in alive.items() if not math.isnan(curve.estimate)}
    return min(alive, key=lambda k: (alive[k].estimate, k), default=0)


def _are_equal(a: ExpectedCurve, b: ExpectedCurve) -> bool:
    """Whether two limits are the same: narrow brackets that overlap, or the same z and slope at the same strength close to the limit."""
    if a.is_settled and b.is_settled:
        return max(a.low, b.low) <= min(a.high, b.high) * (1.0 + _EQUAL_LIMITS)
    (mu_a, z_a, slope_a), (mu_b, z_b, slope_b) = a.last, b.last
    if mu_a != mu_b or not abs(z_a / EXCLUDED_Z - 1.0) < _NEAR:
        return False
    return abs(z_a - z_b) <= _EQUAL_Z * z_a and abs(slope_a - slope_b) <= _EQUAL_SLOPES * abs(slope_a)


def _is_own_asimov(likelihood: AnalysisLikelihood) -> bool:
    """Whether the a priori data are the Asimov data of their own background-only fit."""
    if isinstance(likelihood, CovarianceLikelihood):
        return likelihood.is_concave  # first order: no shift of the background describes them better than none
    if isinstance(likelihood, HistFactoryLikelihood):
        data, asimov = likelihood.data, likelihood.asimov().data
        return _are_close(data.counts, asimov.counts) and _are_close(data.auxdata, asimov.auxdata)
    return False


def _are_close(a: FloatArray, b: FloatArray) -> bool:
    return bool((np.abs(a - b) <= _OWN_ASIMOV * (1.0 + np.abs(a))).all())


def _counts_of(likelihood: AnalysisLikelihood) -> tuple[FloatArray, FloatArray] | None:
    """Signal and nominal background [events] per region of a likelihood, None if it has no such numbers."""
    if isinstance(likelihood, CovarianceLikelihood):
        return likelihood.signal, likelihood.model.background
    if isinstance(likelihood, HistFactoryLikelihood):
        return likelihood.signal, likelihood.model.nominal_background
    if isinstance(likelihood, LearnedLikelihood):
        return likelihood.signal, likelihood.model.layout.background
    return None


def limit_of_counts(signal: FloatArray, background: FloatArray) -> float:
    """Expected limit on μ of Poisson counts alone, to 1e-4; inf without signal.

    Args:
        signal: expected signal at μ = 1 per region [events].
        background: expected background per region [events].

    Examples:
        With much background the limit is 1.96 √b/s; without any, 1.92 events.

        >>> import numpy as np
        >>> round(limit_of_counts(np.array([100.0]), np.array([1e6])), 1), round(limit_of_counts(np.array([1.0]), np.array([0.0])), 3)
        (19.6, 1.921)
    """
    is_filled = signal > 0.0
    s, b = signal[is_filled], background[is_filled]
    if not s.size:
        return math.inf
    target = EXCLUDED_Z
    safe = np.where(b > 0.0, b, 1.0)
    mu = target / math.sqrt(float((s * s / (b + 1.0)).sum()))
    for _ in range(40):
        x = mu * s
        q = 2.0 * float((x - b * np.log1p(x / safe)).sum())
        slope = 2.0 * float((s * x / (x + b)).sum())
        root = math.sqrt(q)
        step = (target - root) * 2.0 * root / slope
        mu = max(mu + step, 0.1 * mu)
        if abs(step) < 1e-4 * mu:
            break
    return mu
