"""Combinations at a given signal strength: the heaviest maximal clique of the weights there, for every rule."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from inference.fixed_strength import combine_at
from inference.likelihoods.batch import CurveSet
from inference.likelihoods.single_region import SingleRegionLikelihood
from inference.likelihoods.truncated_gaussian import TruncatedGaussianLikelihood
from inference.settings import CombinationRule
from inference.types import Outcome


def maximal_sets(graph: np.ndarray[tuple[int, int], np.dtype[np.bool_]]) -> list[tuple[int, ...]]:
    size = len(graph)
    sets = [
        set(c)
        for n in range(1, size + 1)
        for c in itertools.combinations(range(size), n)
        if all(graph[i, j] for i, j in itertools.combinations(c, 2))
    ]
    return [tuple(sorted(c)) for c in sets if not any(all(graph[i, j] for j in c) for i in range(size) if i not in c)]


def test_equals_enumeration() -> None:
    rng = np.random.default_rng(11)
    for _ in range(60):
        size = int(rng.integers(1, 8))
        curves = [TruncatedGaussianLikelihood(float(rng.normal(0.5, 1.0)), float(rng.uniform(0.2, 2.0))) for _ in range(size)]
        upper = np.triu(rng.random((size, size)) < 0.6, 1)
        graph = upper | upper.T
        mu = float(rng.uniform(0.1, 3.0))
        weights = [curve.log_ratio(mu).value for curve in curves]
        found = combine_at(CurveSet(curves), graph, mu)
        best = max(maximal_sets(graph), key=lambda c: sum(weights[i] for i in c))
        assert found.members == best
        assert found.tl == pytest.approx(2 * sum(weights[i] for i in best))
        assert found.mu_hat == mu
        free = combine_at(CurveSet(curves), graph, mu, CombinationRule.FREE)
        assert free.tl >= max(0.0, found.tl) - 1e-12
        assert all(value > 0 for value in free.log_ratios)


def test_a_model_that_the_data_do_not_like_keeps_its_negative_statistic() -> None:
    found = combine_at(CurveSet([TruncatedGaussianLikelihood(-1.0, 0.5)]), np.zeros((1, 1), dtype=np.bool_), 1.0)
    assert found.tl == pytest.approx(-12.0)


def test_offset_favours_large_sets() -> None:
    """10 alone against 2, 1 and -6 together: the lifted search takes the three."""
    curves = [TruncatedGaussianLikelihood((w + 1.0) / 2.0, 1.0) for w in (10.0, 2.0, 1.0, -6.0)]
    graph = np.zeros((4, 4), dtype=np.bool_)
    graph[1:, 1:] = ~np.eye(3, dtype=np.bool_)
    assert combine_at(CurveSet(curves), graph, 1.0).members == (0,)
    offset = combine_at(CurveSet(curves), graph, 1.0, CombinationRule.LEGACY_OFFSET)
    assert offset.members == (1, 2, 3)
    assert offset.tl == pytest.approx(-3.0)


def test_failures_and_lone_results_are_left_out() -> None:
    curves = [SingleRegionLikelihood(5.0, 0.0, 0.0, 1.0), TruncatedGaussianLikelihood(1.0, 1.0), TruncatedGaussianLikelihood(0.5, 1.0)]
    graph = np.zeros((3, 3), dtype=np.bool_)
    found = combine_at(CurveSet(curves), graph, 1.0)
    assert (found.members, found.failures) == ((1,), (0,))
    lone = combine_at(CurveSet(curves), graph, 1.0, min_members=2)
    assert (lone.outcome, lone.members) == (Outcome.NO_LIKELIHOOD, ())
    assert math.isnan(lone.tl)
