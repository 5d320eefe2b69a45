"""Looks for other minima of a fit: one-dimensional scans of all nuisances at the residuals of the fitted bins.

At a minimum, with residuals r_b = 1 - n_b/λ_b kept, -ln L falls apart into functions of one parameter each,
φ_p(α) = constraint + Σ_b r_b λ_b(α) (the other parameters where they are). Modifiers whose variations point to the same side
make φ_p bend twice; where another valley of φ_p is deeper than the present one, or nearly as deep, a new fit starts there.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from inference.likelihoods.histfactory.kernels import evaluate, make_work, shift_terms
from inference.likelihoods.histfactory.problem import Measured, Problem
from inference.types import FloatArray

GRID = np.array([-3.0, -2.5, -2.0, -1.5, -1.25, -1.0, -0.75, -0.5, -0.25, 0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0])
"""Values of α at which φ is looked at."""

_NEIGHBOURHOOD = 0.3
"""Valleys closer than this are the present one."""


def tabulate_functions(problem: Problem) -> FloatArray:
    """All normsys functions on the grid, shape (len(GRID), num_functions)."""
    cells = problem.cells
    up, down = np.exp(np.outer(GRID, cells.log_up)), np.exp(np.outer(-GRID, cells.log_down))
    table: FloatArray = np.where(GRID[:, None] >= 0.0, up, down)
    if problem.is_polynomial:
        is_inside = np.abs(GRID) < 1.0
        powers = GRID[is_inside, None] ** np.arange(1, 7)
        table[is_inside] = 1.0 + powers @ cells.coefficients
    return table


@njit(cache=True)
def scan_parameters(
    problem: Problem,
    grid: FloatArray,
    table: FloatArray,
    data: Measured,
    theta: FloatArray,
    valley: FloatArray,
    depth: FloatArray,
) -> None:
    """Deepest other valleys of every nuisance with an interpolation, one on each side.

    Args:
        table: `tabulate_functions`.
        data: data and signal.
        theta: fitted parameters.
        valley: output, its position below and above the present one; nan without one, shape (2, num_parameters).
        depth: output, φ there minus φ at the present position; inf without one.
    """
    cells, auxdata, weight = problem.cells, data.auxdata, data.weight
    size, num_functions, num_bins = theta.shape[0], cells.log_up.shape[0], data.observed.shape[0]
    work = make_work(problem)
    evaluate(problem, data, theta, work)
    f, shift, factor, unit = work.functions[0], work.shift, work.factor, work.unit
    mu = theta[problem.poi]
    # φ_p(α) = ½ w (α - a)² + Σ_j f_j(α) [base_j + s_j Δe(α) + a_j Δh(α)] + S_p Δe(α) + A_p Δh(α) + constant
    base, pair_s, pair_a = np.zeros(num_functions), np.zeros(num_functions), np.zeros(num_functions)
    sum_s, sum_a = np.zeros(size), np.zeros(size)
    for b in range(num_bins):
        r = 1.0 - data.observed[b] / work.mean[b] if data.observed[b] > 0.0 else 1.0
        for c in range(cells.bin_start[b], cells.bin_start[b + 1]):
            if factor[c] == 0.0:
                continue
            m = r * mu if cells.is_poi[c] else r
            for k in range(cells.hist_start[c], cells.hist_start[c + 1]):
                p = cells.hist_par[k]
                sum_s[p] += m * factor[c] * cells.hist_s[k]
                sum_a[p] += m * factor[c] * cells.hist_a[k]
            entry = cells.factor_start[c] - cells.norm_start[c]
            for k in range(cells.norm_start[c], cells.norm_start[c + 1]):
                j = cells.norm_function[k]
                if abs(f[j]) < 1e-9:
                    continue
                inverse = m / f[j]
                base[j] += inverse * unit[c]
                pair = cells.norm_pair[k]
                if pair >= 0:  # the same parameter also shifts this cell: then both act together, not each alone
                    s, a = inverse * factor[c] * cells.hist_s[pair], inverse * factor[c] * cells.hist_a[pair]
                    pair_s[j] += s
                    pair_a[j] += a
                    p = cells.factor_par[entry + k]
                    sum_s[p] -= f[j] * s
                    sum_a[p] -= f[j] * a
    num_points = grid.shape[0]
    value = np.empty(num_points)
    for p in range(size):
        valley[0, p], valley[1, p], depth[0, p], depth[1, p] = math.nan, math.nan, math.inf, math.inf
        first, last = cells.function_start[p], cells.function_start[p + 1]
        if not problem.is_free[p] or problem.kind[p] != 1 or (first == last and not problem.has_shift[p]):
            continue
        present = theta[p]
        start = 0.5 * weight[p] * (present - auxdata[p]) ** 2
        for j in range(first, last):
            start += f[j] * base[j]
        for i in range(num_points):
            x = grid[i]
            change_e, change_h = 0.0, 0.0
            if problem.has_shift[p]:
                e, h, _, _, _ = shift_terms(x, problem.code, 1)
                change_e, change_h = e - shift[0, p], h - shift[1, p]
            total = 0.5 * weight[p] * (x - auxdata[p]) ** 2 + sum_s[p] * change_e + sum_a[p] * change_h
            row = table[i]
            for j in range(first, last):
                total += row[j] * (base[j] + pair_s[j] * change_e + pair_a[j] * change_h)
            value[i] = total - start
        for i in range(num_points):
            if not (problem.lower[p] <= grid[i] <= problem.upper[p]) or abs(grid[i] - present) <= _NEIGHBOURHOOD:
                continue
            is_valley = 0 < i < num_points - 1 and value[i] < value[i - 1] and value[i] < value[i + 1]
            side_index = 1 if grid[i] > present else 0
            if is_valley and value[i] < depth[side_index, p]:
                valley[side_index, p], depth[side_index, p] = grid[i], value[i]
