"""Where a point lies in a Delaunay triangulation: compiled walks from a bucket table.

A walk starts at a simplex that a table of cells names, and crosses the facet with the most negative barycentric coordinate until it
contains the point or leaves the hull. Regular grids are full of flat simplices (four corners of one cell face); walks pass through
clusters of them to the neighbour on the point's side. The result depends on the point alone, never on earlier calls.
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
    simplices: NDArray[np.uint16] | IntArray
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
        longs(store.grid_value_offset), ints(store.grid_num_columns), floats(store.points), store.simplices,
        ints(store.neighbors),
        floats(store.values), longs(store.bucket_offset), ints(store.bucket_shape),
        floats(store.bucket_low), floats(store.bucket_inv_width), ints(store.bucket_start),
    )  # fmt: skip


@njit(cache=True)
def _barycentric(
    simplex: int, u: FloatArray, dim: int, base: int, points: FloatArray, simplices: NDArray[np.uint16] | IntArray, weights: FloatArray
) -> bool:
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


SEARCHED_NEARBY = 160
"""Simplices looked at around the end of a walk that met a flat simplex or the hull."""
CLEARLY_OUTSIDE = 1e-6
"""Distance beyond a facet of the hull, in units of the map's extent, that ends a walk; the hull is convex."""
MAX_STEPS = 400
"""Steps of a walk before all simplices are searched; walks from the bucket table take about ten."""


@njit(cache=True)
def _facet_distance(simplex: int, facet: int, weight: float, dim: int, base: int, arrays: GridArrays) -> float:
    """Distance of a point from the plane of a facet, given its barycentric coordinate opposite that facet."""
    corner = base + arrays.simplices[simplex, facet]
    first = base + arrays.simplices[simplex, 0 if facet != 0 else 1]
    ox, oy, oz = arrays.points[first, 0], arrays.points[first, 1], arrays.points[first, 2]
    cx, cy, cz = arrays.points[corner, 0] - ox, arrays.points[corner, 1] - oy, arrays.points[corner, 2] - oz
    if dim == 1:
        return float(abs(weight * cx))
    ax = ay = az = bx = by = bz = 0.0
    found = 0
    for k in range(dim + 1):
        vertex = base + arrays.simplices[simplex, k]
        if k == facet or vertex == first:
            continue
        if found == 0:
            ax, ay, az = arrays.points[vertex, 0] - ox, arrays.points[vertex, 1] - oy, arrays.points[vertex, 2] - oz
        else:
            bx, by, bz = arrays.points[vertex, 0] - ox, arrays.points[vertex, 1] - oy, arrays.points[vertex, 2] - oz
        found += 1
    if dim == 2:
        nx, ny, nz = -ay, ax, 0.0
    else:
        nx, ny, nz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
    norm = math.sqrt(nx * nx + ny * ny + nz * nz)
    return float(abs(weight) * abs(cx * nx + cy * ny + cz * nz) / norm) if norm > 0.0 else 0.0


@njit(cache=True)
def _search_all(g: int, u: FloatArray, arrays: GridArrays, weights: FloatArray) -> int:
    dim = arrays.dim[g]
    base, first = arrays.point_offset[g], arrays.simplex_offset[g]
    for s in range(arrays.num_simplices[g]):
        if _barycentric(first + s, u, dim, base, arrays.points, arrays.simplices, weights) and _is_inside(weights, dim):
            return s
    return -1


@njit(cache=True)
def _pass_flat(g: int, flat: int, came_from: int, u: FloatArray, arrays: GridArrays, weights: FloatArray) -> tuple[int, bool]:
    """Way out of a cluster of flat simplices: the neighbour that fits u best, and whether the cluster touches the hull.

    Regular grids are full of flat simplices; their vertices lie in one plane, with the facet through which they are entered. Only
    neighbours on u's side of that plane lead on; the result is -1 if there is none.
    """
    dim = arrays.dim[g]
    base, first = arrays.point_offset[g], arrays.simplex_offset[g]
    seen = np.empty(SEARCHED_NEARBY, dtype=np.int32)
    seen[0] = flat
    is_flat = np.zeros(SEARCHED_NEARBY, dtype=np.bool_)
    count, position = 1, 0
    best, largest, touches_hull = -1, -math.inf, False
    while position < count:
        current = seen[position]
        position += 1
        if current != flat and _barycentric(first + current, u, dim, base, arrays.points, arrays.simplices, weights):
            smallest, is_beyond = math.inf, came_from < 0
            for k in range(dim + 1):
                smallest = min(smallest, weights[k])
                if not is_beyond and weights[k] >= 0.0:
                    for i in range(position - 1):
                        is_beyond = is_beyond or (seen[i] == arrays.neighbors[first + current, k] and is_flat[i])
            if is_beyond and smallest > largest:
                best, largest = current, smallest
            continue
        is_flat[position - 1] = True
        for k in range(dim + 1):
            neighbor = arrays.neighbors[first + current, k]
            if neighbor < 0:
                touches_hull = True
                continue
            is_new = neighbor != came_from and count < SEARCHED_NEARBY
            for i in range(count):
                if seen[i] == neighbor:
                    is_new = False
                    break
            if is_new:
                seen[count] = neighbor
                count += 1
    return best, touches_hull


@njit(cache=True)
def _search_nearby(g: int, simplex: int, u: FloatArray, arrays: GridArrays, weights: FloatArray) -> int:
    """Breadth-first search around a simplex for the one that contains u; -1 if none of those nearby does."""
    dim = arrays.dim[g]
    base, first = arrays.point_offset[g], arrays.simplex_offset[g]
    seen = np.empty(SEARCHED_NEARBY, dtype=np.int32)
    seen[0] = simplex
    count, position = 1, 0
    while position < count:
        current = seen[position]
        position += 1
        if _barycentric(first + current, u, dim, base, arrays.points, arrays.simplices, weights) and _is_inside(weights, dim):
            return int(current)
        for k in range(dim + 1):
            neighbor = arrays.neighbors[first + current, k]
            if neighbor < 0 or count == SEARCHED_NEARBY:
                continue
            is_new = True
            for i in range(count):
                if seen[i] == neighbor:
                    is_new = False
                    break
            if is_new:
                seen[count] = neighbor
                count += 1
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
    cell = 0
    for k in range(dim):
        i = math.floor((u[k] - arrays.bucket_low[g, k]) * arrays.bucket_inv_width[g, k])
        top = arrays.bucket_shape[g, k] - 1
        if i < -2 or i > top + 2:
            return -1
        cell = cell * arrays.bucket_shape[g, k] + min(max(int(i), 0), top)
    return walk_from(g, int(arrays.bucket_start[arrays.bucket_offset[g] + cell]), u, arrays, weights)


@njit(cache=True)
def walk_from(g: int, simplex: int, u: FloatArray, arrays: GridArrays, weights: FloatArray) -> int:
    """Simplex of grid g that contains u, reached from a given simplex, with its barycentric weights; -1 outside the hull."""
    dim = arrays.dim[g]
    base, first = arrays.point_offset[g], arrays.simplex_offset[g]
    extent = 0.0
    for k in range(dim):
        extent = max(extent, arrays.bucket_shape[g, k] / arrays.bucket_inv_width[g, k])
    if not _barycentric(first + simplex, u, dim, base, arrays.points, arrays.simplices, weights):
        simplex = _pass_flat(g, simplex, -1, u, arrays, weights)[0]
        if simplex < 0:
            return int(_search_all(g, u, arrays, weights))
        _barycentric(first + simplex, u, dim, base, arrays.points, arrays.simplices, weights)
    for _ in range(MAX_STEPS):
        if _is_inside(weights, dim):
            return simplex
        worst, facet = 0.0, -1
        for k in range(dim + 1):
            if weights[k] >= 0.0:
                continue
            if arrays.neighbors[first + simplex, k] < 0:
                if _facet_distance(first + simplex, k, weights[k], dim, base, arrays) > CLEARLY_OUTSIDE * extent:
                    return -1
            elif weights[k] < worst:
                worst, facet = weights[k], k
        if facet < 0:
            return int(_search_nearby(g, simplex, u, arrays, weights))
        entered = int(arrays.neighbors[first + simplex, facet])
        if not _barycentric(first + entered, u, dim, base, arrays.points, arrays.simplices, weights):
            beyond = _facet_distance(first + simplex, facet, worst, dim, base, arrays)
            entered, touches_hull = _pass_flat(g, entered, simplex, u, arrays, weights)
            if touches_hull and beyond > CLEARLY_OUTSIDE * extent:
                return -1
            if touches_hull or entered < 0:
                return int(_search_nearby(g, simplex, u, arrays, weights))
            _barycentric(first + entered, u, dim, base, arrays.points, arrays.simplices, weights)
        simplex = entered
    return int(_search_all(g, u, arrays, weights))
