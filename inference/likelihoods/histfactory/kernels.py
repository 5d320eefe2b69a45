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

from inference.likelihoods.histfactory.problem import Measured, Problem, Work
from inference.types import FloatArray, IntArray

_TINY = 1e-12
"""Free factors this close to 0 are moved to it, so that logarithmic derivatives exist; yields change by 1e-12 of themselves."""


@njit(cache=True)
def make_work(problem: Problem) -> Work:
    """Arrays for one fit."""
    cells, layout = problem.cells, problem.layout
    size, num_cells, num_functions = problem.is_free.shape[0], cells.nominal.shape[0], cells.log_up.shape[0]
    num_bins, num_shared = layout.num_bins, layout.shared.shape[0]
    rank = min(num_bins, num_shared)
    return Work(
        np.ones(size, dtype=np.int32),
        np.empty((3, num_functions)),
        np.zeros((5, size)),
        np.empty(num_cells),
        np.empty(num_cells),
        np.empty(num_bins),
        np.empty(size),
        np.empty(size),
        np.empty(size),
        np.empty(size),
        np.empty(cells.hist_s.shape[0]),
        np.empty(cells.factor_par.shape[0]),
        np.empty(num_shared * num_bins + layout.local.shape[0] + 1),
        np.empty(num_bins),
        np.empty(num_bins),
        np.empty((2, num_cells)),
        np.zeros(size, dtype=np.int32),
        np.zeros(size),
        np.empty(num_shared * num_bins + layout.local.shape[0] + 1),
        np.empty(num_bins),
        np.empty((rank, rank)),
        np.empty(num_bins),
        np.empty(num_shared),
    )


@njit(cache=True)
def _evaluate_functions(theta: FloatArray, problem: Problem, side: IntArray, functions: FloatArray) -> None:
    """f, f'/f and its derivative of every normsys function, rows of `functions`."""
    cells = problem.cells
    start, up, down, a = cells.function_start, cells.log_up, cells.log_down, cells.coefficients
    f, slope, bend = functions[0], functions[1], functions[2]
    for p in range(theta.shape[0]):
        first, last = start[p], start[p + 1]
        if first == last:
            continue
        x = theta[p]
        if problem.is_polynomial and abs(x) < 1.0:
            for j in range(first, last):
                value = 1.0 + x * (a[0, j] + x * (a[1, j] + x * (a[2, j] + x * (a[3, j] + x * (a[4, j] + x * a[5, j])))))
                rise = a[0, j] + x * (2.0 * a[1, j] + x * (3.0 * a[2, j] + x * (4.0 * a[3, j] + x * (5.0 * a[4, j] + x * 6.0 * a[5, j]))))
                second = 2.0 * a[1, j] + x * (6.0 * a[2, j] + x * (12.0 * a[3, j] + x * (20.0 * a[4, j] + x * 30.0 * a[5, j])))
                inverse = 1.0 / (value if abs(value) > _TINY else _TINY)
                f[j] = value
                slope[j] = rise * inverse
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
def shift_terms(x: float, code: int, side: int) -> tuple[float, float, float, float, float]:
    """e, h, e', h', h'' of a histosys; `side` says which side of a kink at α = 0 counts."""
    square = x * x
    e, e1 = x, 1.0
    h, h1, h2 = -8.0 * x, -8.0, 0.0
    if x > 0.0 or (x == 0.0 and side > 0):
        h, h1 = 8.0 * x, 8.0
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
    return e, h, e1, h1, h2


@njit(cache=True)
def evaluate(problem: Problem, data: Measured, theta: FloatArray, work: Work) -> float:
    """-ln L without the constants of the data; fills functions, shifts, cells and expected events of `work`.

    inf where nothing is expected but something was seen. A bin without events contributes its expectation whatever its sign,
    as in pyhf.
    """
    cells, shift, factor, unit, mean = problem.cells, work.shift, work.factor, work.unit, work.mean
    f = work.functions[0]
    is_free, mu = problem.is_free, theta[problem.poi]
    _evaluate_functions(theta, problem, work.side, work.functions)
    for p in range(theta.shape[0]):
        if problem.has_shift[p]:
            shift[0, p], shift[1, p], shift[2, p], shift[3, p], shift[4, p] = shift_terms(theta[p], problem.code, work.side[p])
    total = 0.0
    for b in range(mean.shape[0]):
        expected = 0.0
        for c in range(cells.bin_start[b], cells.bin_start[b + 1]):
            product = data.scale[c]
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
            expected += mu * unit[c] if cells.is_poi[c] else unit[c]
        mean[b] = expected
        total += expected
        if data.observed[b] > 0.0:
            if not expected > 0.0:
                total = math.inf
            else:
                total -= data.observed[b] * math.log(expected)
    for p in range(theta.shape[0]):
        if problem.kind[p] == 1:
            pull = theta[p] - data.auxdata[p]
            total += 0.5 * pull * pull * data.weight[p]
        elif problem.kind[p] == 2:
            rate = theta[p] * data.weight[p]
            total += rate
            if data.auxdata[p] > 0.0:
                if not rate > 0.0:
                    return math.inf
                total -= data.auxdata[p] * math.log(rate)
    return total if math.isfinite(total) else math.inf


@njit(cache=True)
def differentiate(problem: Problem, data: Measured, theta: FloatArray, is_free: IntArray, work: Work) -> None:
    """First derivatives of -ln L after `evaluate` at the same parameters, and what products with its Hessian need."""
    cells, slot, stride, poi = problem.cells, problem.layout.slot, problem.layout.stride, problem.poi
    gradient, diagonal, own, jacobian, shift = work.gradient, work.diagonal, work.own, work.jacobian, work.shift
    mu = theta[poi]
    for p in range(theta.shape[0]):
        gradient[p] = 0.0
        diagonal[p] = 0.0
        own[p] = 0.0
        work.curvature[p] = 0.0
        if problem.kind[p] == 1:
            gradient[p] = (theta[p] - data.auxdata[p]) * data.weight[p]
            work.curvature[p] = data.weight[p]
        elif problem.kind[p] == 2:
            gradient[p] = data.weight[p]
            if data.auxdata[p] > 0.0:
                gradient[p] -= data.auxdata[p] / theta[p]
                work.curvature[p] = data.auxdata[p] / (theta[p] * theta[p])
    jacobian[:] = 0.0
    for b in range(work.mean.shape[0]):
        r, w = 1.0, 0.0
        if data.observed[b] > 0.0:
            ratio = data.observed[b] / work.mean[b]
            r, w = 1.0 - ratio, ratio / work.mean[b]
        work.residual[b], work.bin_weight[b] = r, w
        for c in range(cells.bin_start[b], cells.bin_start[b + 1]):
            m = 1.0
            if cells.is_poi[c]:
                m = mu
                gradient[poi] += r * work.unit[c]
                jacobian[slot[poi] + stride[poi] * b] += work.unit[c]
            if work.factor[c] == 0.0:
                continue
            scaled = m * work.factor[c]
            for k in range(cells.hist_start[c], cells.hist_start[c + 1]):
                p = cells.hist_par[k]
                work.hist_slope[k] = cells.hist_s[k] * shift[2, p] + cells.hist_a[k] * shift[3, p]
                value = scaled * work.hist_slope[k]
                gradient[p] += r * value
                jacobian[slot[p] + stride[p] * b] += value
                bending = r * scaled * cells.hist_a[k] * shift[4, p]
                diagonal[p] += bending
                own[p] += bending
            v = m * work.unit[c]
            entry = cells.factor_start[c]
            for k in range(cells.norm_start[c], cells.norm_start[c + 1]):
                j = cells.norm_function[k]
                p = cells.factor_par[entry]
                g = work.functions[1, j] if is_free[p] else 0.0
                work.factor_slope[entry] = g
                entry += 1
                gradient[p] += r * v * g
                jacobian[slot[p] + stride[p] * b] += v * g
                diagonal[p] += r * v * work.functions[2, j]
                own[p] += r * v * (work.functions[2, j] + g * g)
            for _ in range(cells.linear_start[c], cells.linear_start[c + 1]):
                p = cells.factor_par[entry]
                g = 0.0
                if is_free[p]:
                    g = 1.0 / (theta[p] if abs(theta[p]) >= _TINY else _TINY)
                work.factor_slope[entry] = g
                entry += 1
                gradient[p] += r * v * g
                jacobian[slot[p] + stride[p] * b] += v * g
                diagonal[p] -= r * v * g * g


@njit(cache=True)
def multiply_hessian(problem: Problem, theta: FloatArray, direction: FloatArray, work: Work, out: FloatArray) -> None:
    """out = (second derivatives of -ln L) @ direction after `differentiate`; `direction` is 0 for parameters that stay."""
    cells, poi = problem.cells, problem.poi
    factor, unit, factor_slope, hist_slope = work.factor, work.unit, work.factor_slope, work.hist_slope
    along, tilt = work.scratch[0], work.scratch[1]
    for p in range(direction.shape[0]):
        out[p] = (work.curvature[p] + work.diagonal[p]) * direction[p]
    mu, step = theta[poi], direction[poi]
    for b in range(work.mean.shape[0]):
        change = 0.0
        for c in range(cells.bin_start[b], cells.bin_start[b + 1]):
            if factor[c] == 0.0:
                continue
            q, q2 = 0.0, 0.0
            k, last = cells.factor_start[c], cells.factor_start[c + 1]
            while k + 2 <= last:
                q += factor_slope[k] * direction[cells.factor_par[k]]
                q2 += factor_slope[k + 1] * direction[cells.factor_par[k + 1]]
                k += 2
            if k < last:
                q += factor_slope[k] * direction[cells.factor_par[k]]
            q += q2
            t = 0.0
            for k in range(cells.hist_start[c], cells.hist_start[c + 1]):
                t += hist_slope[k] * direction[cells.hist_par[k]]
            along[c], tilt[c] = q, t
            inner = factor[c] * t + unit[c] * q
            change += mu * inner + step * unit[c] if cells.is_poi[c] else inner
        weighted = work.bin_weight[b] * change
        r = work.residual[b]
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
            for k in range(cells.factor_start[c], cells.factor_start[c + 1]):
                out[cells.factor_par[k]] += common * factor_slope[k]
            common = (weighted * m + r * s + r * m * q) * factor[c]
            for k in range(cells.hist_start[c], cells.hist_start[c + 1]):
                out[cells.hist_par[k]] += common * hist_slope[k]


@njit(cache=True)
def evaluate_objective(problem: Problem, data: Measured, theta: FloatArray, mean: FloatArray) -> float:
    """-ln L without the constants of the data at any parameters; writes the expected events per bin."""
    work = make_work(problem)
    value = evaluate(problem, data, theta, work)
    mean[:] = work.mean
    return value
