"""Looks for other minima of a fit: one-dimensional scans of all nuisances at the residuals of the fitted bins.

At a minimum, with residuals r_b = 1 - n_b/λ_b kept, -ln L falls apart into functions of one parameter each,
φ_p(α) = constraint + Σ_b r_b λ_b(α) (the other parameters where they are). Modifiers whose variations point to the same side
make φ_p bend twice; where another valley of φ_p is deeper than the present one, or nearly as deep, a new fit starts there.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from inference.likelihoods.histfactory.fit import Problem
from inference.likelihoods.histfactory.kernels import evaluate_functions, evaluate_shifts, expect
from inference.types import FloatArray

GRID = np.array([-3.0, -2.5, -2.0, -1.5, -1.25, -1.0, -0.75, -0.5, -0.25, 0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0])
"""Values of α at which φ is looked at."""

_NEIGHBOURHOOD = 0.3
"""Valleys closer than this are the present one."""


def tabulate_functions(problem: Problem) -> FloatArray:
    """All normsys functions on the grid, shape (len(GRID), num_functions)."""
    cells = problem.cells
    size = len(cells.function_start) - 1
    num_functions = len(cells.log_up)
    table, slope, bend = np.empty((len(GRID), num_functions)), np.empty(num_functions), np.empty(num_functions)
    side = np.ones(size, dtype=np.int32)
    for row, alpha in enumerate(GRID):
        evaluate_functions(np.full(size, alpha), cells, problem.is_polynomial, side, table[row], slope, bend)
    return table


@njit(cache=True)
def scan_parameters(
    problem: Problem,
    grid: FloatArray,
    table: FloatArray,
    scale: FloatArray,
    observed: FloatArray,
    auxdata: FloatArray,
    weight: FloatArray,
    theta: FloatArray,
    valley: FloatArray,
    depth: FloatArray,
) -> None:
    """Deepest other valleys of every nuisance with an interpolation, one on each side.

    Args:
        table: `tabulate_functions`.
        theta: fitted parameters.
        valley: output, its position below and above the present one; nan without one, shape (2, num_parameters).
        depth: output, φ there minus φ at the present position; inf without one.
    """
    cells = problem.cells
    size, num_cells, num_functions, num_bins = theta.shape[0], cells.nominal.shape[0], cells.log_up.shape[0], observed.shape[0]
    f, f_slope, f_bend = np.empty(num_functions), np.empty(num_functions), np.empty(num_functions)
    shift, side = np.zeros((5, size)), np.ones(size, dtype=np.int32)
    factor, unit, mean = np.empty(num_cells), np.empty(num_cells), np.empty(num_bins)
    mu = theta[problem.poi]
    evaluate_functions(theta, cells, problem.is_polynomial, side, f, f_slope, f_bend)
    evaluate_shifts(theta, problem.has_shift, problem.code, side, shift)
    expect(theta, mu, cells, scale, problem.is_free, f, shift, factor, unit, mean)
    # φ_p(α) = ½ w (α - a)² + Σ_j f_j(α) [base_j + s_j Δe(α) + a_j Δh(α)] + S_p Δe(α) + A_p Δh(α) + constant
    base, pair_s, pair_a = np.zeros(num_functions), np.zeros(num_functions), np.zeros(num_functions)
    sum_s, sum_a = np.zeros(size), np.zeros(size)
    for b in range(num_bins):
        r = 1.0 - observed[b] / mean[b] if observed[b] > 0.0 else 1.0
        for c in range(cells.bin_start[b], cells.bin_start[b + 1]):
            if factor[c] == 0.0:
                continue
            m = r * mu if cells.is_poi[c] else r
            for k in range(cells.hist_start[c], cells.hist_start[c + 1]):
                p = cells.hist_par[k]
                sum_s[p] += m * factor[c] * cells.hist_s[k]
                sum_a[p] += m * factor[c] * cells.hist_a[k]
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
                    p = cells.norm_par[k]
                    sum_s[p] -= f[j] * s
                    sum_a[p] -= f[j] * a
    num_points = grid.shape[0]
    value = np.empty(num_points)
    at = np.zeros(size)
    lattice = np.zeros((5, size))
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
                at[p] = x
                _shift_at(p, at, problem.code, lattice)
                change_e, change_h = lattice[0, p] - shift[0, p], lattice[1, p] - shift[1, p]
            total = 0.5 * weight[p] * (x - auxdata[p]) ** 2 + sum_s[p] * change_e + sum_a[p] * change_h
            row = table[i]
            for j in range(first, last):
                total += row[j] * (base[j] + pair_s[j] * change_e + pair_a[j] * change_h)
            value[i] = total - start
        for i in range(num_points):
            if not (problem.lower[p] <= grid[i] <= problem.upper[p]) or abs(grid[i] - present) <= _NEIGHBOURHOOD:
                continue
            is_valley = (i == 0 or value[i] < value[i - 1]) and (i == num_points - 1 or value[i] < value[i + 1])
            side_index = 1 if grid[i] > present else 0
            if is_valley and value[i] < depth[side_index, p]:
                valley[side_index, p], depth[side_index, p] = grid[i], value[i]


@njit(cache=True)
def _shift_at(p: int, theta: FloatArray, code: int, shift: FloatArray) -> None:
    """e and h of one parameter, as `evaluate_shifts`."""
    x = theta[p]
    square = x * x
    e, h = x, 8.0 * abs(x)
    if code == 4 and abs(x) <= 1.0:
        h = square * (15.0 + square * (3.0 * square - 10.0))
    elif code == 2:
        if x > 1.0:
            e, h = x - 1.0, 16.0 * (x - 1.0)
        elif x >= -1.0:
            h = 8.0 * square
        else:
            h = -16.0 * x
    shift[0, p], shift[1, p] = e, h
