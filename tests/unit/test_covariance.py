"""Covariance likelihood: limits in which it is known, against a general minimiser, and its failures."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize

from inference.likelihoods.covariance import CovarianceLikelihood, CovarianceModel, second_order_terms
from inference.likelihoods.single_region import SingleRegionLikelihood, profile_single_regions
from inference.limits import AsimovConvention, LimitSettings, TestStatistic, find_upper_limit, find_upper_limits
from inference.settings import Conventions
from inference.types import DataKind, Outcome

Array = NDArray[np.float64]


def random_model(rng: np.random.Generator, size: int) -> tuple[Array, Array, Array, Array]:
    """Counts, backgrounds, covariance and signal with sizeable correlations and some empty bins."""
    background = 10.0 ** rng.uniform(-0.7, 2.0, size)
    sd = background * rng.uniform(0.1, 0.9, size)
    factors = rng.normal(size=(size, 3))
    correlation = factors @ factors.T + np.diag(rng.uniform(0.5, 2.0, size))
    scale = np.sqrt(np.diag(correlation))
    covariance = correlation / np.outer(scale, scale) * np.outer(sd, sd)
    observed = rng.poisson(np.maximum(0.0, rng.multivariate_normal(background, covariance))).astype(float)
    return observed, background, covariance, rng.uniform(0.0, 0.5, size) * np.sqrt(background) + 0.01


def direct_nll(theta: Array, mu: float, n: Array, b: Array, covariance: Array, s: Array) -> float:
    """-ln L straight from its definition."""
    mean = mu * s + b + theta
    if (mean <= 0.0).any():
        return math.inf
    poisson = float(np.sum(mean - n * np.log(mean))) + sum(math.lgamma(x + 1.0) for x in n)
    return poisson + 0.5 * float(theta @ np.linalg.solve(covariance, theta)) + 0.5 * float(np.linalg.slogdet(2 * np.pi * covariance)[1])


@pytest.mark.parametrize("conventions", [Conventions.DEFAULT, Conventions.SMODELS])
def test_diagonal_covariance_is_a_product_of_single_regions(conventions: Conventions) -> None:
    n, b, delta, s = np.array([0.0, 3, 8, 12]), np.array([0.2, 5, 3.8, 10]), np.array([0.5, 1, 1, 4.0]), np.array([1, 2, 0.5, 0])
    likelihood = CovarianceLikelihood(CovarianceModel(n, b, np.diag(delta**2), conventions=conventions), s)
    for mu in (0.0, 1.0, 7.5):
        regions = profile_single_regions(mu, n, b, delta, s, conventions)
        fit = likelihood.fit(mu)
        assert fit.nll == pytest.approx(regions.nll.sum(), abs=1e-9)
        assert fit.slope == pytest.approx(regions.slope.sum(), abs=1e-6)


def test_one_bin_agrees_with_the_closed_form() -> None:
    one = CovarianceLikelihood(CovarianceModel([8.0], [3.8], [[1.0]]), [2.1])
    closed = SingleRegionLikelihood(8.0, 3.8, 1.0, 2.1)
    assert one.mu_hat == pytest.approx(closed.mu_hat, rel=1e-7)
    assert one.sigma_mu == pytest.approx(closed.sigma_mu, rel=1e-6)
    assert one.log_ratio(1.3).value == pytest.approx(closed.log_ratio(1.3).value, abs=1e-9)
    assert find_upper_limit(one).mu_ul == pytest.approx(find_upper_limit(closed).mu_ul, rel=1e-6)


@pytest.mark.parametrize("seed", range(12))
def test_fit_is_the_bounded_minimum(seed: int) -> None:
    """Against L-BFGS-B on the definition, with the default bound b + θ >= 0."""
    n, b, covariance, s = random_model(np.random.default_rng(seed), 6)
    likelihood = CovarianceLikelihood(CovarianceModel(n, b, covariance), s)
    inverse = np.linalg.inv(covariance)
    for mu in (0.0, 1.0, 6.0):
        fit = likelihood.fit(mu)
        assert fit.outcome is Outcome.OK

        def gradient(theta: Array, mu: float = mu) -> Array:
            result: Array = inverse @ theta + 1.0 - n / (mu * s + b + theta)
            return result

        starts = (np.where(n > 0, 0.0, -0.5 * b), fit.pulls * likelihood.model.sd * 0.9)
        best = min(
            minimize(
                direct_nll, start, (mu, n, b, covariance, s), jac=lambda t, *_: gradient(t), method="L-BFGS-B",
                bounds=[(-x + 1e-10, None) for x in b], options={"ftol": 1e-15, "gtol": 1e-9, "maxiter": 2000},
            ).fun
            for start in starts
        )  # fmt: skip
        assert fit.nll == pytest.approx(best, abs=2e-6)
        assert fit.nll <= best + 1e-8


@pytest.mark.parametrize("third", [False, True])
def test_derivatives(third: bool) -> None:
    n, b, covariance, s = random_model(np.random.default_rng(3), 8)
    m3 = 0.4 * np.diag(covariance) ** 1.5 if third else None
    likelihood = CovarianceLikelihood(CovarianceModel(n, b, covariance, m3), s)
    for mu in (0.5, 2.0):
        up, down, here = (likelihood.fit(m) for m in (mu + 1e-4, mu - 1e-4, mu))
        assert here.slope == pytest.approx((up.nll - down.nll) / 2e-4, abs=1e-5)
        assert here.curvature == pytest.approx((up.slope - down.slope) / 2e-4, rel=1e-4)


def test_second_order_reproduces_the_moments() -> None:
    """b + Bz + C(z²-1) with z ~ N(0, 1): variance B² + 2C², third moment 6B²C + 8C³; covariance B_iB_jρ + 2C_iC_jρ²."""
    covariance = np.array([[4.0, 1.5], [1.5, 9.0]])
    m3 = np.array([5.0, -11.0])
    terms = second_order_terms(np.array([10.0, 20.0]), covariance, m3)
    assert (terms.B**2 + 2 * terms.C**2).tolist() == pytest.approx([4.0, 9.0])
    assert (6 * terms.B**2 * terms.C + 8 * terms.C**3).tolist() == pytest.approx(m3.tolist())
    rho = terms.covariance[0, 1] / (terms.B[0] * terms.B[1])
    assert terms.B[0] * terms.B[1] * rho + 2 * terms.C[0] * terms.C[1] * rho**2 == pytest.approx(1.5)
    assert np.array([10.0, 20.0]) - terms.C == pytest.approx(terms.A)


def test_vanishing_third_moments_give_the_first_order_model() -> None:
    n, b, covariance, s = random_model(np.random.default_rng(8), 5)
    first = CovarianceLikelihood(CovarianceModel(n, b, covariance), s)
    second = CovarianceLikelihood(CovarianceModel(n, b, covariance, np.zeros(5)), s)
    assert second.nll(1.0) == pytest.approx(first.nll(1.0), abs=1e-7)
    assert first.is_concave
    assert not second.is_concave


def test_impossible_third_moment_is_a_failure_not_a_number() -> None:
    likelihood = CovarianceLikelihood(CovarianceModel([3.0], [3.0], [[1.0]], [3.0]), [1.0])
    assert likelihood.outcome is Outcome.FIT_FAILED
    assert math.isnan(likelihood.nll(1.0))
    assert math.isnan(likelihood.log_ratio(1.0).value)
    assert math.isnan(likelihood.mu_hat)


def test_singular_covariance_is_lifted_and_reported() -> None:
    model = CovarianceModel([5.0, 6.0], [5.0, 6.0], [[1.0, 2.0], [2.0, 4.0]])
    assert model.is_floored
    assert model.min_eigenvalue < 1e-12
    fit = CovarianceLikelihood(model, [1.0, 1.0]).fit(1.0)
    assert fit.outcome is Outcome.OK
    assert fit.pulls[0] == pytest.approx(fit.pulls[1], abs=1e-4)


def test_no_background_and_something_observed() -> None:
    """b = 0: the nuisance must supply the counts at μ = 0; the ratio stays finite."""
    likelihood = CovarianceLikelihood(CovarianceModel([2.0, 1.0], [0.0, 3.0], [[1.0, 0.1], [0.1, 1.0]]), [1.0, 0.5])
    assert math.isfinite(likelihood.nll(0.0))
    assert likelihood.mu_hat > 0.0
    assert likelihood.log_ratio(likelihood.mu_hat).slope == pytest.approx(0.0, abs=1e-6)


def test_a_priori_best_fit_is_zero() -> None:
    n, b, covariance, s = random_model(np.random.default_rng(2), 7)
    assert CovarianceLikelihood(CovarianceModel(n, b, covariance), s, DataKind.APRIORI).mu_hat == 0.0


def test_asimov_data_are_the_fitted_background() -> None:
    n, b, covariance, s = random_model(np.random.default_rng(2), 7)
    model = CovarianceModel(n, b, covariance)
    counts = model.data(DataKind.APOSTERIORI).counts
    assert counts == pytest.approx(b + model.background_fit(DataKind.OBSERVED).pulls * model.sd)
    by_method, by_kind = CovarianceLikelihood(model, s).asimov(), CovarianceLikelihood(model, s, DataKind.APOSTERIORI)
    assert by_method.nll(1.0) == pytest.approx(by_kind.nll(1.0), abs=1e-9)


def test_no_signal_is_flat() -> None:
    model = CovarianceModel([4.0, 4.0], [3.0, 5.0], np.eye(2))
    likelihood = CovarianceLikelihood(model, [0.0, 0.0])
    assert likelihood.mu_hat == 0.0
    assert likelihood.sigma_mu == math.inf
    assert likelihood.log_ratio(5.0).value == pytest.approx(0.0, abs=1e-10)


def test_background_held_at_zero_keeps_its_limits() -> None:
    """Nothing seen in a bin with b = 0.1 ± 0.7: the fit holds its background at 0, and the Asimov data have exactly nothing there."""
    model = CovarianceModel([0.0, 7.0], [0.1, 6.0], [[0.49, 0.1], [0.1, 2.0]])
    likelihood = CovarianceLikelihood(model, [0.4, 1.0])
    assert likelihood.asimov().data.counts[0] == 0.0
    for convention in AsimovConvention:
        for statistic in TestStatistic:
            limits = find_upper_limits(likelihood, LimitSettings(asimov=convention, statistic=statistic))
            assert limits.observed.outcome is limits.expected.outcome is Outcome.OK
            assert 1.0 < limits.observed.mu_ul < 20.0
    for mu in (-0.05, -0.2):  # with a negative signal, background and signal together stay >= 0
        fit = likelihood.fit(mu)
        assert fit.outcome is Outcome.OK
        assert 0.1 + model.sd[0] * fit.pulls[0] + mu * 0.4 >= -1e-12
        step = 1e-5
        assert fit.slope == pytest.approx((likelihood.fit(mu + step).nll - likelihood.fit(mu - step).nll) / (2 * step), rel=1e-3, abs=1e-3)


def test_a_background_too_small_to_divide_by_is_an_outcome() -> None:
    """1e-308 events, seven observed: inf and nan in the arithmetic end in a typed outcome or a number, never in an exception."""
    likelihood = CovarianceLikelihood(CovarianceModel([7.0, 1.0], [1e-308, 2.0], [[1e-300, 0.0], [0.0, 1.0]]), [1.0, 1.0])
    for mu in (0.0, 1.0):
        assert math.isfinite(likelihood.nll(mu)) == (likelihood.fit(mu).outcome is Outcome.OK)
