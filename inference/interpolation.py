"""Interpolation of published maps: simplex look-up and barycentric weights, compiled.

Procedure of arXiv:1312.4175 §4 as implemented in SModelS 3.0: masses (and transformed widths) are shifted and rotated into the
plane of the published points (principal components), located in the Delaunay triangulation there, and interpolated linearly; a
point off the plane is accepted if the value is estimated to change by less than 5 %. Values are not allowed below the smallest
vertex value and are rounded to six significant digits.

All maps on one grid share the look-up: `evaluate_columns` returns the values of many maps (signal regions) at once.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from database.results.store import ResultsStore
from inference.types import FloatArray, IntArray

IN_SIMPLEX_TOLERANCE = 1e-6
"""Barycentric tolerance: a point this far outside the hull still counts as inside."""
IN_PLANE_TOLERANCE_GEV = 1e-4
OFF_PLANE_TOLERANCE = 0.05
"""Largest estimated relative change of a value off the plane of the published points."""
NEGLIGIBLE = 100 * 2.220446049250313e-16
"""Values smaller than a hundred machine epsilons are 0."""
MAX_FULL = 6
WIDTH_UNIT_GEV = 1e-30


def rescale_width(width: float) -> float:
    """Coordinate of a total width [GeV] in a published map: ln(1 + Γ / 10⁻³⁰ GeV).

    Examples:
        >>> round(rescale_width(1e-30), 6), rescale_width(0.0)
        (0.693147, 0.0)
    """
    ratio = min(width, 1e50) / WIDTH_UNIT_GEV
    return ratio if ratio < 1e-10 else math.log(1.0 + ratio)


class GridArrays(NamedTuple):
    """The arrays of a store that interpolation touches, as plain (memory-mapped) arrays."""

    full: IntArray
    dim: IntArray
    delta: FloatArray
    rotation: FloatArray
    point_offset: NDArray[np.int64]
    simplex_offset: NDArray[np.int64]
    num_simplices: IntArray
    value_offset: NDArray[np.int64]
    num_columns: IntArray
    points: FloatArray
    simplices: IntArray
    neighbors: IntArray
    values: FloatArray
    bucket_offset: NDArray[np.int64]
    bucket_shape: IntArray
    bucket_low: FloatArray
    bucket_inv_width: FloatArray
    bucket_start: IntArray


def build_grid_arrays(store: ResultsStore) -> GridArrays:
    """Collect the grid arrays of an opened store; large ones stay memory-mapped."""

    def ints(values: NDArray[np.int32]) -> IntArray:
        return np.asarray(values, dtype=np.int32)

    def longs(values: NDArray[np.int32] | NDArray[np.int64]) -> NDArray[np.int64]:
        return np.asarray(values, dtype=np.int64)

    def floats(values: FloatArray) -> FloatArray:
        return np.asarray(values, dtype=np.float64)

    return GridArrays(
        ints(store.grid_full), ints(store.grid_dim), floats(store.grid_delta), floats(store.grid_rotation),
        longs(store.grid_point_offset), longs(store.grid_simplex_offset), ints(store.grid_num_simplices),
        longs(store.grid_value_offset), ints(store.grid_num_columns), floats(store.points), ints(store.simplices), ints(store.neighbors),
        floats(store.values), longs(store.bucket_offset), ints(store.bucket_shape),
        floats(store.bucket_low), floats(store.bucket_inv_width), ints(store.bucket_start),
    )  # fmt: skip


@njit(cache=True)
def _barycentric(simplex: int, u: FloatArray, dim: int, base: int, points: FloatArray, simplices: IntArray, weights: FloatArray) -> bool:
    """Barycentric coordinates of u in a simplex; False if the simplex is degenerate."""
    last = base + simplices[simplex, dim]
    if dim == 1:
        span = points[base + simplices[simplex, 0], 0] - points[last, 0]
        if span == 0.0:
            return False
        weights[0] = (u[0] - points[last, 0]) / span
        weights[1] = 1.0 - weights[0]
        return True
    if dim == 2:
        a, b = base + simplices[simplex, 0], base + simplices[simplex, 1]
        rx, ry = points[last, 0], points[last, 1]
        ax, ay = points[a, 0] - rx, points[a, 1] - ry
        bx, by = points[b, 0] - rx, points[b, 1] - ry
        det = ax * by - bx * ay
        scale = (abs(ax) + abs(bx)) * (abs(ay) + abs(by))
        if abs(det) <= 1e-13 * scale:
            return False
        px, py = u[0] - rx, u[1] - ry
        weights[0] = (px * by - bx * py) / det
        weights[1] = (ax * py - px * ay) / det
        weights[2] = 1.0 - weights[0] - weights[1]
        return True
    a, b, c = base + simplices[simplex, 0], base + simplices[simplex, 1], base + simplices[simplex, 2]
    rx, ry, rz = points[last, 0], points[last, 1], points[last, 2]
    ax, ay, az = points[a, 0] - rx, points[a, 1] - ry, points[a, 2] - rz
    bx, by, bz = points[b, 0] - rx, points[b, 1] - ry, points[b, 2] - rz
    cx, cy, cz = points[c, 0] - rx, points[c, 1] - ry, points[c, 2] - rz
    px, py, pz = u[0] - rx, u[1] - ry, u[2] - rz
    nx, ny, nz = by * cz - bz * cy, bz * cx - bx * cz, bx * cy - by * cx
    det = ax * nx + ay * ny + az * nz
    scale = (abs(ax) + abs(ay) + abs(az)) * (abs(bx) + abs(by) + abs(bz)) * (abs(cx) + abs(cy) + abs(cz))
    if abs(det) <= 1e-13 * scale:
        return False
    weights[0] = (px * nx + py * ny + pz * nz) / det
    weights[1] = (px * (cy * az - cz * ay) + py * (cz * ax - cx * az) + pz * (cx * ay - cy * ax)) / det
    weights[2] = (px * (ay * bz - az * by) + py * (az * bx - ax * bz) + pz * (ax * by - ay * bx)) / det
    weights[3] = 1.0 - weights[0] - weights[1] - weights[2]
    return True


@njit(cache=True)
def _is_inside(weights: FloatArray, dim: int) -> bool:
    for k in range(dim + 1):  # noqa: SIM110  numba compiles no generator
        if weights[k] < -IN_SIMPLEX_TOLERANCE or weights[k] > 1.0 + IN_SIMPLEX_TOLERANCE:
            return False
    return True


@njit(cache=True)
def _search_all(g: int, u: FloatArray, arrays: GridArrays, weights: FloatArray) -> int:
    dim = arrays.dim[g]
    base, first = arrays.point_offset[g], arrays.simplex_offset[g]
    for s in range(arrays.num_simplices[g]):
        if _barycentric(first + s, u, dim, base, arrays.points, arrays.simplices, weights) and _is_inside(weights, dim):
            return s
    return -1


@njit(cache=True)
def locate(g: int, u: FloatArray, arrays: GridArrays, weights: FloatArray) -> int:
    """Simplex of grid g that contains u, with its barycentric weights; -1 outside the hull.

    A walk through the triangulation from a fixed starting simplex near u: the result never depends on earlier calls.
    """
    dim = arrays.dim[g]
    num = arrays.num_simplices[g]
    if num == 0:
        return -1
    base, first = arrays.point_offset[g], arrays.simplex_offset[g]
    cell = 0
    for k in range(dim):
        i = math.floor((u[k] - arrays.bucket_low[g, k]) * arrays.bucket_inv_width[g, k])
        top = arrays.bucket_shape[g, k] - 1
        if i < -2 or i > top + 2:
            return -1
        cell = cell * arrays.bucket_shape[g, k] + min(max(int(i), 0), top)
    simplex = int(arrays.bucket_start[arrays.bucket_offset[g] + cell])
    for _ in range(num + 1):
        if not _barycentric(first + simplex, u, dim, base, arrays.points, arrays.simplices, weights):
            return _search_all(g, u, arrays, weights)
        if _is_inside(weights, dim):
            return simplex
        worst, facet = 0.0, -1
        hull_worst = 0.0
        for k in range(dim + 1):
            if weights[k] < worst and arrays.neighbors[first + simplex, k] >= 0:
                worst, facet = weights[k], k
            if weights[k] < hull_worst and arrays.neighbors[first + simplex, k] < 0:
                hull_worst = weights[k]
        if facet < 0:
            # beyond a facet of the hull; slivers exaggerate, so only a clear distance ends the search
            if hull_worst < -1e-3:
                return -1
            return _search_all(g, u, arrays, weights)
        simplex = int(arrays.neighbors[first + simplex, facet])
    return _search_all(g, u, arrays, weights)


@njit(cache=True)
def round_to_six_digits(value: float) -> float:
    """Value rounded to six significant digits; 0 stays 0."""
    if value == 0.0:
        return 0.0
    digits = 5 - math.floor(math.log10(abs(value)))
    if digits >= 0:
        if digits > 300:
            return value
        scale = 10.0**digits
        return float(np.round(value * scale) / scale)
    scale = 10.0 ** (-digits)
    return float(np.round(value / scale) * scale)


@njit(cache=True)
def _column_value(g: int, simplex: int, weights: FloatArray, column: int, arrays: GridArrays) -> float:
    dim = arrays.dim[g]
    row = arrays.simplex_offset[g] + simplex
    total = 0.0
    smallest = math.inf
    for k in range(dim + 1):
        y = arrays.values[arrays.value_offset[g] + np.int64(arrays.simplices[row, k]) * arrays.num_columns[g] + column]
        total += weights[k] * y
        smallest = min(smallest, y)
    return round_to_six_digits(max(total, smallest))


@njit(cache=True)
def _value_at(g: int, u: FloatArray, column: int, arrays: GridArrays, weights: FloatArray) -> float:
    simplex = locate(g, u, arrays, weights)
    if simplex < 0:
        return math.nan
    return _column_value(g, simplex, weights, column, arrays)


@njit(cache=True)
def evaluate_columns(g: int, x: FloatArray, columns: IntArray, arrays: GridArrays, out: FloatArray) -> bool:
    """Values of several maps on grid g at masses x; nan where the point is outside the map.

    Args:
        g: grid number.
        x: coordinates [GeV; widths transformed], at least grid_full[g] of them.
        columns: columns of the grid's value block, shape (n,).
        arrays: the store's grid arrays.
        out: filled with the values, shape (n,).

    Returns:
        Whether the point is inside the map of at least one column.
    """
    full, dim = arrays.full[g], arrays.dim[g]
    p = np.zeros(MAX_FULL)
    significant = 0
    for j in range(full):
        total = 0.0
        for i in range(full):
            total += (x[i] - arrays.delta[g, i]) * arrays.rotation[g, i, j]
        p[j] = total
        if abs(total) > IN_PLANE_TOLERANCE_GEV:
            significant += 1
    weights = np.zeros(4)
    simplex = locate(g, p, arrays, weights)
    if simplex < 0:
        out[: columns.size] = math.nan
        return False
    for n in range(columns.size):
        value = _column_value(g, simplex, weights, columns[n], arrays)
        out[n] = 0.0 if abs(value) < NEGLIGIBLE else value
    if significant <= dim:
        return True
    alpha = 0.0
    for j in range(dim, full):
        alpha += p[j] * p[j]
    alpha = math.sqrt(alpha)
    if alpha == 0.0:
        return True
    any_inside = False
    for n in range(columns.size):
        value = _column_value(g, simplex, weights, columns[n], arrays)
        if _is_close_to_plane(g, p, dim, alpha, value, columns[n], arrays):
            any_inside = True
        else:
            out[n] = math.nan
    return any_inside


@njit(cache=True)
def _is_close_to_plane(g: int, p: FloatArray, dim: int, alpha: float, value: float, column: int, arrays: GridArrays) -> bool:
    """Whether the value is estimated to change by less than 5 % over the distance alpha from the plane."""
    gradient = np.zeros(3)
    shifted = p.copy()
    weights = np.zeros(4)
    norm2 = 0.0
    for i in range(dim):
        shifted[i] = p[i] + alpha
        forward = _value_at(g, shifted, column, arrays, weights)
        shifted[i] = p[i]
        if math.isnan(forward):
            return False
        gradient[i] = (forward - value) / alpha
        norm2 += gradient[i] * gradient[i]
    if norm2 == 0.0:
        return True
    norm = math.sqrt(norm2)
    step = 0.0
    for i in range(dim):
        step += gradient[i] / norm * alpha
    shifted[dim - 1] = p[dim - 1] + step
    up = _value_at(g, shifted, column, arrays, weights)
    shifted[dim - 1] = p[dim - 1] - step
    down = _value_at(g, shifted, column, arrays, weights)
    if value == 0.0:
        change_up = 0.0 if up == 0.0 else 1.0
        change_down = 0.0 if down == 0.0 else 1.0
    else:
        change_up = abs(up - value) / value
        change_down = abs(down - value) / value
    change = change_up
    if change_down > change:
        change = change_down
    return change < OFF_PLANE_TOLERANCE
