"""The heaviest maximal clique, against three searches of other kinds: every subset, every maximal clique, and a PathFinder-style search."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from database.results.combinability import build_combinability
from database.results.store import ResultsStore
from inference.cliques import MAX_LISTED_CLIQUES, CliqueSearch

SEED = int(os.environ.get("PROTOMODELS_TEST_SEED", "20240824"))
Graph = NDArray[np.bool_]
NUM_GRAPHS = 1000


def random_graph(rng: np.random.Generator, size: int) -> Graph:
    upper = np.triu(rng.random((size, size)) < rng.uniform(0.05, 0.95), 1)
    return upper | upper.T


def neighbours(graph: Graph) -> list[int]:
    """Bitset of each node's neighbours."""
    return [sum(1 << int(j) for j in np.flatnonzero(row)) for row in graph]


def heaviest_of_all_subsets(graph: Graph, weights: NDArray[np.float64]) -> float:
    """Largest weight of a maximal clique by looking at all 2^n subsets, a doubling per node."""
    adjacent = neighbours(graph)
    everything = (1 << len(weights)) - 1
    subset, total = np.zeros(1, dtype=np.int64), np.zeros(1)
    is_clique, common = np.ones(1, dtype=np.bool_), np.full(1, everything, dtype=np.int64)
    for node, weight in enumerate(weights):
        joins = is_clique & ((subset & adjacent[node]) == subset)
        total = np.concatenate([total, total + weight])
        is_clique = np.concatenate([is_clique, joins])
        common = np.concatenate([common, common & adjacent[node]])
        subset = np.concatenate([subset, subset | (1 << node)])
    is_maximal = is_clique & (common == 0)
    return float(total[is_maximal].max())


def list_maximal_cliques(adjacent: list[int], chosen: int, candidates: int, excluded: int) -> Iterator[int]:
    """Every maximal clique as a bitset (Bron and Kerbosch with a pivot)."""
    if not candidates and not excluded:
        yield chosen
        return
    union = candidates | excluded
    pivot = max((i for i in range(len(adjacent)) if union >> i & 1), key=lambda i: (candidates & adjacent[i]).bit_count())
    branches = candidates & ~adjacent[pivot]
    for node in [i for i in range(len(adjacent)) if branches >> i & 1]:
        bit = 1 << node
        yield from list_maximal_cliques(adjacent, chosen | bit, candidates & adjacent[node], excluded & adjacent[node])
        candidates &= ~bit
        excluded |= bit


def entangled_blocks(graph: Graph) -> list[list[int]]:
    """Connected components of the incompatibility graph."""
    left, blocks = set(range(len(graph))), []
    while left:
        block, pending = set[int](), [left.pop()]
        while pending:
            node = pending.pop()
            block.add(node)
            new = {j for j in left if not graph[node, j]}
            left -= new
            pending.extend(new)
        blocks.append(sorted(block))
    return blocks


def search_like_pathfinder(graph: Graph, weights: NDArray[np.float64]) -> float:
    """Weighted hereditary depth-first search: nodes by weight, a branch ends when what is left cannot beat the best path.

    Every node is a source once and continues to later compatible nodes only, as PathFinder does; weights must not be negative.
    """
    order = np.argsort(-weights, kind="stable")
    ordered = weights[order]
    adjacent = neighbours(graph[np.ix_(order, order)])
    best = 0.0

    def extend(total: float, allowed: int) -> None:
        nonlocal best
        best = max(best, total)
        while allowed:
            if total + sum(ordered[i] for i in range(len(ordered)) if allowed >> i & 1) <= best:
                return
            node = (allowed & -allowed).bit_length() - 1
            allowed &= ~(1 << node)
            extend(total + float(ordered[node]), allowed & adjacent[node])

    extend(0.0, (1 << len(ordered)) - 1)
    return best


@pytest.mark.parametrize("batch", range(10))
def test_signed_weights_against_every_subset(batch: int) -> None:
    """1000 graphs of 1 to 20 nodes, weights of both signs and some equal."""
    rng = np.random.default_rng([SEED, 200, batch])
    for _ in range(NUM_GRAPHS // 10):
        size = int(rng.integers(1, 21))
        graph, weights = random_graph(rng, size), rng.normal(0.2, 1.0, size=size)
        if rng.random() < 0.3:
            weights = np.round(2.0 * weights) / 2.0
        # cliques listed once, searched with bounds, or some of each
        found, is_member = CliqueSearch(graph, max_listed=int(rng.choice([0, 20, MAX_LISTED_CLIQUES]))).heaviest(weights)
        assert found == pytest.approx(heaviest_of_all_subsets(graph, weights), abs=1e-11)
        members = np.flatnonzero(is_member)
        assert found == pytest.approx(weights[members].sum(), abs=1e-11)
        assert (graph[np.ix_(members, members)] | np.eye(len(members), dtype=np.bool_)).all(), "a clique"
        assert not (graph[members].all(axis=0) & ~is_member).any(), "nothing addable is left out"


def test_pathfinder_where_both_apply() -> None:
    """Weights that are not negative: the heaviest clique is maximal, and both searches have the same weight."""
    rng = np.random.default_rng([SEED, 201])
    for _ in range(200):
        size = int(rng.integers(1, 26))
        graph, weights = random_graph(rng, size), rng.exponential(size=size)
        found, _ = CliqueSearch(graph).heaviest(weights)
        assert found == pytest.approx(search_like_pathfinder(graph, weights), abs=1e-11)


def test_pathfinder_with_lifted_weights() -> None:
    """The reference lifts signed weights by |min| + 1: then both agree, on another set than the heaviest of the true weights."""
    rng = np.random.default_rng([SEED, 202])
    num_other_sets = 0
    for _ in range(100):
        size = int(rng.integers(2, 19))
        graph, weights = random_graph(rng, size), rng.normal(size=size)
        lifted = weights + 1.0 - min(0.0, float(weights.min()))
        search = CliqueSearch(graph)
        found, is_member = search.heaviest(lifted)
        assert found == pytest.approx(search_like_pathfinder(graph, lifted), abs=1e-11)
        num_other_sets += weights[is_member].sum() < search.heaviest(weights)[0] - 1e-9
    assert num_other_sets > 10


@pytest.mark.full_database
def test_sixty_results_of_the_real_matrix(full_store: ResultsStore) -> None:
    """Random choices of 60 results, signed weights: equal to the best of all maximal cliques, listed one by one."""
    matrix = build_combinability(full_store).is_combinable
    rng = np.random.default_rng([SEED, 203])
    for _ in range(8):
        nodes = rng.choice(len(matrix), size=60, replace=False)
        graph, weights = matrix[np.ix_(nodes, nodes)], rng.normal(size=60)
        total = 0.0
        for block in entangled_blocks(graph):
            adjacent = neighbours(graph[np.ix_(block, block)])
            cliques = list_maximal_cliques(adjacent, 0, (1 << len(block)) - 1, 0)
            total += max(sum(weights[block[i]] for i in range(len(block)) if clique >> i & 1) for clique in cliques)
        for max_listed in (0, MAX_LISTED_CLIQUES):
            assert CliqueSearch(graph, max_listed).heaviest(weights)[0] == pytest.approx(total, abs=1e-10)
