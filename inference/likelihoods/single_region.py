"""Likelihood of one signal region: Poisson count with a Gaussian background uncertainty, profiled in closed form.

    L(μ, θ) = Pois(n | λ) · N(θ | 0, δ²),   λ = μ s + b + θ

The profiled θ solves a quadratic equation, so that one call evaluates any number of regions at once. Conventions:

- default: the background b + θ cannot be negative, θ >= -b.
- smodels: θ is confined to [-10 n, 10 n] as in SModelS 3.0.3, in particular θ = 0 where nothing was observed; λ <= 0
  becomes 1e-30. For comparisons only.

Both are concave in μ: the logarithm of the joint density is concave in (μ, θ) and the bounds do not depend on μ.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import ArrayLike

from inference.likelihoods.protocol import LogRatio
from inference.settings import Conventions
from inference.types import DataKind, FloatArray, Outcome

_HALF_LOG_TWO_PI = 0.5 * math.log(2.0 * math.pi)
_SMODELS_SMALLEST_MEAN = 1e-30
_SMODELS_THETA_RANGE = 10.0
_NUM_FACTORIALS = 4096
_LOG_FACTORIALS = np.array([math.lgamma(n + 1.0) for n in range(_NUM_FACTORIALS)])


@njit(cache=True)
def profile_region(
    mu: float, observed: float, background: float, error: float, signal: float, is_smodels: bool
) -> tuple[float, float, float]:
    """Profiled -ln L, its slope in μ and the fitted θ [events] of one region; see `profile_single_regions`."""
    n = observed
    variance = error * error
    without_theta = background + mu * signal
    lower, upper = -min(background, without_theta), math.inf  # with a negative signal the sum of both stays >= 0
    if is_smodels:
        lower, upper = -_SMODELS_THETA_RANGE * n, _SMODELS_THETA_RANGE * n
    theta = 0.0
    if variance > 0.0:
        shifted = without_theta - variance
        root = math.sqrt(shifted * shifted + 4.0 * variance * n)
        # λ = (c + √(c² + 4 δ² n))/2; for c < 0 the form without cancellation
        mean = 0.5 * (shifted + root) if shifted >= 0.0 else (2.0 * variance * n / (root - shifted) if n > 0.0 else 0.0)
        theta = mean - without_theta
        if n == 0.0:
            theta = -variance  # the stationary point of the penalty plus λ, possibly at λ < 0: the bound decides
        theta = min(max(theta, lower), upper)
    mean = without_theta + theta
    if is_smodels and mean <= 0.0:
        mean = _SMODELS_SMALLEST_MEAN
    mean = max(mean, 0.0)
    nll = mean + math.lgamma(n + 1.0)
    slope = signal
    if n > 0.0:
        if mean > 0.0:
            nll -= n * math.log(mean)
            slope = signal * (1.0 - n / mean)
        else:
            nll = math.inf
            slope = -math.inf if signal > 0.0 else 0.0
    if variance > 0.0:
        nll += _HALF_LOG_TWO_PI + math.log(error) + theta * theta / (2.0 * variance)
    return nll, slope, theta


@njit(cache=True, error_model="numpy")
def _fit_regions(
    mu: float,
    observed: FloatArray,
    background: FloatArray,
    error: FloatArray,
    signal: FloatArray,
    is_smodels: bool,
    mean: FloatArray,
    theta: FloatArray,
) -> None:
    """Write fitted λ and θ̂ of every region into the last two arrays; the same steps as `profile_region`."""
    for i in range(observed.shape[0]):
        n, variance = observed[i], error[i] * error[i]
        without_theta = background[i] + mu * signal[i]
        lower, upper = -min(background[i], without_theta), math.inf
        if is_smodels:
            lower, upper = -_SMODELS_THETA_RANGE * n, _SMODELS_THETA_RANGE * n
        fitted = 0.0
        if variance > 0.0:
            shifted = without_theta - variance
            root = math.sqrt(shifted * shifted + 4.0 * variance * n)
            best = 0.5 * (shifted + root) if shifted >= 0.0 else (2.0 * variance * n / (root - shifted) if n > 0.0 else 0.0)
            fitted = best - without_theta if n > 0.0 else -variance
            fitted = min(max(fitted, lower), upper)
        theta[i] = fitted
        mean[i] = max(without_theta + fitted, _SMODELS_SMALLEST_MEAN if is_smodels else 0.0)


@njit(cache=True, error_model="numpy")
def _add_terms(
    observed: FloatArray,
    error: FloatArray,
    signal: FloatArray,
    mean: FloatArray,
    log_mean: FloatArray,
    log_error: FloatArray,
    theta: FloatArray,
    nll: FloatArray,
    slope: FloatArray,
) -> None:
    """Write -ln L and its slope in μ of every region into the last two arrays."""
    for i in range(observed.shape[0]):
        n = observed[i]
        whole = int(n)
        is_tabulated = n < _NUM_FACTORIALS and whole == n
        value = mean[i] + (_LOG_FACTORIALS[whole] if is_tabulated else math.lgamma(n + 1.0))
        rise = signal[i]
        if n > 0.0:
            if mean[i] > 0.0:
                value -= n * log_mean[i]
                rise = signal[i] * (1.0 - n / mean[i])
            else:
                value = math.inf
                rise = -math.inf if signal[i] > 0.0 else 0.0
        if error[i] > 0.0:
            value += _HALF_LOG_TWO_PI + log_error[i] + theta[i] * theta[i] / (2.0 * error[i] * error[i])
        nll[i], slope[i] = value, rise


class RegionProfiles(NamedTuple):
    """Profiled likelihoods of several regions at one μ, arrays of shape (num_regions,).

    Attributes:
        nll: -ln L(μ) with all constants; inf where the data are impossible (n > 0 without any expectation).
        slope: d(-ln L)/dμ.
        theta: fitted shift of the background [events].
    """

    nll: FloatArray
    slope: FloatArray
    theta: FloatArray


def profile_arrays(
    mu: float, observed: FloatArray, background: FloatArray, error: FloatArray, signal: FloatArray, conventions: Conventions
) -> RegionProfiles:
    """As `profile_single_regions`, for contiguous float64 arrays: no checks, no copies; logarithms of whole arrays are the fastest."""
    mean, theta = np.empty_like(observed), np.empty_like(observed)
    _fit_regions(mu, observed, background, error, signal, conventions.has(Conventions.REGION_NUISANCES), mean, theta)
    with np.errstate(divide="ignore"):
        log_mean, log_error = np.log(mean), np.log(error)
    nll, slope = np.empty_like(observed), np.empty_like(observed)
    _add_terms(observed, error, signal, mean, log_mean, log_error, theta, nll, slope)
    return RegionProfiles(nll, slope, theta)


def profile_single_regions(
    mu: float,
    observed: ArrayLike,
    background: ArrayLike,
    background_error: ArrayLike,
    signal: ArrayLike,
    conventions: Conventions = Conventions.DEFAULT,
) -> RegionProfiles:
    """Profiled -ln L of many signal regions at one signal strength.

    Minimises λ - n ln λ + ln Γ(n+1) + θ²/2δ² + ln δ + ½ ln 2π over θ, λ = μ s + b + θ. A region with δ = 0 has no
    nuisance and no Gaussian constants.

    Args:
        mu: signal strength.
        observed: observed events n >= 0 (need not be integer), shape (num_regions,).
        background: expected background b >= 0 [events].
        background_error: its uncertainty δ >= 0 [events].
        signal: expected signal s >= 0 at μ = 1 [events].
        conventions: default or smodels, see the module.

    Examples:
        CMS-SUS-21-002, region b_veto_SR0, with 6.3 expected signal events:

        >>> r = profile_single_regions(1.0, [82.0], [88.139], [9.2357], [6.2989146536])
        >>> round(float(r.nll[0]), 6), round(float(r.theta[0]), 4)
        (6.716448, -6.1105)
    """
    n, b, error, s = (np.ascontiguousarray(np.atleast_1d(x), dtype=np.float64) for x in (observed, background, background_error, signal))
    return profile_arrays(mu, n, b, error, s, conventions)


def best_fit_strength(observed: float, background: float, signal: float) -> float:
    """μ̂ >= 0 of a single region: the excess over the signal, max(0, n - b)/s; 0 without signal.

    Examples:
        >>> best_fit_strength(observed=8.0, background=3.8, signal=2.1)
        2.0
    """
    return max(0.0, observed - background) / signal if signal > 0.0 else 0.0


@dataclass(frozen=True, slots=True)
class SingleRegionLikelihood:
    """Likelihood of one signal region.

    Attributes:
        observed: observed events.
        background: expected background [events].
        background_error: its uncertainty [events].
        signal: expected signal at μ = 1 [events].
        data_kind: which data enter, see `data`.
        conventions: default or smodels.
    """

    observed: float
    background: float
    background_error: float
    signal: float
    data_kind: DataKind = DataKind.OBSERVED
    conventions: Conventions = Conventions.DEFAULT

    @property
    def data(self) -> float:
        """Event count that enters the likelihood: observed, b (a priori), or b + θ̂(0) (a posteriori)."""
        if self.data_kind is DataKind.OBSERVED:
            return self.observed
        return self.background if self.data_kind is DataKind.APRIORI else self.asimov_count(self.observed)

    def asimov_count(self, observed: float) -> float:
        """Expected events of the background-only fit to an event count."""
        *_, theta = profile_region(0.0, observed, self.background, self.background_error, 0.0, self._is_smodels)
        return max(0.0, self.background + float(theta))

    def asimov(self) -> SingleRegionLikelihood:
        """The same signal with the background-only fit to this likelihood's data as data, nuisance centred at 0."""
        return replace(self, observed=self.asimov_count(self.data), data_kind=DataKind.OBSERVED)

    def asimov_with(self, is_moved: bool) -> SingleRegionLikelihood:
        """The same, with the nuisance centred where the fit puts it (moved), or at 0."""
        fitted = self.asimov()
        return replace(fitted, background=fitted.observed) if is_moved else fitted

    @property
    def mu_min(self) -> float:
        """Smallest signal strength without a negative expectation: -b/s."""
        return -self.background / self.signal if self.signal > 0.0 else 0.0

    @property
    def is_concave(self) -> bool:
        """Always: see the module."""
        return True

    @property
    def outcome(self) -> Outcome:
        """NON_FINITE where the background-only hypothesis cannot produce the data, else OK."""
        return Outcome.OK if math.isfinite(self.nll(0.0)) and math.isfinite(self.signal) else Outcome.NON_FINITE

    @property
    def mu_hat(self) -> float:
        """max(0, n - b)/s."""
        return best_fit_strength(self.data, max(0.0, self.background), self.signal)

    @property
    def sigma_mu(self) -> float:
        """1/√(d²(-ln L)/dμ²) at μ̂.

        Default: the profiled curvature s² n/(λ² + n δ²); where nothing was observed the curve is straight and the
        expected error √(max(b, 1) + δ²)/s stands in. smodels: s² n/λ² (nuisance kept fixed), n := b where n = 0.
        """
        if self.signal <= 0.0:
            return math.inf
        n, mu_hat = self.data, self.mu_hat
        *_, theta = profile_region(mu_hat, n, self.background, self.background_error, self.signal, self._is_smodels)
        mean = mu_hat * self.signal + self.background + theta
        if self._is_smodels:
            weight = n if n > 0.0 else max(self.background, 1e-10)
            return math.sqrt(max(mean, 1e-10) ** 2 / weight) / self.signal
        if n == 0.0:
            return math.sqrt(max(self.background, 1.0) + self.background_error**2) / self.signal
        return math.sqrt(mean * mean / n + self.background_error**2) / self.signal

    def nll(self, mu: float) -> float:
        """-ln L(μ), profiled, with all constants."""
        return self._profile(mu)[0]

    def log_ratio(self, mu: float) -> LogRatio:
        """ln L(μ)/L(0) and its slope."""
        nll, slope, _ = self._profile(mu)
        return LogRatio(self.nll(0.0) - nll, -slope)

    @property
    def _is_smodels(self) -> bool:
        return self.conventions.has(Conventions.REGION_NUISANCES)

    def _profile(self, mu: float) -> tuple[float, float, float]:
        nll, slope, theta = profile_region(float(mu), self.data, self.background, self.background_error, self.signal, self._is_smodels)
        return float(nll), float(slope), float(theta)
