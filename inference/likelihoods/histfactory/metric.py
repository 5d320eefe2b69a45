"""The Gauss-Newton metric of a fit, D + JᵀWJ, factorised in the smaller of its two forms.

Parameters that touch one bin only (staterror, most shapesys) are eliminated first: they soften the weights to
w' = w/(1 + w Σ j²/d). The others are solved for in bins (Woodbury: 1 + W'^½ J D⁻¹ Jᵀ W'^½) or in parameters (D + JᵀW'J).
"""

from __future__ import annotations

import math

from numba import njit

from inference.likelihoods.histfactory.linear import dot, factorise, solve
from inference.likelihoods.histfactory.problem import Problem, Work
from inference.types import FloatArray

_DAMPING = 1e-6
"""Share of the diagonal of JᵀWJ that stands in for the missing constraint of a free factor; it changes no result."""


@njit(cache=True)
def weigh_parameters(problem: Problem, work: Work) -> None:
    """Writes 1/D for the parameters marked with `inverse` > 0: constraints, and what bends upwards in the modifiers."""
    layout, inverse, num_bins = problem.layout, work.inverse, problem.layout.num_bins
    for p in range(inverse.shape[0]):
        if inverse[p] > 0.0:
            inverse[p] = max(work.curvature[p] + max(work.own[p], 0.0), 1e-8)
    for row in range(layout.shared.shape[0]):
        p = layout.shared[row]
        if inverse[p] > 0.0 and problem.kind[p] == 0:
            total = 0.0
            for b in range(num_bins):
                j = work.jacobian[row * num_bins + b]
                total += work.bin_weight[b] * j * j
            inverse[p] = max(inverse[p], _DAMPING * total)
    for k in range(layout.local.shape[0]):
        p = layout.local[k]
        if inverse[p] > 0.0 and problem.kind[p] == 0:
            j = work.jacobian[layout.shared.shape[0] * num_bins + k]
            inverse[p] = max(inverse[p], _DAMPING * work.bin_weight[layout.local_bin[k]] * j * j)
    for p in range(inverse.shape[0]):
        if inverse[p] > 0.0:
            inverse[p] = 1.0 / inverse[p]


@njit(cache=True)
def add_damping(problem: Problem, work: Work, damping: float) -> None:
    """Adds a share of the Gauss-Newton diagonal to the curvature of the constraints."""
    layout, num_bins = problem.layout, problem.layout.num_bins
    for row in range(layout.shared.shape[0]):
        p = layout.shared[row]
        total = work.curvature[p]
        for b in range(num_bins):
            j = work.jacobian[row * num_bins + b]
            total += work.bin_weight[b] * j * j
        work.curvature[p] += damping * total
    for k in range(layout.local.shape[0]):
        p = layout.local[k]
        j = work.jacobian[layout.shared.shape[0] * num_bins + k]
        work.curvature[p] += damping * (work.curvature[p] + work.bin_weight[layout.local_bin[k]] * j * j)


@njit(cache=True)
def factorise_metric(problem: Problem, work: Work) -> bool:
    """Prepares solutions with the metric, from Jacobian, weights and 1/D (0 for parameters that stay).

    Returns:
        Whether the matrix is positive definite.
    """
    layout, jacobian, inverse, soft, matrix = problem.layout, work.jacobian, work.inverse, work.soft, work.matrix
    num_bins, num_shared = layout.num_bins, layout.shared.shape[0]
    soft[:] = 0.0
    offset = num_shared * num_bins
    for k in range(layout.local.shape[0]):
        j = jacobian[offset + k]
        soft[layout.local_bin[k]] += j * j * inverse[layout.local[k]]
    for b in range(num_bins):
        soft[b] = work.bin_weight[b] / (1.0 + work.bin_weight[b] * soft[b])
    matrix[:, :] = 0.0
    if num_bins <= num_shared:
        for row in range(num_shared):
            scale = inverse[layout.shared[row]]
            if scale == 0.0:
                continue
            values = jacobian[row * num_bins : (row + 1) * num_bins]
            for a in range(num_bins):
                x = values[a] * scale
                if x != 0.0:
                    target = matrix[a]
                    for b in range(a + 1):
                        target[b] += x * values[b]
        for b in range(num_bins):
            work.bins[b] = math.sqrt(soft[b])
        for a in range(num_bins):
            for b in range(a + 1):
                matrix[a, b] *= work.bins[a] * work.bins[b]
            matrix[a, a] += 1.0
    else:
        for row in range(num_shared):
            if inverse[layout.shared[row]] == 0.0:
                matrix[row, row] = 1.0
                continue
            matrix[row, row] = 1.0 / inverse[layout.shared[row]]
            for other in range(row + 1):
                if inverse[layout.shared[other]] == 0.0:
                    continue
                total = 0.0
                for b in range(num_bins):
                    total += jacobian[row * num_bins + b] * soft[b] * jacobian[other * num_bins + b]
                matrix[row, other] += total
    return factorise(matrix)


@njit(cache=True)
def solve_metric(problem: Problem, work: Work, rhs: FloatArray, out: FloatArray) -> None:
    """out = (D + JᵀWJ)⁻¹ rhs; 0 for parameters that stay."""
    layout, jacobian, inverse, soft = problem.layout, work.jacobian, work.inverse, work.soft
    bins, rows = work.bins, work.rows
    num_bins, num_shared = layout.num_bins, layout.shared.shape[0]
    offset = num_shared * num_bins
    bins[:] = 0.0
    for row in range(num_shared):
        p = layout.shared[row]
        x = rhs[p] * inverse[p]
        if x != 0.0:
            first = row * num_bins
            for b in range(num_bins):
                bins[b] += x * jacobian[first + b]
    for k in range(layout.local.shape[0]):
        p = layout.local[k]
        bins[layout.local_bin[k]] += jacobian[offset + k] * rhs[p] * inverse[p]
    if num_bins <= num_shared:
        for b in range(num_bins):
            bins[b] *= math.sqrt(soft[b])
        solve(work.matrix, bins)
        for b in range(num_bins):
            bins[b] *= math.sqrt(soft[b])
    else:
        for b in range(num_bins):
            bins[b] *= soft[b]
        for row in range(num_shared):
            total = 0.0
            if inverse[layout.shared[row]] != 0.0:
                for b in range(num_bins):
                    total += jacobian[row * num_bins + b] * bins[b]
            rows[row] = total
        solve(work.matrix, rows)
        for row in range(num_shared):
            x = rows[row]
            if x != 0.0:
                for b in range(num_bins):
                    bins[b] -= soft[b] * jacobian[row * num_bins + b] * x
    for p in range(rhs.shape[0]):
        out[p] = rhs[p] * inverse[p]
    for row in range(num_shared):
        p = layout.shared[row]
        if inverse[p] != 0.0:
            out[p] -= inverse[p] * dot(jacobian[row * num_bins : (row + 1) * num_bins], bins)
    for k in range(layout.local.shape[0]):
        p = layout.local[k]
        out[p] -= inverse[p] * jacobian[offset + k] * bins[layout.local_bin[k]]
