"""Slopes of published maps: the plane through the vertices of one simplex, compiled.

Inside a simplex of the triangulation a map is v(x) = Σ_k λ_k(u) y_k with barycentric coordinates λ that are linear in u, the point
in the plane of the published points, u = ((x - δ) V)[:dim] (arXiv:1312.4175 §4). So ∂v/∂x_i = Σ_j V_ij Σ_k y_k ∂λ_k/∂u_j. Off the plane
the value is that of the foot of the perpendicular, and so is the slope.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from inference.interpolation import MAX_FULL, NEGLIGIBLE, GridArrays, locate
from inference.types import FloatArray


@njit(cache=True)
def _edge_gradients(simplex: int, dim: int, base: int, arrays: GridArrays, out: FloatArray) -> None:
    """∂λ_k/∂u_j of the barycentric coordinates of a simplex that is not flat, into out[k, j], k <= dim."""
    points, vertices = arrays.points, arrays.simplices[simplex]
    last = base + vertices[dim]
    if dim == 1:
        out[0, 0] = 1.0 / (points[base + vertices[0], 0] - points[last, 0])
    elif dim == 2:
        a, b = base + vertices[0], base + vertices[1]
        ax, ay = points[a, 0] - points[last, 0], points[a, 1] - points[last, 1]
        bx, by = points[b, 0] - points[last, 0], points[b, 1] - points[last, 1]
        det = ax * by - bx * ay
        out[0, 0], out[0, 1] = by / det, -bx / det
        out[1, 0], out[1, 1] = -ay / det, ax / det
    else:
        edges = np.empty((3, 3))
        for k in range(3):
            for j in range(3):
                edges[k, j] = points[base + vertices[k], j] - points[last, j]
        det = 0.0
        for k in range(3):
            p, q = edges[(k + 1) % 3], edges[(k + 2) % 3]
            out[k, 0] = p[1] * q[2] - p[2] * q[1]
            out[k, 1] = p[2] * q[0] - p[0] * q[2]
            out[k, 2] = p[0] * q[1] - p[1] * q[0]
        for j in range(3):
            det += edges[0, j] * out[0, j]
        for k in range(3):
            for j in range(3):
                out[k, j] /= det
    for j in range(dim):
        total = 0.0
        for k in range(dim):
            total += out[k, j]
        out[dim, j] = -total


@njit(cache=True)
def locate_with_slopes(g: int, x: FloatArray, arrays: GridArrays, weights: FloatArray, slopes: FloatArray) -> int:
    """Simplex of grid g at masses x with barycentric coordinates and their slopes; -1 outside the hull.

    Args:
        g: grid number.
        x: coordinates [GeV; widths transformed], shape (MAX_FULL,).
        arrays: the store's grid arrays.
        weights: output, λ_k, shape (4,).
        slopes: output, ∂λ_k/∂x_i [1/GeV], shape (4, MAX_FULL).
    """
    full, dim = arrays.full[g], arrays.dim[g]
    u = np.zeros(MAX_FULL)
    for j in range(dim):
        for i in range(full):
            u[j] += (x[i] - arrays.delta[g, i]) * arrays.rotation[g, i, j]
    simplex = locate(g, u, arrays, weights)
    if simplex < 0:
        return -1
    edges = np.zeros((4, 3))
    _edge_gradients(arrays.simplex_offset[g] + simplex, dim, arrays.point_offset[g], arrays, edges)
    for k in range(dim + 1):
        for i in range(MAX_FULL):
            slopes[k, i] = 0.0
        for i in range(full):
            for j in range(dim):
                slopes[k, i] += edges[k, j] * arrays.rotation[g, i, j]
    return int(simplex)


@njit(cache=True)
def column_slope(
    g: int, simplex: int, weights: FloatArray, slopes: FloatArray, column: int, arrays: GridArrays, slope: FloatArray
) -> float:
    """Value of one map in a located simplex, not rounded, and its slope ∂v/∂x [per GeV] into `slope`, shape (MAX_FULL,).

    Where the smallest vertex value is the floor (within the tolerance of the hull) or the value is negligible, the slope is 0.
    """
    dim = arrays.dim[g]
    row = arrays.simplex_offset[g] + simplex
    slope[:] = 0.0
    total, smallest = 0.0, math.inf
    for k in range(dim + 1):
        y = arrays.values[arrays.value_offset[g] + np.int64(arrays.simplices[row, k]) * arrays.num_columns[g] + column]
        total += weights[k] * y
        smallest = min(smallest, y)
        for i in range(arrays.full[g]):
            slope[i] += y * slopes[k, i]
    if total < smallest:
        slope[:] = 0.0
        total = smallest
    if abs(total) < NEGLIGIBLE:
        slope[:] = 0.0
        total = 0.0
    return total
