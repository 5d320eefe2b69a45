"""Upper limits: known limits of CLs, published numbers, failures."""

from __future__ import annotations

import math

import pytest
from scipy.stats import norm

from inference.likelihoods.covariance import CovarianceLikelihood, CovarianceModel
from inference.likelihoods.single_region import SingleRegionLikelihood
from inference.limits import cls_value, find_upper_limit
from inference.types import DataKind, Outcome


def test_many_events_give_the_gaussian_limit() -> None:
    """n = b large, error known: CLs = 2 Φ(-μ s/σ), so the limit is 1.96 σ/s."""
    region = SingleRegionLikelihood(1e8, 1e8, 3e4, 1e4)
    sigma = math.sqrt(1e8 + 9e8)
    assert find_upper_limit(region).mu_ul == pytest.approx(norm.isf(0.025) * sigma / 1e4, rel=1e-3)


def test_excess_in_the_gaussian_limit() -> None:
    """CLs of a Gaussian: Φ(-(μ-μ̂)/σ)/Φ(μ̂/σ) = 0.05, here μ̂ = 1.5 σ."""
    region = SingleRegionLikelihood(1e8 + 1.5e4, 1e8, 1e-3, 1e4)
    expected = 1.5 - norm.ppf(0.05 * norm.cdf(1.5))
    assert find_upper_limit(region).mu_ul == pytest.approx(expected, rel=1e-3)


def test_excess_weakens_and_deficit_strengthens_the_limit() -> None:
    less, as_expected, more = (find_upper_limit(SingleRegionLikelihood(n, 10.0, 2.0, 3.0)).mu_ul for n in (5.0, 10.0, 18.0))
    assert less < as_expected < more
    apriori = find_upper_limit(SingleRegionLikelihood(5.0, 10.0, 2.0, 3.0, DataKind.APRIORI)).mu_ul
    assert apriori == pytest.approx(as_expected, rel=1e-6)


def test_nothing_observed_gives_a_finite_limit() -> None:
    limit = find_upper_limit(SingleRegionLikelihood(0.0, 0.5, 0.3, 1.0))
    assert limit.outcome is Outcome.OK
    assert 1.0 < limit.mu_ul < 4.0


def test_confidence_level() -> None:
    region = SingleRegionLikelihood(10.0, 10.0, 2.0, 3.0)
    assert find_upper_limit(region, 0.90).mu_ul < find_upper_limit(region, 0.95).mu_ul < find_upper_limit(region, 0.99).mu_ul


def test_edges_of_cls() -> None:
    assert cls_value(0.0, 0.0) == 1.0
    assert cls_value(0.0, 10.0) == pytest.approx(0.5 / norm.cdf(math.sqrt(10.0)))
    assert cls_value(4.0, 0.0) == 1.0
    assert cls_value(1e4, 1.0) == pytest.approx(0.0, abs=1e-12)


def test_failures_are_outcomes() -> None:
    flat = find_upper_limit(SingleRegionLikelihood(10.0, 10.0, 2.0, 0.0))
    assert (flat.mu_ul, flat.outcome) == (math.inf, Outcome.NON_FINITE)
    broken = CovarianceLikelihood(CovarianceModel([3.0], [3.0], [[1.0]], [3.0]), [1.0])
    failed = find_upper_limit(broken)
    assert math.isnan(failed.mu_ul)
    assert failed.outcome is Outcome.FIT_FAILED
