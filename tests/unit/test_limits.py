"""Upper limits: known limits of CLs, published numbers, failures."""

from __future__ import annotations

import math

import pytest
from scipy.stats import norm

from inference.likelihoods.covariance import CovarianceLikelihood, CovarianceModel
from inference.likelihoods.protocol import LogRatio
from inference.likelihoods.single_region import SingleRegionLikelihood
from inference.limits import (
    AsimovConvention,
    LimitSettings,
    TestStatistic,
    cls_value,
    compute_cls,
    find_expected_limits,
    find_upper_limit,
    find_upper_limits,
)
from inference.limits.crossing import find_crossing
from inference.limits.statistics import expected_cls, expected_root, log_cls, straighten
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


@pytest.mark.parametrize("statistic", list(TestStatistic))
@pytest.mark.parametrize(("q", "q_asimov"), [(1.0, 4.0), (4.0, 1.0), (3.9, 4.0), (30.0, 80.0), (900.0, 1.0)])
def test_slope_of_cls_is_its_derivative(statistic: TestStatistic, q: float, q_asimov: float) -> None:
    dq, dq_asimov, step = 0.7, 1.3, 1e-6
    up, down = (log_cls(q + sign * step * dq, q_asimov + sign * step * dq_asimov, statistic=statistic) for sign in (1.0, -1.0))
    here = log_cls(q, q_asimov, dq, dq_asimov, statistic)
    assert here.slope == pytest.approx((up.value - down.value) / (2.0 * step), rel=1e-4)
    assert straighten(here)[1] == pytest.approx((straighten(up)[0] - straighten(down)[0]) / (2.0 * step), rel=1e-4)


def test_cls_far_in_the_tail_keeps_its_logarithm() -> None:
    """q = q_A = x²: CLs = 2 Φ(-x); ln Φ(-100) = -5005.5242 by its asymptotic series."""
    assert log_cls(1e4, 1e4).value == pytest.approx(math.log(2.0) - 5005.5242, abs=1e-4)
    assert straighten(log_cls(1e4, 1e4))[0] == pytest.approx(100.0, rel=1e-12)


def test_expected_limits_of_a_gaussian() -> None:
    """μ_up+N = σ (Φ⁻¹(1 - α Φ(N)) + N), arXiv:1007.1727 equation 89."""
    found = find_expected_limits(SingleRegionLikelihood(1e8, 1e8, 3e4, 1e4))
    sigma = math.sqrt(1e9) / 1e4
    for n, value in zip((-2, -1, 0, 1, 2), found.values, strict=True):
        assert value == pytest.approx(sigma * (norm.isf(0.05 * norm.cdf(n)) + n), rel=1e-3)
        assert expected_cls(expected_root(n) ** 2, n) == pytest.approx(0.05, abs=1e-12)


def test_expected_limits_do_not_see_a_priori_what_was_observed() -> None:
    few, many = (find_expected_limits(SingleRegionLikelihood(n, 10.0, 2.0, 3.0, DataKind.APRIORI)) for n in (5.0, 18.0))
    assert few == many
    few, many = (find_expected_limits(SingleRegionLikelihood(n, 10.0, 2.0, 3.0)) for n in (5.0, 18.0))
    assert few.median < many.median  # a posteriori the background follows the data


def test_cls_at_the_limit_is_five_per_cent() -> None:
    region = SingleRegionLikelihood(14.0, 10.0, 2.0, 3.0)
    for statistic in TestStatistic:
        for convention in AsimovConvention:
            settings = LimitSettings(statistic=statistic, asimov=convention)
            limits = find_upper_limits(region, settings)
            assert compute_cls(region, limits.observed.mu_ul, settings).observed == pytest.approx(0.05, abs=1e-9)
            for n, value in enumerate(limits.expected.values):
                assert compute_cls(region, value, settings).expected[n] == pytest.approx(0.05, abs=1e-9)
            assert limits.observed.r == 1.0 / limits.observed.mu_ul


def test_observed_limit_costs_few_fits() -> None:
    for n in (0.0, 5.0, 10.0, 30.0):
        assert find_upper_limit(SingleRegionLikelihood(n, 10.0, 2.0, 3.0)).num_evaluations <= 5


@pytest.mark.parametrize("guess", [0.1, 1.0, 3.0, 1e4])
def test_crossing_with_a_wrong_guess_or_without_slopes(guess: float) -> None:
    for slope in (1.0, math.nan, -1.0, 1e-12):
        found = find_crossing(lambda x, slope=slope: (x - 2.0, slope), low=0.0, guess=guess, width=0.3)
        assert found.outcome is Outcome.OK
        assert found.position == pytest.approx(2.0, rel=1e-7)


def test_crossing_at_a_jump() -> None:
    """A fit that changes its minimum makes curves jump: the crossing is there, whatever the slopes promise."""
    found = find_crossing(lambda x: (-1.0 if x < 3.7 else 2.0, 5.0), low=0.0, guess=1.0, width=1.0)
    assert (found.outcome, found.position) == (Outcome.OK, pytest.approx(3.7, rel=1e-7))


def test_crossing_walks_around_failing_evaluations() -> None:
    def curve(x: float) -> tuple[float, float]:
        return (math.nan, math.nan) if x > 5.0 else (x - 4.9, 1.2)

    assert find_crossing(curve, low=0.0, guess=20.0, width=1.0).position == pytest.approx(4.9, rel=1e-5)
    assert find_crossing(curve, low=0.0, guess=1e7, width=1e7).position == pytest.approx(4.9, rel=1e-5)
    failed = find_crossing(lambda x: (math.nan, math.nan), low=0.0, guess=1.0, width=1.0)
    assert failed.outcome is Outcome.FIT_FAILED
    assert failed.num_evaluations < 20


def test_a_curve_that_never_crosses_has_no_limit() -> None:
    found = find_crossing(lambda x: (-1.0 / (1.0 + x), 1.0 / (1.0 + x) ** 2), low=0.0, guess=1.0, width=1.0)
    assert (found.position, found.outcome) == (math.inf, Outcome.NON_FINITE)


class _Deceiving:
    """ln L with a second, higher maximum that the free fit missed."""

    outcome, is_concave, mu_hat, sigma_mu = Outcome.OK, False, 1.0, 1.0

    def nll(self, mu: float) -> float:
        return -self.log_ratio(mu).value

    def log_ratio(self, mu: float) -> LogRatio:
        near, far = 0.5 - 0.5 * (mu - 1.0) ** 2, 4.0 - 0.5 * (mu - 3.0) ** 2
        return LogRatio(near, 1.0 - mu) if near > far else LogRatio(far, 3.0 - mu)

    def asimov(self) -> SingleRegionLikelihood:
        return SingleRegionLikelihood(100.0, 100.0, 0.0, 10.0)


def test_a_better_maximum_found_on_the_way_counts_as_the_free_fit() -> None:
    limit = find_upper_limit(_Deceiving())
    assert limit.outcome is Outcome.OK
    assert limit.mu_ul > 3.0 + 1.5
