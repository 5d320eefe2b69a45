"""The branch and bound over μ finds what enumerating every maximal set finds."""

from __future__ import annotations

import itertools
import math
import os

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from inference.cliques import CliqueSearch
from inference.combination import CombinationRule, find_best_combination
from inference.likelihoods.protocol import Likelihood
from inference.likelihoods.single_region import SingleRegionLikelihood
from inference.likelihoods.truncated_gaussian import TruncatedGaussianLikelihood
from inference.types import Outcome

SEED = int(os.environ.get("PROTOMODELS_TEST_SEED", "20240824"))


def maximal_cliques(is_combinable: NDArray[np.bool_]) -> list[tuple[int, ...]]:
    """Every maximal clique, straight from the definition."""
    size = len(is_combinable)
    cliques = [
        set(c)
        for k in range(1, size + 1)
        for c in itertools.combinations(range(size), k)
        if all(is_combinable[i, j] for i, j in itertools.combinations(c, 2))
    ]
    return [tuple(sorted(c)) for c in cliques if not any(all(is_combinable[i, j] for j in c) for i in range(size) if i not in c)]


def maximise(curves: list[Likelihood], members: tuple[int, ...], mu_max: float) -> tuple[float, float]:
    """μ̂ and ln L ratio of one set; the set's best μ lies below the largest of its members' best μ."""
    top = min(mu_max, max(curves[i].mu_hat for i in members))
    if top == 0.0:
        return 0.0, 0.0

    def negative(mu: float) -> float:
        return -sum(curves[i].log_ratio(mu).value for i in members)

    best = minimize_scalar(negative, bounds=(0.0, top), method="bounded", options={"xatol": 1e-11 * top, "maxiter": 500})
    return max(((0.0, 0.0), (top, -negative(top)), (float(best.x), -float(best.fun))), key=lambda pair: pair[1])


def random_curves(rng: np.random.Generator, num_curves: int) -> list[Likelihood]:
    curves: list[Likelihood] = []
    for _ in range(num_curves):
        scale = 10.0 ** rng.uniform(-1.0, 1.0)
        if rng.random() < 0.5:
            curves.append(TruncatedGaussianLikelihood(rng.normal(0.3, 1.5) * scale, scale))
        else:
            background = 10.0 ** rng.uniform(-1.0, 2.0)
            error = background * rng.uniform(0.05, 0.6)
            observed = float(rng.poisson(max(0.0, rng.normal(background * 1.2, error))))
            curves.append(SingleRegionLikelihood(observed, background, error, scale * math.sqrt(background)))
    return curves


def random_graph(rng: np.random.Generator, size: int) -> NDArray[np.bool_]:
    upper = np.triu(rng.random((size, size)) < rng.uniform(0.1, 0.95), 1)
    return upper | upper.T


@pytest.mark.parametrize("batch", range(10))
def test_maximal_rule_equals_enumeration(batch: int) -> None:
    rng = np.random.default_rng([SEED, batch])
    for _ in range(35):
        size = int(rng.integers(1, 9))
        curves, graph = random_curves(rng, size), random_graph(rng, size)
        mu_max = math.inf if rng.random() < 0.5 else float(10.0 ** rng.uniform(-1.5, 1.0))
        result = find_best_combination(curves, graph, mu_max)
        best = max(maximise(curves, c, mu_max)[1] for c in maximal_cliques(graph))
        assert result.outcome is Outcome.OK
        assert result.members in maximal_cliques(graph)
        assert 0.5 * result.tl == pytest.approx(best, abs=2e-8, rel=1e-9)
        assert 0.0 <= result.mu_hat <= mu_max
        mu_hat, _ = maximise(curves, result.members, mu_max)
        assert result.mu_hat == pytest.approx(mu_hat, rel=1e-4, abs=1e-6)
        assert sum(result.log_ratios) == pytest.approx(0.5 * result.tl, abs=1e-12)


@pytest.mark.parametrize("batch", range(4))
def test_free_rule_equals_enumeration_of_all_sets(batch: int) -> None:
    rng = np.random.default_rng([SEED, 100 + batch])
    for _ in range(20):
        size = int(rng.integers(1, 7))
        curves, graph = random_curves(rng, size), random_graph(rng, size)
        result = find_best_combination(curves, graph, rule=CombinationRule.FREE)
        subsets = [
            c
            for k in range(1, size + 1)
            for c in itertools.combinations(range(size), k)
            if all(graph[i, j] for i, j in itertools.combinations(c, 2))
        ]
        best = max(0.0, *(maximise(curves, c, math.inf)[1] for c in subsets))
        assert 0.5 * result.tl == pytest.approx(best, abs=2e-8, rel=1e-9)
        assert all(graph[i, j] for i, j in itertools.combinations(result.members, 2))
        assert all(value > 0.0 for value in result.log_ratios)


def test_free_rule_never_below_maximal_rule_and_cap_never_helps() -> None:
    rng = np.random.default_rng([SEED, 7])
    for _ in range(40):
        size = int(rng.integers(2, 25))
        curves, graph = random_curves(rng, size), random_graph(rng, size)
        maximal = find_best_combination(curves, graph)
        capped = find_best_combination(curves, graph, mu_max=0.5 * maximal.mu_hat)
        assert find_best_combination(curves, graph, rule=CombinationRule.FREE).tl >= maximal.tl - 1e-7
        assert capped.tl <= maximal.tl + 1e-7
        assert capped.mu_hat <= 0.5 * maximal.mu_hat


def test_result_does_not_depend_on_the_order_of_the_curves() -> None:
    rng = np.random.default_rng([SEED, 8])
    for _ in range(30):
        size = int(rng.integers(2, 20))
        curves, graph = random_curves(rng, size), random_graph(rng, size)
        order = rng.permutation(size)
        first = find_best_combination(curves, graph)
        second = find_best_combination([curves[i] for i in order], graph[np.ix_(order, order)])
        assert second.tl == pytest.approx(first.tl, abs=1e-7)


def test_clique_search_equals_enumeration_with_signed_weights() -> None:
    rng = np.random.default_rng([SEED, 9])
    for _ in range(300):
        size = int(rng.integers(1, 11))
        graph, weights = random_graph(rng, size), rng.normal(size=size)
        weight, is_member = CliqueSearch(graph).heaviest(weights)
        expected = max(sum(weights[i] for i in c) for c in maximal_cliques(graph))
        assert weight == pytest.approx(expected, abs=1e-12)
        assert tuple(np.flatnonzero(is_member)) in maximal_cliques(graph)


def test_blocks_of_more_than_one_word() -> None:
    """A disjoint union of triangles in the compatibility graph, 129 nodes: the heaviest triangle wins."""
    size = 129
    graph = np.zeros((size, size), dtype=bool)
    for start in range(0, size, 3):
        graph[start : start + 3, start : start + 3] = True
    np.fill_diagonal(graph, False)
    weights = np.random.default_rng([SEED, 10]).normal(size=size)
    weight, is_member = CliqueSearch(graph).heaviest(weights)
    sums = weights.reshape(-1, 3).sum(axis=1)
    assert weight == pytest.approx(sums.max(), abs=1e-12)
    assert set(np.flatnonzero(is_member)) == set(range(3 * int(sums.argmax()), 3 * int(sums.argmax()) + 3))
