"""Interpolation grids of topology maps: projection, triangulation and a table for fast point location.

The points of a map lie in a space of up to six masses and widths but usually span only two or three dimensions.
They are centred, rotated by a singular value decomposition, cut to the dimensions they span and triangulated
(Delaunay). Regular grids are full of co-circular points whose triangulation depends on the last bits of the
coordinates, so the order of floating-point operations below is part of the definition (SModelS,
arXiv:1412.1745, §4.3) and must not be changed.
"""

from __future__ import annotations

import hashlib
import math
from typing import Final, NamedTuple

import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from scipy.spatial import Delaunay, QhullError, cKDTree

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int32]

MAX_FULL: Final = 6
"""Most coordinates of a published point."""
MAX_DIM: Final = 3
"""Most dimensions that published points span."""
PLANE_TOLERANCE: Final = 1e-4
"""A coordinate [GeV, or ln of a width] counts as off the plane if it is larger."""
MAX_SVD_ROWS: Final = 2000


class Grid(NamedTuple):
    """A triangulated grid.

    Attributes:
        delta: mean of the points, shape (full,) [GeV; widths as R(Γ)].
        rotation: V of the projection p = (x − δ)·V, shape (full, full).
        dim: number of dimensions the points span, 0 … 3.
        points: projected points, shape (num_points, 3), padded with 0.
        simplices: local vertex numbers, shape (num_simplices, 4), padded with −1.
        neighbors: local simplex opposite each vertex, −1 at the hull, shape (num_simplices, 4), padded with −1.
        bucket_shape: cells per dimension, shape (3,), 1 where unused.
        bucket_low: lower corner of the cells, shape (3,).
        bucket_inv_width: cells per unit length, shape (3,), 0 where unused.
        bucket_start: simplex whose centroid is nearest to the centre of each cell (in units of cells); first
            dimension runs slowest.
    """

    delta: FloatArray
    rotation: FloatArray
    dim: int
    points: FloatArray
    simplices: IntArray
    neighbors: IntArray
    bucket_shape: IntArray
    bucket_low: FloatArray
    bucket_inv_width: FloatArray
    bucket_start: IntArray


class GridError(ValueError):
    """The points of a map cannot be triangulated; the text says why."""


def points_digest(points: FloatArray) -> str:
    """Returns the identity of an ordered list of points: equal digests, equal grids."""
    digest = hashlib.sha256(repr(points.shape).encode())
    digest.update(np.ascontiguousarray(points, dtype="<f8").tobytes())
    return digest.hexdigest()


def build_grid(points: FloatArray) -> Grid:
    """Returns the projected and triangulated grid of a map.

    δ is the plain left-to-right mean, V comes from the SVD of every ⌈N/2000⌉-th centred row, and every row is
    multiplied on its own.

    Args:
        points: masses [GeV] and transformed widths, shape (num_points, full).

    Raises:
        GridError: too many dimensions, or Qhull gives up.
    """
    num_points, full = points.shape
    if full > MAX_FULL:
        raise GridError(f"a point has {full} coordinates, at most {MAX_FULL} are supported")
    delta = np.add.accumulate(points, axis=0)[-1] / num_points
    centred = points - delta
    step = math.ceil(num_points / MAX_SVD_ROWS)
    sample = centred[::step]
    rotation = scipy.linalg.svd(sample, full_matrices=len(sample) < full)[2].T
    projected = np.array([np.dot(row, rotation) for row in centred])
    dim = int(np.max(np.sum(np.abs(projected) > PLANE_TOLERANCE, axis=1)))
    if dim > MAX_DIM:
        raise GridError(f"the points span {dim} dimensions, at most {MAX_DIM} are supported")
    in_plane = np.ascontiguousarray(projected[:, :dim])
    simplices, neighbors = _triangulate(in_plane)
    padded = np.zeros((num_points, MAX_DIM))
    padded[:, :dim] = in_plane
    return Grid(delta, np.ascontiguousarray(rotation), dim, padded, simplices, neighbors, *_buckets(in_plane, simplices))


def _pad(indices: NDArray[np.integer]) -> IntArray:
    padded = np.full((len(indices), MAX_DIM + 1), -1, dtype=np.int32)
    padded[:, : indices.shape[1]] = indices
    return padded


def _triangulate(points: FloatArray) -> tuple[IntArray, IntArray]:
    dim = points.shape[1]
    if dim == 0:
        return np.empty((0, MAX_DIM + 1), np.int32), np.empty((0, MAX_DIM + 1), np.int32)
    if dim == 1:
        return _intervals(points[:, 0])
    try:
        triangulation = Delaunay(points)
    except (QhullError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else "unknown reason"
        raise GridError(f"the points cannot be triangulated ({reason})") from None
    return _pad(triangulation.simplices), _pad(triangulation.neighbors)


def _intervals(coordinates: FloatArray) -> tuple[IntArray, IntArray]:
    """Intervals between sorted distinct coordinates as one-dimensional simplices (lower, upper vertex)."""
    _, order = np.unique(coordinates, return_index=True)
    index = np.arange(len(order) - 1)
    right = np.where(index + 2 < len(order), index + 1, -1)
    return _pad(np.column_stack([order[:-1], order[1:]])), _pad(np.column_stack([right, index - 1]))


def _buckets(points: FloatArray, simplices: IntArray) -> tuple[IntArray, FloatArray, FloatArray, IntArray]:
    """Table of start simplices for the walk to a position: about one cell per point."""
    num_points, dim = points.shape
    shape, low, inv_width = np.ones(MAX_DIM, np.int32), np.zeros(MAX_DIM), np.zeros(MAX_DIM)
    if not len(simplices):
        return shape, low, inv_width, np.full(1, -1, np.int32)
    low[:dim], extent = points.min(axis=0), np.ptp(points, axis=0)
    shape[:dim] = max(1, math.ceil(num_points ** (1 / dim)))
    inv_width[:dim] = shape[:dim] / extent
    cells = np.stack(np.meshgrid(*(np.arange(n) + 0.5 for n in shape[:dim]), indexing="ij"), axis=-1).reshape(-1, dim)
    centroids = (points[simplices[:, : dim + 1]].mean(axis=1) - low[:dim]) * inv_width[:dim]
    nearest = np.asarray(cKDTree(centroids).query(cells)[1], dtype=np.int32)
    return shape, low, inv_width, nearest
