"""The best combination at one given signal strength, for models whose cross sections are meant as they are.

Nothing is profiled: at fixed μ the best set is the heaviest maximal clique with the weights ln L_i(μ)/L_i(0) (`inference.cliques`).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from inference.cliques import BoolMatrix, CliqueSearch
from inference.combination import CombinationResult
from inference.likelihoods.batch import CurveSet
from inference.settings import CombinationRule
from inference.types import Outcome


def combine_at(
    curve_set: CurveSet, is_combinable: BoolMatrix, mu: float, rule: CombinationRule = CombinationRule.MAXIMAL, min_members: int = 1
) -> CombinationResult:
    """Best combination at one signal strength.

    Args:
        curve_set: likelihoods, length n.
        is_combinable: symmetric, shape (n, n); the diagonal is ignored.
        mu: the signal strength.
        rule: maximal; free: members that hurt are dropped; legacy-offset: weights lifted by |min w| + 1 if any is negative.
        min_members: 1, or 2 to leave out curves that cannot be combined with any other.

    Returns:
        The combination, `mu_hat` being μ; curves without a number there are left out and listed as failures.

    Examples:
        >>> from inference.likelihoods.truncated_gaussian import TruncatedGaussianLikelihood
        >>> curves = CurveSet([TruncatedGaussianLikelihood(1.0, 0.5), TruncatedGaussianLikelihood(-1.0, 1.0)])
        >>> result = combine_at(curves, ~np.eye(2, dtype=bool), 1.0)
        >>> result.members, result.tl
        ((0, 1), 1.0)
    """
    value, _ = curve_set.at(mu)
    is_usable = curve_set.is_usable & np.isfinite(value)
    failures = tuple(np.flatnonzero(~is_usable).tolist())
    nodes: NDArray[np.int64] = np.flatnonzero(is_usable)
    if min_members == 2:
        partners = is_combinable[np.ix_(nodes, nodes)].copy()
        np.fill_diagonal(partners, False)
        nodes = nodes[partners.any(axis=1)]
    if nodes.size == 0:
        return CombinationResult((), 0.0, math.nan, (), Outcome.NO_LIKELIHOOD, failures)
    weights = value[nodes]
    search = CliqueSearch(is_combinable[np.ix_(nodes, nodes)])
    if rule is CombinationRule.FREE:
        _, is_member = search.heaviest(np.maximum(weights, 0.0))
        is_member = is_member & (weights > 0.0)
    elif rule is CombinationRule.LEGACY_OFFSET and weights.min() < 0.0:
        lifted = 2.0 * weights
        _, is_member = search.heaviest(lifted + (1.0 - lifted.min()))
    else:
        _, is_member = search.heaviest(weights)
    members = tuple(nodes[is_member].tolist())
    log_ratios = tuple(value[list(members)].tolist())
    return CombinationResult(members, mu, 2.0 * math.fsum(log_ratios), log_ratios, Outcome.OK, failures, 1)
