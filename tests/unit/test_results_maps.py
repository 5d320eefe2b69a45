"""Grids: projection, triangulation, neighbours and start table."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg

from database.results.maps import Grid, GridError, build_grid, points_digest

RNG = np.random.default_rng(11)


def locate(grid: Grid, position: np.ndarray) -> int:
    """Walks from the start table to the simplex that holds a position; −1 outside."""
    dim = grid.dim
    cell = np.clip(((position - grid.bucket_low[:dim]) * grid.bucket_inv_width[:dim]).astype(int), 0, grid.bucket_shape[:dim] - 1)
    simplex = int(grid.bucket_start[np.ravel_multi_index(tuple(cell), tuple(grid.bucket_shape[:dim]))])
    for _ in range(len(grid.simplices) + 1):
        vertices = grid.points[grid.simplices[simplex, : dim + 1], :dim]
        weights = np.linalg.solve(np.vstack([vertices.T, np.ones(dim + 1)]), np.append(position, 1.0))
        worst = int(np.argmin(weights))
        if weights[worst] >= -1e-9:
            return simplex
        simplex = int(grid.neighbors[simplex, worst])
        if simplex < 0:
            return -1
    raise AssertionError("the walk does not end")


def spanned(dim: int, full: int, num_points: int = 60) -> np.ndarray:
    """Random points in a plane of `dim` dimensions in a space of `full`."""
    return np.ascontiguousarray(RNG.uniform(100, 900, (num_points, dim)) @ RNG.normal(size=(dim, full)) + 50.0)


@pytest.mark.parametrize(("dim", "full"), [(1, 1), (1, 2), (1, 6), (2, 2), (2, 4), (2, 6), (3, 3), (3, 6)])
def test_projection_recovers_the_points(dim: int, full: int) -> None:
    points = spanned(dim, full)
    grid = build_grid(points)
    assert grid.dim == dim
    np.testing.assert_allclose(grid.rotation.T @ grid.rotation, np.eye(full), atol=1e-12)
    np.testing.assert_allclose(grid.points[:, :dim] @ grid.rotation[:, :dim].T + grid.delta, points, rtol=1e-9)
    assert not np.any(grid.points[:, dim:])
    assert np.all(grid.simplices[:, : dim + 1] >= 0)
    assert np.all(grid.simplices[:, dim + 1 :] == -1)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_neighbours_lie_opposite_their_vertex(dim: int) -> None:
    grid = build_grid(spanned(dim, 4))
    for simplex, (vertices, neighbours) in enumerate(zip(grid.simplices, grid.neighbors, strict=True)):
        for k in range(dim + 1):
            if neighbours[k] >= 0:
                shared = set(vertices[: dim + 1]) - {vertices[k]}
                assert shared <= set(grid.simplices[neighbours[k]])
                assert simplex in grid.neighbors[neighbours[k]]


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_walk_from_the_start_table_finds_every_position(dim: int) -> None:
    grid = build_grid(spanned(dim, 4, 200))
    assert grid.bucket_start.size == np.prod(grid.bucket_shape)
    assert 200 <= grid.bucket_start.size <= 400
    assert np.all((grid.bucket_start >= 0) & (grid.bucket_start < len(grid.simplices)))
    for simplex in range(0, len(grid.simplices), 7):
        centroid = grid.points[grid.simplices[simplex, : dim + 1], :dim].mean(axis=0)
        assert locate(grid, centroid) == simplex
    assert locate(grid, grid.points[:, :dim].max(axis=0) + 1.0) == -1


def test_intervals_of_one_dimension() -> None:
    grid = build_grid(np.array([[300.0, 300.0], [100.0, 100.0], [200.0, 200.0], [100.0, 100.0]]))
    assert grid.dim == 1
    sorted_points = np.argsort(grid.points[:, 0], kind="stable")
    intervals = [tuple(interval[:2]) for interval in grid.simplices.tolist()]
    by_position = {grid.points[p, 0]: int(p) for p in sorted_points[::-1]}  # the first of equal points counts
    order = [by_position[x] for x in sorted(by_position)]
    assert intervals == [(order[0], order[1]), (order[1], order[2])]
    assert grid.neighbors[:, :2].tolist() == [[1, -1], [-1, 0]]


def test_centre_is_the_plain_running_mean() -> None:
    points = RNG.uniform(0, 1e3, (999, 2))
    total = [0.0, 0.0]
    for row in points.tolist():
        total = [total[0] + row[0], total[1] + row[1]]
    np.testing.assert_array_equal(build_grid(points).delta, np.array(total) / 999)


def test_rotation_uses_every_third_row_of_large_grids() -> None:
    points = spanned(2, 4, 4100)
    grid = build_grid(points)
    sample = (points - grid.delta)[::3]
    np.testing.assert_array_equal(grid.rotation, scipy.linalg.svd(sample, full_matrices=False)[2].T)
    assert not np.array_equal(grid.rotation, scipy.linalg.svd(points - grid.delta, full_matrices=False)[2].T)


def test_single_points_have_no_simplices() -> None:
    for points in (np.array([[100.0, 50.0]]), np.full((3, 2), 7.0)):
        grid = build_grid(points)
        assert grid.dim == 0
        assert len(grid.simplices) == 0
        assert grid.bucket_start.tolist() == [-1]


def test_unusable_grids_say_why() -> None:
    with pytest.raises(GridError, match="7 coordinates"):
        build_grid(RNG.uniform(size=(10, 7)))
    with pytest.raises(GridError, match="span 4 dimensions"):
        build_grid(RNG.uniform(0, 100, (30, 4)))


def test_digest_sees_values_order_and_shape() -> None:
    points = spanned(2, 4)
    changed = points.copy()
    changed[0, 0] = np.nextafter(changed[0, 0], np.inf)
    digests = {points_digest(p) for p in (points, points[::-1], points.reshape(-1, 2), changed)}
    assert len(digests) == 4
    assert points_digest(points.copy()) in digests
