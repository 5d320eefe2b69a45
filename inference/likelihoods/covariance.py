"""Simplified likelihood of an analysis: Poisson counts with correlated background shifts.

First order (SLv1; CMS NOTE-2017/001): λ_i = μ s_i + b_i + θ_i, θ ~ N(0, V) with the published covariance V. Second order
(SLv2, with third moments m3; Buckley, Citron, Fichet, Kraml, Waltenberger, Wardle, arXiv:1809.05548):
λ_i = μ s_i + A_i + θ_i + C_i θ_i²/B_i², θ_i = B_i times a unit normal, correlations ρ:

    C = k cos(4π/3 + arctan(√(8 m2³/m3² - 1))/3), k = -sign(m3) √(2 m2),   B = √(m2 - 2C²),   A = b - C,
    ρ_ij = 2 V_ij / [√((B_i B_j)² + 8 C_i C_j V_ij) + B_i B_j]      (stable form of eq. 2.12)

    -ln L = ½ θᵀV⁻¹θ + ½ ln det 2πV + Σ [λ - n ln λ + ln Γ(n+1)]

is minimised over θ within bounds by Newton's method in units of standard deviations, so that only the correlation
matrix is ever inverted: each step minimises the exact quadratic model within the bounds, then backtracks if needed.
Every fit starts at the background-only fit of the analysis, which does not depend on the signal and is made once.
Bounds: by default no background may become negative (SLv1: θ >= -b); `smodels`: |θ| <= 10 n as in SModelS
3.0.3. Without convergence the outcome is FIT_FAILED, and the numbers are nan.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import ArrayLike

from inference.likelihoods.protocol import LogRatio
from inference.settings import Conventions
from inference.types import DataKind, FloatArray, IntArray, Outcome

MIN_EIGENVALUE = 1e-9
"""Eigenvalues of the correlation matrix below this are lifted to it (reported by `CovarianceModel.is_floored`)."""

_MAX_ITERATIONS = 100
_SMALLEST_GAIN = 1e-9
"""The step that promises to lower -ln L by less than this is the last: what remains is of the order of its square."""
_SMODELS_THETA_RANGE = 10.0
_MU_ITERATIONS = 60


@njit(cache=True)
def _factorise(a: FloatArray, size: int) -> bool:
    """Cholesky factor into the lower triangle of a[:size, :size]; False if not positive definite."""
    column = np.empty(size)
    for j in range(size):
        pivot = a[j, j]
        if not pivot > 0.0:
            return False
        pivot = math.sqrt(pivot)
        a[j, j] = pivot
        inverse = 1.0 / pivot
        for i in range(j + 1, size):
            a[i, j] *= inverse
            column[i] = a[i, j]
        for i in range(j + 1, size):
            factor = column[i]
            row = a[i]
            for k in range(j + 1, i + 1):
                row[k] -= factor * column[k]
    return True


@njit(cache=True)
def _solve(a: FloatArray, size: int, rhs: FloatArray) -> None:
    """Solve with the factor of `_factorise`, in place."""
    for i in range(size):
        total = rhs[i]
        row = a[i]
        for k in range(i):
            total -= row[k] * rhs[k]
        rhs[i] = total / row[i]
    for i in range(size - 1, -1, -1):
        value = rhs[i] / a[i, i]
        rhs[i] = value
        row = a[i]
        for k in range(i):
            rhs[k] -= value * row[k]


@njit(cache=True)
def _multiply(matrix: FloatArray, x: FloatArray, out: FloatArray) -> None:
    """out = matrix @ x for a symmetric matrix."""
    size = x.shape[0]
    out[:] = 0.0
    for j in range(size):
        factor = x[j]
        if factor != 0.0:
            row = matrix[j]
            for i in range(size):
                out[i] += factor * row[i]


@njit(cache=True)
def _objective(
    x: FloatArray, precise: FloatArray, centre: FloatArray, sd: FloatArray, bend: FloatArray, observed: FloatArray, mean: FloatArray
) -> float:
    """½ xᵀPx + Σ(λ - n ln λ); writes λ; inf where λ <= 0 < n."""
    total = 0.0
    for i in range(x.shape[0]):
        m = centre[i] + (sd[i] + bend[i] * x[i]) * x[i]
        mean[i] = m
        total += 0.5 * x[i] * precise[i]
        if observed[i] > 0.0:
            if not m > 0.0:
                return math.inf
            total += m - observed[i] * math.log(m)
        elif m > 0.0:
            total += m
    return total


@njit(cache=True)
def _solve_box_quadratic(
    gradient: FloatArray,
    precision: FloatArray,
    weight: FloatArray,
    low: FloatArray,
    high: FloatArray,
    held: IntArray,
    free: IntArray,
    hessian: FloatArray,
    step: FloatArray,
    image: FloatArray,
) -> int:
    """Minimise g·d + ½ dᵀHd, H = precision + diag(weight), over low <= d <= high.

    Exchanges violated bounds and wrong multipliers all at once, and one at a time (the first index) if that does not
    settle, which ends for positive definite H (Murty, Linear Algebra Appl. 7 (1974) 65).

    Args:
        held: in and out, -1 at the lower, 1 at the upper bound, 0 free.
        free: output, the free indices.
        hessian: output, Cholesky factor of the free block.
        step: output, d.
        image: output, precision @ d.

    Returns:
        Number of free variables, or -1 if H is not positive definite or the exchanges do not end.
    """
    size = gradient.shape[0]
    rhs = np.empty(size)
    for exchange in range(30 + 4 * size):
        num_free = 0
        for i in range(size):
            step[i] = 0.0
            if held[i] == 0:
                free[num_free] = i
                num_free += 1
            else:
                step[i] = low[i] if held[i] < 0 else high[i]
        if num_free < size:
            _multiply(precision, step, image)
        else:
            image[:] = 0.0
        for a in range(num_free):
            i = free[a]
            row = precision[i]
            for b in range(a + 1):
                hessian[a, b] = row[free[b]]
            hessian[a, a] += weight[i]
            rhs[a] = -gradient[i] - image[i]
        if not _factorise(hessian, num_free):
            return -1
        _solve(hessian, num_free, rhs)
        for a in range(num_free):
            step[free[a]] = rhs[a]
        _multiply(precision, step, image)
        has_changed = False
        for i in range(size):
            if held[i] == 0:
                change = -1 if step[i] < low[i] else (1 if step[i] > high[i] else 0)
                if change == 0:
                    continue
                held[i] = change
            else:
                multiplier = gradient[i] + image[i] + weight[i] * step[i]
                if held[i] * multiplier <= 1e-12 * (1.0 + abs(gradient[i])):
                    continue
                held[i] = 0
            has_changed = True
            if exchange >= 20:
                break
        if not has_changed:
            return num_free
    return -1


@njit(cache=True)
def fit_nuisances(
    mu: float,
    observed: FloatArray,
    background: FloatArray,
    signal: FloatArray,
    precision: FloatArray,
    sd: FloatArray,
    bend: FloatArray,
    lower: FloatArray,
    upper: FloatArray,
    start: FloatArray,
    x: FloatArray,
) -> tuple[bool, float, float, float, int]:
    """Profile the nuisances at fixed μ.

    Args:
        mu: signal strength.
        observed: n, shape (num_bins,).
        background: b (SLv1) or A (SLv2) [events].
        signal: s [events].
        precision: inverse of the correlation matrix of θ.
        sd: standard deviations of θ [events].
        bend: coefficient of x², x = θ/sd [events]; zero for SLv1.
        lower, upper: bounds of x.
        start: where x starts.
        x: output, the fitted θ/sd.

    Returns:
        Whether the fit converged; the minimum without constants; its first and second derivative in μ; iterations.
    """
    size = observed.shape[0]
    centre = background + mu * signal
    hessian = np.empty((size, size))
    precise, trial, trial_precise = np.empty(size), np.empty(size), np.empty(size)
    mean, trial_mean = np.empty(size), np.empty(size)
    gradient, step, image, weight = np.empty(size), np.empty(size), np.empty(size), np.empty(size)
    low, high = np.empty(size), np.empty(size)
    free, held = np.empty(size, dtype=np.int32), np.zeros(size, dtype=np.int32)
    for i in range(size):
        x[i] = min(max(start[i], lower[i]), upper[i])
        if observed[i] > 0.0 and not centre[i] + (sd[i] + bend[i] * x[i]) * x[i] > 0.0:
            # no expectation where something was observed: start where λ would be n without the constraint
            x[i] = min(max((observed[i] - centre[i]) / sd[i], lower[i]), upper[i])
    _multiply(precision, x, precise)
    value = _objective(x, precise, centre, sd, bend, observed, mean)
    if not math.isfinite(value):
        return False, math.nan, math.nan, math.nan, 0
    has_converged = False
    iteration = 0
    num_free = 0
    while iteration < _MAX_ITERATIONS and not has_converged:
        iteration += 1
        for i in range(size):
            slope = 1.0
            curved = 0.0
            tilt = sd[i] + 2.0 * bend[i] * x[i]
            if observed[i] > 0.0:
                ratio = observed[i] / mean[i]
                slope = 1.0 - ratio
                curved = tilt * tilt * ratio / mean[i]
            elif not mean[i] > 0.0 and lower[i] == upper[i]:
                slope = 0.0
            gradient[i] = precise[i] + slope * tilt
            weight[i] = curved + 2.0 * bend[i] * slope
            low[i], high[i] = lower[i] - x[i], upper[i] - x[i]
            held[i] = 0
            if low[i] >= 0.0 and gradient[i] >= 0.0:
                held[i] = -1
            elif high[i] <= 0.0 and gradient[i] <= 0.0:
                held[i] = 1
        num_free = _solve_box_quadratic(gradient, precision, weight, low, high, held, free, hessian, step, image)
        if num_free < 0:  # no positive curvature (second order only): drop what bends the wrong way
            for i in range(size):
                tilt = sd[i] + 2.0 * bend[i] * x[i]
                slope = 1.0 - observed[i] / mean[i] if observed[i] > 0.0 else 1.0
                weight[i] = max(0.0, 2.0 * bend[i] * slope)
                if observed[i] > 0.0:
                    weight[i] += tilt * tilt * observed[i] / (mean[i] * mean[i])
                held[i] = 0
            num_free = _solve_box_quadratic(gradient, precision, weight, low, high, held, free, hessian, step, image)
            if num_free < 0:
                break
        descent = 0.0
        gain = 0.0
        for i in range(size):
            descent += gradient[i] * step[i]
            gain -= step[i] * (gradient[i] + 0.5 * (image[i] + weight[i] * step[i]))
        length = 1.0
        is_accepted = False
        for _ in range(60):
            for i in range(size):
                trial[i] = x[i] + length * step[i]
                trial_precise[i] = precise[i] + length * image[i]
                if length == 1.0 and held[i] != 0:
                    trial[i] = lower[i] if held[i] < 0 else upper[i]
            trial_value = _objective(trial, trial_precise, centre, sd, bend, observed, trial_mean)
            if trial_value <= value + 1e-4 * length * descent + 1e-13 * (1.0 + abs(value)):
                is_accepted = True
                break
            length *= 0.5
        if not is_accepted:
            has_converged = gain < _SMALLEST_GAIN
            break
        has_converged = gain < _SMALLEST_GAIN and length == 1.0
        value = trial_value
        for i in range(size):
            x[i] = trial[i]
            precise[i] = trial_precise[i]
            mean[i] = trial_mean[i]
    # derivatives in μ: first by the envelope theorem, second with the response of the free nuisances
    first = 0.0
    second = 0.0
    for i in range(size):
        if observed[i] > 0.0:
            first += signal[i] * (1.0 - observed[i] / mean[i])
            second += signal[i] * signal[i] * observed[i] / (mean[i] * mean[i])
        else:
            first += signal[i]
    if has_converged:
        for a in range(num_free):
            i = free[a]
            tilt = sd[i] + 2.0 * bend[i] * x[i]
            trial[a] = tilt * signal[i] * observed[i] / (mean[i] * mean[i]) if observed[i] > 0.0 else 0.0
            step[a] = trial[a]
        _solve(hessian, num_free, step)
        for a in range(num_free):
            second -= trial[a] * step[a]
    return has_converged, value, first, second, iteration


class SecondOrderTerms(NamedTuple):
    """A, B, C of the second-order likelihood per bin, and the covariance of θ."""

    A: FloatArray
    B: FloatArray
    C: FloatArray
    covariance: FloatArray


def second_order_terms(background: FloatArray, covariance: FloatArray, third_moment: FloatArray) -> SecondOrderTerms:
    """Coefficients of SLv2 from the first three moments of the background (arXiv:1809.05548, eqs. 2.9-2.12).

    Args:
        background: expected background b [events].
        covariance: its covariance [events²].
        third_moment: its third central moments [events³]; 0 counts as 1e-30.

    Returns:
        The terms; nan where 8 m2³ < m3², i.e. where no such distribution exists.
    """
    m2 = np.diag(covariance)
    m3 = np.where(third_moment == 0.0, 1e-30, third_moment)
    with np.errstate(invalid="ignore"):
        angle = 4.0 * math.pi / 3.0 + np.arctan(np.sqrt(8.0 * m2**3 / m3**2 - 1.0)) / 3.0
        C = -np.sign(m3) * np.sqrt(2.0 * m2) * np.cos(angle)
        B = np.sqrt(m2 - 2.0 * C**2)
        BB, CC = np.outer(B, B), np.outer(C, C)
        rho = 2.0 * covariance / (np.sqrt(BB**2 + 8.0 * CC * covariance) + BB)
    return SecondOrderTerms(background - C, B, C, BB * rho)


class CovarianceFit(NamedTuple):
    """Profiled likelihood at one μ.

    Attributes:
        nll: -ln L with all constants; nan if the fit failed.
        slope: its first derivative in μ.
        curvature: its second derivative in μ.
        pulls: fitted nuisances θ/sd, shape (num_bins,).
        num_iterations: Newton iterations.
        outcome: OK or FIT_FAILED.
    """

    nll: float
    slope: float
    curvature: float
    pulls: FloatArray
    num_iterations: int
    outcome: Outcome


class BinData(NamedTuple):
    """Event counts with what the fit derives from them.

    Attributes:
        counts: events per bin, shape (num_bins,).
        lower: lower bounds of θ/sd.
        upper: upper bounds of θ/sd.
        log_factorials: Σ ln Γ(n+1).
    """

    counts: FloatArray
    lower: FloatArray
    upper: FloatArray
    log_factorials: float


class CovarianceModel:
    """Background model of one analysis: everything that does not depend on the signal.

    Args:
        observed: observed events, shape (num_bins,).
        background: expected background [events], shape (num_bins,).
        covariance: covariance of the background [events²], shape (num_bins, num_bins).
        third_moment: third central moments [events³] for SLv2, None for SLv1.
        conventions: default or smodels bounds, see the module.

    Attributes:
        num_bins: number of signal regions.
        min_eigenvalue: smallest eigenvalue of the correlation matrix.
        is_floored: whether eigenvalues had to be lifted to MIN_EIGENVALUE.
        is_concave: True for SLv1, whose profiled ln L(μ) is concave.
    """

    def __init__(
        self,
        observed: ArrayLike,
        background: ArrayLike,
        covariance: ArrayLike,
        third_moment: ArrayLike | None = None,
        conventions: Conventions = Conventions.DEFAULT,
    ) -> None:
        self.observed = np.array(observed, dtype=np.float64)
        self.background = np.array(background, dtype=np.float64)
        self.conventions = conventions
        self.num_bins = len(self.observed)
        matrix = np.array(covariance, dtype=np.float64).reshape(self.num_bins, self.num_bins)
        matrix = 0.5 * (matrix + matrix.T)
        self.offset = self.background
        quadratic = np.zeros(self.num_bins)
        self.is_concave = third_moment is None
        if third_moment is not None:
            terms = second_order_terms(self.background, matrix, np.asarray(third_moment, dtype=np.float64))
            self.offset, matrix, quadratic = terms.A, terms.covariance, terms.C / terms.B**2
        self.sd = np.sqrt(np.diag(matrix))
        self.is_finite = bool(np.isfinite(matrix).all() and np.isfinite(quadratic).all() and (self.sd > 0.0).all())
        if not self.is_finite:
            matrix, self.sd, quadratic = np.eye(self.num_bins), np.ones(self.num_bins), np.zeros(self.num_bins)
        eigenvalues, vectors = np.linalg.eigh(matrix / np.outer(self.sd, self.sd))
        self.min_eigenvalue = float(eigenvalues[0])
        self.is_floored = self.min_eigenvalue < MIN_EIGENVALUE
        eigenvalues = np.maximum(eigenvalues, MIN_EIGENVALUE)
        precision = (vectors / eigenvalues) @ vectors.T
        self.precision = np.ascontiguousarray(0.5 * (precision + precision.T))
        self.bend = quadratic * self.sd**2
        self._log_norm = 0.5 * self.num_bins * math.log(2.0 * math.pi)
        self._log_norm += float(np.log(self.sd).sum() + 0.5 * np.log(eigenvalues).sum())
        self._no_signal = np.zeros(self.num_bins)
        self._data = {DataKind.OBSERVED: self.prepare(self.observed), DataKind.APRIORI: self.prepare(self.background)}
        self._background_fits: dict[DataKind, CovarianceFit] = {}

    def prepare(self, counts: FloatArray) -> BinData:
        """Bounds and constants for any event counts, shape (num_bins,)."""
        lower, upper = self.bounds(counts)
        return BinData(counts, lower / self.sd, upper / self.sd, sum(math.lgamma(n + 1.0) for n in counts.tolist()))

    def bounds(self, counts: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Bounds of θ [events] per bin, shape (num_bins,) each."""
        if self.conventions is Conventions.SMODELS:
            return -_SMODELS_THETA_RANGE * counts, _SMODELS_THETA_RANGE * counts
        quadratic = self.bend / self.sd**2
        discriminant = 1.0 - 4.0 * self.offset * quadratic
        root = np.sqrt(np.maximum(discriminant, 0.0))
        lower = np.where(discriminant >= 0.0, -2.0 * self.offset / (1.0 + root), -np.inf)
        upper = np.full(self.num_bins, np.inf)
        is_bent_down = quadratic < 0.0
        upper[is_bent_down] = -(1.0 + root[is_bent_down]) / (2.0 * quadratic[is_bent_down])
        return lower, upper

    def data(self, data_kind: DataKind) -> BinData:
        """Event counts: observed, expected background (a priori), or the background-only fit (a posteriori)."""
        data = self._data.get(data_kind)
        if data is None:
            data = self._data[data_kind] = self.prepare(self.asimov_counts(DataKind.OBSERVED))
        return data

    def background_fit(self, data_kind: DataKind) -> CovarianceFit:
        """The fit at μ = 0, made once."""
        fit = self._background_fits.get(data_kind)
        if fit is None:
            start = np.zeros(self.num_bins)
            fit = self._background_fits[data_kind] = self.fit(0.0, self._no_signal, self.data(data_kind), start)
        return fit

    def fit(self, mu: float, signal: FloatArray, data: BinData, start: FloatArray) -> CovarianceFit:
        """Profile the nuisances at μ for any data.

        Args:
            mu: signal strength.
            signal: expected signal at μ = 1 [events], shape (num_bins,).
            data: event counts.
            start: where θ/sd starts, shape (num_bins,).
        """
        x = np.empty(self.num_bins)
        has_converged, value, slope, curvature, iterations = fit_nuisances(
            float(mu), data.counts, self.offset, signal, self.precision, self.sd, self.bend, data.lower, data.upper, start, x
        )
        if not (has_converged and self.is_finite and math.isfinite(value)):
            nan = math.nan
            return CovarianceFit(nan, nan, nan, np.full(self.num_bins, nan), int(iterations), Outcome.FIT_FAILED)
        nll = float(value) + self._log_norm + data.log_factorials
        return CovarianceFit(nll, float(slope), float(curvature), x, int(iterations), Outcome.OK)

    def asimov_counts(self, data_kind: DataKind) -> FloatArray:
        """Expected counts of the background-only fit to the data: b + θ̂(0) for SLv1 [events]; nan if it failed."""
        pulls = self.background_fit(data_kind).pulls
        counts: FloatArray = np.maximum(self.offset + (self.sd + self.bend * pulls) * pulls, 0.0)
        return counts


class CovarianceLikelihood:
    """Likelihood of one signal hypothesis in a covariance model.

    Args:
        model: background model of the analysis.
        signal: expected signal at μ = 1 [events], shape (num_bins,).
        data_kind: observed, a priori (data := expected background), or a posteriori (data := background-only fit).
        counts: any other event counts instead, shape (num_bins,), e.g. pseudo-data.
    """

    def __init__(
        self,
        model: CovarianceModel,
        signal: ArrayLike,
        data_kind: DataKind = DataKind.OBSERVED,
        counts: FloatArray | None = None,
    ) -> None:
        self.model = model
        self.signal = np.ascontiguousarray(signal, dtype=np.float64)
        self.data_kind = data_kind
        self._data = model.data(data_kind)
        self._at_zero = model.background_fit(data_kind)
        if counts is not None:
            self._data = model.prepare(counts)
            self._at_zero = model.fit(0.0, self.signal, self._data, self._at_zero.pulls)
        self._last: tuple[float, CovarianceFit] | None = None

    @property
    def outcome(self) -> Outcome:
        """FIT_FAILED if not even the background-only fit converges."""
        return self._at_zero.outcome

    @property
    def is_concave(self) -> bool:
        """True for first-order models."""
        return self.model.is_concave

    def fit(self, mu: float) -> CovarianceFit:
        """Profiled likelihood at μ; always started from the background-only fit."""
        if self._last is None or self._last[0] != mu:
            self._last = (mu, self.model.fit(mu, self.signal, self._data, self._at_zero.pulls))
        return self._last[1]

    def asimov(self) -> CovarianceLikelihood:
        """The same signal with the background-only fit to this likelihood's data as data, nuisances centred at 0."""
        pulls = self._at_zero.pulls
        counts = np.maximum(self.model.offset + (self.model.sd + self.model.bend * pulls) * pulls, 0.0)
        return CovarianceLikelihood(self.model, self.signal, self.data_kind, counts)

    def nll(self, mu: float) -> float:
        """-ln L(μ) with all constants; nan if the fit failed."""
        return self.fit(mu).nll

    def log_ratio(self, mu: float) -> LogRatio:
        """ln L(μ)/L(0) and its slope; nan if the fit failed."""
        fit = self.fit(mu)
        return LogRatio(self._at_zero.nll - fit.nll, -fit.slope)

    @cached_property
    def mu_hat(self) -> float:
        """Best μ >= 0 by safeguarded Newton on the slope; nan if a fit fails."""
        low, high = 0.0, math.inf
        fit = self.fit(0.0)
        mu = 0.0
        for _ in range(_MU_ITERATIONS):
            if fit.outcome is not Outcome.OK:
                return math.nan
            if mu == 0.0 and fit.slope >= 0.0:
                return 0.0
            if fit.slope >= 0.0:
                high = mu
            else:
                low = mu
            step = -fit.slope / fit.curvature if fit.curvature > 0.0 else math.inf
            if fit.curvature > 0.0 and fit.slope * fit.slope < 1e-18 * fit.curvature:
                return mu
            target = mu + step
            if not low < target < high:
                target = 0.5 * (low + high) if high < math.inf else max(1.0, 4.0 * low)
            if abs(target - mu) <= 1e-12 * max(abs(target), 1e-12):
                return target
            mu = target
            fit = self.fit(mu)
        return math.nan

    @cached_property
    def sigma_mu(self) -> float:
        """1/√(d²(-ln L)/dμ²) at μ̂; inf for a flat likelihood."""
        fit = self.fit(self.mu_hat)
        return 1.0 / math.sqrt(fit.curvature) if fit.curvature > 0.0 else math.inf
