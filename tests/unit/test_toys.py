"""Pseudo-experiments: exact Poisson probabilities, the same toys from the same seed, agreement of the ways to make them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import poisson

from inference.likelihoods.covariance import CovarianceLikelihood, CovarianceModel
from inference.likelihoods.histfactory import HistFactoryLikelihood, compile_workspace
from inference.likelihoods.product import ProductLikelihood
from inference.likelihoods.signal_uncertainty import UncertainSignalLikelihood
from inference.likelihoods.single_region import SingleRegionLikelihood
from inference.likelihoods.truncated_gaussian import TruncatedGaussianLikelihood
from inference.limits import AsimovConvention, LimitSettings, TestStatistic, find_upper_limit
from inference.limits.curves import TestCurve
from inference.toy_data import NoToysError, draw_toys, region_statistics, region_toys
from inference.toys import ToySettings, compute_toy_cls, find_toy_limit, make_generator, toy_statistics
from inference.types import Outcome
from tests.workspaces import gaussian_workspace

GOLDEN_COUNTS = [9.0, 9.0, 8.0, 6.0]
GOLDEN_BACKGROUNDS = [4.776116728273742, 4.514022313868948, 5.431739494563848, 7.056316608469631]
REGION = SingleRegionLikelihood(7.0, 5.0, 1.5, 2.0)


@pytest.mark.parametrize(("n", "b", "s"), [(0.0, 1.0, 3.0), (3.0, 2.0, 4.0), (6.0, 8.0, 5.0)])
def test_known_background_gives_the_ratio_of_poisson_probabilities(n: float, b: float, s: float) -> None:
    """Without nuisances q̃ falls with the count below μ s + b: CLs = P(k <= n | s + b)/P(k <= n | b)."""
    found = compute_toy_cls(SingleRegionLikelihood(n, b, 0.0, s), settings=ToySettings(num_toys=40000, seed=3))
    exact = poisson.cdf(n, b + s) / poisson.cdf(n, b)
    assert found.outcome is Outcome.OK
    assert abs(found.observed - exact) < 3.5 * found.error
    assert found.error < 0.1 * exact


def test_limit_of_nothing_seen_is_three_events() -> None:
    limit = find_toy_limit(SingleRegionLikelihood(0.0, 0.0, 0.0, 1.0), ToySettings(num_toys=20000))
    assert abs(limit.mu_ul - -math.log(0.05)) < 4.0 * limit.error
    assert limit.error < 0.05


def test_many_events_agree_with_the_asymptotic_limit() -> None:
    region = SingleRegionLikelihood(820.0, 800.0, 30.0, 20.0)
    limit = find_toy_limit(region, ToySettings(num_toys=20000, seed=1))
    asymptotic = find_upper_limit(region, settings=LimitSettings(asimov=AsimovConvention.MOVED)).mu_ul
    assert abs(limit.mu_ul - asymptotic) < 4.0 * limit.error + 0.01 * asymptotic


def test_equal_seeds_give_equal_bits() -> None:
    likelihoods = [REGION, _covariance(), ProductLikelihood([REGION, TruncatedGaussianLikelihood(0.5, 1.0)])]
    for likelihood in likelihoods:
        first, again, other = (toy_statistics(likelihood, 0.0, 1.0, 20, make_generator(seed, 0)) for seed in (5, 5, 6))
        assert first.tobytes() == again.tobytes()
        assert first.tobytes() != other.tobytes()
    # the same in every process and on every machine
    counts, backgrounds = region_toys(REGION, 1.0, 4, make_generator(5, 1))
    assert counts.tolist() == GOLDEN_COUNTS
    assert backgrounds == pytest.approx(GOLDEN_BACKGROUNDS, rel=1e-12)


def _covariance() -> CovarianceLikelihood:
    return CovarianceLikelihood(CovarianceModel([7.0, 2.0], [5.0, 3.0], [[2.25, 0.5], [0.5, 1.0]]), [2.0, 1.0])


def test_compiled_and_general_statistics_of_a_region_agree() -> None:
    """Including backgrounds that were measured to be negative."""
    region = SingleRegionLikelihood(3.0, 1.0, 2.0, 1.5)
    for mu in (0.3, 1.0, 4.0):
        counts, backgrounds = region_toys(region, 0.0, 300, make_generator(2, 0))
        assert (backgrounds < 0.0).any()
        toys = draw_toys(region, 0.0, 300, make_generator(2, 0))
        general = [max(0.0, TestCurve(toy, TestStatistic.Q_TILDE).at(mu)[0]) for toy in toys]
        assert region_statistics(region, mu, counts, backgrounds) == pytest.approx(general, abs=1e-9)


def test_covariance_of_one_bin_has_the_distribution_of_a_region() -> None:
    one = CovarianceLikelihood(CovarianceModel([7.0], [5.0], [[2.25]]), [2.0])
    settings = ToySettings(num_toys=3000, seed=4)
    ours, theirs = compute_toy_cls(one, 2.0, settings), compute_toy_cls(REGION, 2.0, settings)
    assert abs(ours.observed - theirs.observed) < 4.0 * math.hypot(ours.error, theirs.error)
    assert ours.num_failed == 0


def test_toys_of_a_covariance_model_follow_its_moments() -> None:
    """Auxiliary data scatter with the covariance, counts with the Poisson errors, both around the fit."""
    likelihood = _covariance()
    fit = likelihood.fit(1.0)
    toys = list(draw_toys(likelihood, 1.0, 4000, make_generator(1, 1)))
    centres = np.array([toy.model.offset for toy in toys]) - [5.0, 3.0]  # type: ignore[attr-defined]
    assert centres.mean(axis=0) == pytest.approx(fit.pulls * [1.5, 1.0], abs=0.1)
    assert np.cov(centres.T) == pytest.approx(np.array([[2.25, 0.5], [0.5, 1.0]]), abs=0.15)
    counts = np.array([toy.data.counts for toy in toys])  # type: ignore[attr-defined]
    mean = np.array([5.0, 3.0]) + fit.pulls * [1.5, 1.0] + [2.0, 1.0]
    assert counts.mean(axis=0) == pytest.approx(mean, abs=0.2)


def test_workspace_has_the_distribution_of_the_covariance_model_that_it_is() -> None:
    observed, background, covariance, signal = [7.0, 12.0], [5.0, 13.0], [[2.25, 0.5], [0.5, 4.0]], [2.0, 1.0]
    workspace = HistFactoryLikelihood(compile_workspace(gaussian_workspace(observed, background, covariance)), signal)
    simplified = CovarianceLikelihood(CovarianceModel(observed, background, covariance), signal)
    settings = ToySettings(num_toys=1500, seed=4)
    ours, theirs = compute_toy_cls(workspace, 2.0, settings), compute_toy_cls(simplified, 2.0, settings)
    assert abs(ours.observed - theirs.observed) < 4.0 * math.hypot(ours.error, theirs.error)
    assert ours.num_failed == 0
    first, again = (toy_statistics(workspace, 0.0, 1.0, 10, make_generator(7, 0)) for _ in range(2))
    assert first.tobytes() == again.tobytes()


def test_second_order_toys_fit() -> None:
    model = CovarianceModel([7.0, 2.0], [5.0, 3.0], [[2.25, 0.5], [0.5, 1.0]], [1.5, 0.4])
    found = toy_statistics(CovarianceLikelihood(model, [2.0, 1.0]), 0.0, 1.5, 200, make_generator(1, 0))
    assert np.isnan(found).sum() <= 2


def test_product_of_two_regions_is_stronger_than_one() -> None:
    one, two = (find_toy_limit(ProductLikelihood([REGION] * n), ToySettings(num_toys=300)).mu_ul for n in (1, 2))
    assert two < 0.85 * one


def test_failures_are_outcomes() -> None:
    broken = CovarianceLikelihood(CovarianceModel([3.0], [3.0], [[1.0]], [3.0]), [1.0])
    assert compute_toy_cls(broken, settings=ToySettings(num_toys=10)).outcome is Outcome.FIT_FAILED
    assert find_toy_limit(broken, ToySettings(num_toys=10)).outcome is Outcome.FIT_FAILED
    flat = find_toy_limit(SingleRegionLikelihood(3.0, 3.0, 1.0, 0.0), ToySettings(num_toys=10))
    assert (flat.mu_ul, flat.outcome) == (math.inf, Outcome.NON_FINITE)
    with pytest.raises(NoToysError, match="UncertainSignalLikelihood"):
        next(iter(draw_toys(UncertainSignalLikelihood(REGION, 0.2), 1.0, 3, make_generator(0, 0))))
