"""Compiled evaluation of a HistFactory model: expected events, -ln L, gradient, products with the exact Hessian.

Interpolation per parameter α. normsys: code 1 f = exp(±α ln f(±1)); code 4 the same for |α| >= 1 and 1 + Σ a_i αⁱ inside.
histosys: shift = S e(α) + A h(α) with

    code 0   e = α                      h = 8|α|
    code 2   e = α (α - 1 above 1)      h = 8α² inside, 16(α - 1) above, -16α below (pyhf's extrapolation)
    code 4p  e = α                      h = α²(15 + α²(3α² - 10)) inside, 8|α| outside

One pass over the cells gives the expected events, a second one all first derivatives. With G = f'/f, q = Σ G p and
t = Σ δ' p along a direction p, the Hessian of a cell v = u F needs no matrix: a product costs one pass.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from inference.likelihoods.histfactory.cells import Cells
from inference.types import FloatArray, IntArray

_TINY = 1e-12
"""Free factors this close to 0 are moved to it, so that logarithmic derivatives exist; yields change by 1e-12 of themselves."""


@njit(cache=True)
def evaluate_functions(
    theta: FloatArray, cells: Cells, is_polynomial: bool, side: IntArray, f: FloatArray, slope: FloatArray, bend: FloatArray
) -> None:
    """Values f, f'/f and its derivative of every normsys function.

    Args:
        theta: parameters, shape (num_parameters,).
        is_polynomial: code 4, else code 1.
        side: which side of a kink at α = 0 counts, ±1 per parameter (code 1).
    """
    start, up, down, a = cells.function_start, cells.log_up, cells.log_down, cells.coefficients
    for p in range(theta.shape[0]):
        first, last = start[p], start[p + 1]
        if first == last:
            continue
        x = theta[p]
        if is_polynomial and abs(x) < 1.0:
            for j in range(first, last):
                value = 1.0 + x * (a[0, j] + x * (a[1, j] + x * (a[2, j] + x * (a[3, j] + x * (a[4, j] + x * a[5, j])))))
                first_derivative = a[0, j] + x * (
                    2.0 * a[1, j] + x * (3.0 * a[2, j] + x * (4.0 * a[3, j] + x * (5.0 * a[4, j] + x * 6.0 * a[5, j])))
                )
                second = 2.0 * a[1, j] + x * (6.0 * a[2, j] + x * (12.0 * a[3, j] + x * (20.0 * a[4, j] + x * 30.0 * a[5, j])))
                inverse = 1.0 / (value if abs(value) > _TINY else _TINY)
                f[j] = value
                slope[j] = first_derivative * inverse
                bend[j] = second * inverse - slope[j] * slope[j]
        elif x > 0.0 or (x == 0.0 and side[p] > 0):
            for j in range(first, last):
                f[j] = math.exp(x * up[j])
                slope[j] = up[j]
                bend[j] = 0.0
        else:
            for j in range(first, last):
                f[j] = math.exp(-x * down[j])
                slope[j] = -down[j]
                bend[j] = 0.0


@njit(cache=True)
def evaluate_shifts(theta: FloatArray, has_shift: IntArray, code: int, side: IntArray, shift: FloatArray) -> None:
    """e, h, e', h', h'' of every parameter with a histosys, rows of `shift`, shape (5, num_parameters).

    Args:
        code: 0, 2, or 4 for 4p.
    """
    for p in range(theta.shape[0]):
        if not has_shift[p]:
            continue
        x = theta[p]
        square = x * x
        e, e1 = x, 1.0
        is_right = x > 0.0 or (x == 0.0 and side[p] > 0)
        h, h1, h2 = (8.0 * x, 8.0, 0.0) if is_right else (-8.0 * x, -8.0, 0.0)
        if code == 4 and abs(x) <= 1.0:
            h = square * (15.0 + square * (3.0 * square - 10.0))
            h1 = x * (30.0 + square * (18.0 * square - 40.0))
            h2 = 30.0 + square * (90.0 * square - 120.0)
        elif code == 2:
            if x > 1.0:
                e, h, h1 = x - 1.0, 16.0 * (x - 1.0), 16.0
            elif x >= -1.0:
                h, h1, h2 = 8.0 * square, 16.0 * x, 16.0
            else:
                h, h1 = -16.0 * x, -16.0
        shift[0, p], shift[1, p], shift[2, p], shift[3, p], shift[4, p] = e, h, e1, h1, h2


@njit(cache=True)
def expect(
    theta: FloatArray,
    mu: float,
    cells: Cells,
    scale: FloatArray,
    is_free: IntArray,
    f: FloatArray,
    shift: FloatArray,
    factor: FloatArray,
    unit: FloatArray,
    mean: FloatArray,
) -> None:
    """Expected events.

    Args:
        scale: per cell; expected events for signal cells, 1 for background.
        is_free: 1 for parameters that a fit may move.
        factor: output, scale times all factors but μ per cell.
        unit: output, expected events per cell without μ.
        mean: output, expected events per bin.
    """
    for b in range(mean.shape[0]):
        total = 0.0
        for c in range(cells.bin_start[b], cells.bin_start[b + 1]):
            product = scale[c]
            if product == 0.0:
                factor[c] = 0.0
                unit[c] = 0.0
                continue
            base = cells.nominal[c]
            for k in range(cells.hist_start[c], cells.hist_start[c + 1]):
                p = cells.hist_par[k]
                base += cells.hist_s[k] * shift[0, p] + cells.hist_a[k] * shift[1, p]
            for k in range(cells.norm_start[c], cells.norm_start[c + 1]):
                product *= f[cells.norm_function[k]]
            for k in range(cells.linear_start[c], cells.linear_start[c + 1]):
                p = cells.linear_par[k]
                x = theta[p]
                product *= _TINY if is_free[p] and abs(x) < _TINY else x
            factor[c] = product
            unit[c] = product * base
            total += mu * unit[c] if cells.is_poi[c] else unit[c]
        mean[b] = total


@njit(cache=True)
def objective(mean: FloatArray, observed: FloatArray, theta: FloatArray, kind: IntArray, auxdata: FloatArray, weight: FloatArray) -> float:
    """-ln L without the constants of the data; inf where nothing is expected but something was seen.

    A bin without events contributes its expectation whatever its sign, as in pyhf.

    Args:
        kind: Constraint values per parameter.
        auxdata: centres of the constraints (counts for Poisson constraints).
        weight: 1/σ² (normal) or rate factor (Poisson).
    """
    total = 0.0
    for b in range(mean.shape[0]):
        if observed[b] > 0.0:
            if not mean[b] > 0.0:
                return math.inf
            total += mean[b] - observed[b] * math.log(mean[b])
        else:
            total += mean[b]
    for p in range(theta.shape[0]):
        if kind[p] == 1:
            pull = theta[p] - auxdata[p]
            total += 0.5 * pull * pull * weight[p]
        elif kind[p] == 2:
            rate = theta[p] * weight[p]
            total += rate
            if auxdata[p] > 0.0:
                if not rate > 0.0:
                    return math.inf
                total -= auxdata[p] * math.log(rate)
    return total


@njit(cache=True)
def differentiate(
    theta: FloatArray,
    mu: float,
    poi: int,
    cells: Cells,
    is_free: IntArray,
    slot: IntArray,
    stride: IntArray,
    f_slope: FloatArray,
    f_bend: FloatArray,
    shift: FloatArray,
    factor: FloatArray,
    unit: FloatArray,
    mean: FloatArray,
    observed: FloatArray,
    kind: IntArray,
    auxdata: FloatArray,
    weight: FloatArray,
    gradient: FloatArray,
    constraint_curvature: FloatArray,
    diagonal: FloatArray,
    hist_slope: FloatArray,
    jacobian: FloatArray,
    residual: FloatArray,
    bin_weight: FloatArray,
) -> None:
    """First derivatives of -ln L, and what products with its Hessian need.

    Args:
        poi: index of μ among the parameters.
        slot, stride: entry (parameter, bin) of the Jacobian lives at slot + stride · bin.
        gradient: output, d(-ln L)/dθ, μ included.
        constraint_curvature: output, second derivative of the constraints.
        diagonal: output, Σ residual · v · G' and its like: the part of the Hessian diagonal that is no product.
        hist_slope: output, derivative of every histosys entry.
        jacobian: output, d(mean)/dθ, shape (num_slots,).
        residual: output, 1 - n/λ per bin.
        bin_weight: output, n/λ² per bin.
    """
    for p in range(theta.shape[0]):
        gradient[p] = 0.0
        diagonal[p] = 0.0
        constraint_curvature[p] = 0.0
        if kind[p] == 1:
            gradient[p] = (theta[p] - auxdata[p]) * weight[p]
            constraint_curvature[p] = weight[p]
        elif kind[p] == 2:
            gradient[p] = weight[p]
            if auxdata[p] > 0.0:
                gradient[p] -= auxdata[p] / theta[p]
                constraint_curvature[p] = auxdata[p] / (theta[p] * theta[p])
    jacobian[:] = 0.0
    for b in range(mean.shape[0]):
        r, w = 1.0, 0.0
        if observed[b] > 0.0:
            ratio = observed[b] / mean[b]
            r, w = 1.0 - ratio, ratio / mean[b]
        residual[b], bin_weight[b] = r, w
        for c in range(cells.bin_start[b], cells.bin_start[b + 1]):
            m = 1.0
            if cells.is_poi[c]:
                m = mu
                gradient[poi] += r * unit[c]
                jacobian[slot[poi] + stride[poi] * b] += unit[c]
            scaled = m * factor[c]
            if factor[c] == 0.0:
                continue
            for k in range(cells.hist_start[c], cells.hist_start[c + 1]):
                p = cells.hist_par[k]
                hist_slope[k] = cells.hist_s[k] * shift[2, p] + cells.hist_a[k] * shift[3, p]
                value = scaled * hist_slope[k]
                gradient[p] += r * value
                jacobian[slot[p] + stride[p] * b] += value
                diagonal[p] += r * scaled * cells.hist_a[k] * shift[4, p]
            v = m * unit[c]
            for k in range(cells.norm_start[c], cells.norm_start[c + 1]):
                j = cells.norm_function[k]
                p = cells.norm_par[k]
                value = v * f_slope[j]
                gradient[p] += r * value
                jacobian[slot[p] + stride[p] * b] += value
                diagonal[p] += r * v * f_bend[j]
            for k in range(cells.linear_start[c], cells.linear_start[c + 1]):
                p = cells.linear_par[k]
                if is_free[p]:
                    g = 1.0 / (theta[p] if abs(theta[p]) >= _TINY else _TINY)
                    value = v * g
                    gradient[p] += r * value
                    jacobian[slot[p] + stride[p] * b] += value
                    diagonal[p] -= r * value * g


@njit(cache=True)
def multiply_hessian(
    direction: FloatArray,
    theta: FloatArray,
    mu: float,
    poi: int,
    cells: Cells,
    is_free: IntArray,
    f_slope: FloatArray,
    factor: FloatArray,
    unit: FloatArray,
    hist_slope: FloatArray,
    constraint_curvature: FloatArray,
    diagonal: FloatArray,
    residual: FloatArray,
    bin_weight: FloatArray,
    along: FloatArray,
    tilt: FloatArray,
    out: FloatArray,
) -> None:
    """out = (second derivatives of -ln L) @ direction; `direction` is 0 for parameters that stay.

    `along` and `tilt` are scratch, shape (num_cells,).
    """
    for p in range(theta.shape[0]):
        out[p] = (constraint_curvature[p] + diagonal[p]) * direction[p]
    step = direction[poi]
    for b in range(residual.shape[0]):
        change = 0.0
        for c in range(cells.bin_start[b], cells.bin_start[b + 1]):
            if factor[c] == 0.0:
                continue
            q = 0.0
            for k in range(cells.norm_start[c], cells.norm_start[c + 1]):
                q += f_slope[cells.norm_function[k]] * direction[cells.norm_par[k]]
            for k in range(cells.linear_start[c], cells.linear_start[c + 1]):
                p = cells.linear_par[k]
                if is_free[p]:
                    q += direction[p] / (theta[p] if abs(theta[p]) >= _TINY else _TINY)
            t = 0.0
            for k in range(cells.hist_start[c], cells.hist_start[c + 1]):
                t += hist_slope[k] * direction[cells.hist_par[k]]
            along[c], tilt[c] = q, t
            inner = factor[c] * t + unit[c] * q
            change += mu * inner + step * unit[c] if cells.is_poi[c] else inner
        weighted = bin_weight[b] * change
        r = residual[b]
        for c in range(cells.bin_start[b], cells.bin_start[b + 1]):
            if factor[c] == 0.0:
                continue
            q, t = along[c], tilt[c]
            inner = factor[c] * t + unit[c] * q
            m, s = 1.0, 0.0
            if cells.is_poi[c]:
                m, s = mu, step
                out[poi] += weighted * unit[c] + r * inner
            common = (weighted * m + r * s) * unit[c] + r * m * inner
            for k in range(cells.norm_start[c], cells.norm_start[c + 1]):
                out[cells.norm_par[k]] += common * f_slope[cells.norm_function[k]]
            for k in range(cells.linear_start[c], cells.linear_start[c + 1]):
                p = cells.linear_par[k]
                if is_free[p]:
                    out[p] += common / (theta[p] if abs(theta[p]) >= _TINY else _TINY)
            common = (weighted * m + r * s + r * m * q) * factor[c]
            for k in range(cells.hist_start[c], cells.hist_start[c + 1]):
                out[cells.hist_par[k]] += common * hist_slope[k]


@njit(cache=True)
def evaluate_objective(
    theta: FloatArray,
    mu: float,
    cells: Cells,
    scale: FloatArray,
    is_free: IntArray,
    has_shift: IntArray,
    is_polynomial: bool,
    code: int,
    observed: FloatArray,
    kind: IntArray,
    auxdata: FloatArray,
    weight: FloatArray,
    mean: FloatArray,
) -> float:
    """-ln L without the constants of the data at any parameters; writes the expected events per bin."""
    num_functions, num_cells, size = cells.log_up.shape[0], cells.nominal.shape[0], theta.shape[0]
    f, slope, bend = np.empty(num_functions), np.empty(num_functions), np.empty(num_functions)
    shift, side = np.zeros((5, size)), np.ones(size, dtype=np.int32)
    factor, unit = np.empty(num_cells), np.empty(num_cells)
    evaluate_functions(theta, cells, is_polynomial, side, f, slope, bend)
    evaluate_shifts(theta, has_shift, code, side, shift)
    expect(theta, mu, cells, scale, is_free, f, shift, factor, unit, mean)
    return objective(mean, observed, theta, kind, auxdata, weight)
