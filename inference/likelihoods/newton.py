"""Newton's method for the nuisances of a covariance likelihood: compiled kernels.

Each step minimises the exact quadratic model of -ln L within the bounds of the nuisances, by exchanging bounds, and
then backtracks if needed; one Cholesky factorisation per exchange. The mean of a bin is a quadratic function of its
nuisance, λ = c + sd x + bend x² (bend = 0 at first order), so -ln L is convex at first order, and at second order
the part that bends the wrong way is dropped where the Hessian is not positive definite.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from inference.types import FloatArray, IntArray

# divisions by zero give inf and nan here (error_model="numpy"): a fit that meets them has failed, it does not raise

_MAX_ITERATIONS = 100
_SMALLEST_GAIN = 1e-9
"""The step that promises to lower -ln L by less than this is the last: what remains is of the order of its square."""


@njit(cache=True, error_model="numpy")
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


@njit(cache=True, error_model="numpy")
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


@njit(cache=True, error_model="numpy")
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
    settle, which ends for positive definite H (Murty, Opsearch 11 (1974) 123).

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


@njit(cache=True, error_model="numpy")
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
