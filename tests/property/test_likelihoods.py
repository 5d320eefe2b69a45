"""Properties of the likelihoods for any published numbers."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.likelihoods.covariance import CovarianceLikelihood, CovarianceModel
from inference.likelihoods.single_region import SingleRegionLikelihood
from inference.likelihoods.truncated_gaussian import build_truncated_gaussian
from inference.limits import cls_value, find_upper_limit
from inference.settings import Conventions
from inference.types import Outcome

counts = st.integers(0, 2000).map(float)
backgrounds = st.floats(0.01, 2000.0)
relative_errors = st.floats(0.01, 3.0)
signals = st.floats(1e-3, 500.0)
strengths = st.floats(0.0, 50.0)


@settings(deadline=None)  # the first call compiles
@given(counts, backgrounds, relative_errors, signals, strengths, strengths, st.sampled_from(Conventions))
def test_single_region_is_concave_and_maximal_at_mu_hat(
    n: float, b: float, relative: float, s: float, mu: float, other: float, conventions: Conventions
) -> None:
    region = SingleRegionLikelihood(n, b, relative * b, s, conventions=conventions)
    if region.outcome is not Outcome.OK:
        return
    here, there = region.log_ratio(mu), region.log_ratio(other)
    scale = 1e-9 * (1.0 + abs(here.value) + abs(there.value) + abs(region.nll(0.0)))
    assert there.value <= here.value + here.slope * (other - mu) + scale + 1e-9 * abs(here.slope * (other - mu))
    assert region.log_ratio(region.mu_hat).value >= here.value - scale


@settings(deadline=None)  # the first call compiles
@given(st.floats(1e-3, 1e3), st.floats(0.05, 50.0), st.floats(1e-3, 1e3))
def test_truncated_gaussian_scales_with_the_cross_section(ul_exp: float, ratio: float, xsec: float) -> None:
    g = build_truncated_gaussian(xsec, ratio * ul_exp, ul_exp)
    unit = build_truncated_gaussian(1.0, ratio * ul_exp, ul_exp)
    assert g.outcome is Outcome.OK
    assert math.isclose(g.centre * xsec, unit.centre, rel_tol=1e-9, abs_tol=1e-9 * ul_exp)
    assert math.isclose(g.sigma_mu * xsec, unit.sigma_mu, rel_tol=1e-12)


@settings(deadline=None)  # the first call compiles
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.floats(0.0, 30.0), st.booleans())
def test_covariance_fit_converges_and_obeys_its_bounds(seed: int, size: int, mu: float, is_second_order: bool) -> None:
    rng = np.random.default_rng(seed)
    background = 10.0 ** rng.uniform(-1.5, 2.5, size)
    sd = background * rng.uniform(0.02, 1.5, size)
    factors = rng.normal(size=(size, 2))
    correlation = factors @ factors.T + np.diag(rng.uniform(0.05, 2.0, size))
    scale = np.sqrt(np.diag(correlation))
    covariance = correlation / np.outer(scale, scale) * np.outer(sd, sd)
    third = rng.uniform(-0.5, 1.2, size) * sd**3 if is_second_order else None
    model = CovarianceModel(rng.poisson(background * rng.uniform(0.3, 2.0, size)), background, covariance, third)
    likelihood = CovarianceLikelihood(model, rng.uniform(0.0, 1.0, size) * background)
    fit = likelihood.fit(mu)
    assert fit.outcome is Outcome.OK
    lower, upper = model.bounds(model.observed)
    theta = fit.pulls * model.sd
    assert (theta >= lower - 1e-9 * model.sd).all()
    assert (theta <= upper + 1e-9 * model.sd).all()
    if not is_second_order:
        assert fit.curvature >= -1e-9
        assert fit.nll <= model.fit(mu, likelihood.signal, model.data(likelihood.data_kind), 0.5 * fit.pulls).nll + 1e-7


@settings(deadline=None)  # the first call compiles
@given(st.floats(0.0, 60.0), st.floats(0.0, 60.0), st.floats(0.0, 5.0))
def test_cls_is_a_probability_that_falls_with_the_data_statistic(q: float, q_asimov: float, more: float) -> None:
    value = cls_value(q, q_asimov)
    assert 0.0 <= value <= 1.0
    assert cls_value(q + more, q_asimov) <= value + 1e-12


@settings(deadline=None)  # the first call compiles
@given(st.integers(0, 200).map(float), st.floats(0.5, 200.0), st.floats(0.01, 0.5), st.floats(0.1, 10.0))
def test_limits_scale_with_the_signal_and_lie_above_the_best_fit(n: float, b: float, relative: float, s: float) -> None:
    region = SingleRegionLikelihood(n, b, relative * b, s)
    limit = find_upper_limit(region)
    assert limit.outcome is Outcome.OK
    assert limit.mu_ul > region.mu_hat
    doubled = find_upper_limit(SingleRegionLikelihood(n, b, relative * b, 2.0 * s))
    assert math.isclose(2.0 * doubled.mu_ul, limit.mu_ul, rel_tol=1e-5)
