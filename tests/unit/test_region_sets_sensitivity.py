"""The most sensitive of several likelihoods: brackets instead of limits, ties, failures, kinds mixed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.analysis_models.protocol import AnalysisLikelihood
from inference.analysis_models.sensitivity import ExpectedCurve, find_most_sensitive, limit_of_counts
from inference.likelihoods.covariance import CovarianceLikelihood, CovarianceModel
from inference.likelihoods.histfactory import HistFactoryLikelihood, compile_workspace
from inference.likelihoods.learned import LearnedModel
from inference.likelihoods.learned_layout import read_layout
from inference.likelihoods.protocol import LogRatio
from inference.likelihoods.single_region import SingleRegionLikelihood
from inference.limits import find_upper_limit
from inference.networks.network import Network
from inference.types import DataKind, Outcome
from tests.learned_networks import poisson_network


def covariance(background: float, error: float, signal: float) -> CovarianceLikelihood:
    return CovarianceModel([background + 1.0], [background], [[error * error]]).likelihood(np.array([signal]), DataKind.APRIORI)


def workspace(background: float, relative_error: float, signal: float) -> HistFactoryLikelihood:
    shift = {"name": "shift", "type": "normsys", "data": {"hi": 1.0 + relative_error, "lo": 1.0 - relative_error}}
    spec = {
        "channels": [{"name": "SR", "samples": [{"name": "bkg", "data": [background], "modifiers": [shift]}]}],
        "observations": [{"name": "SR", "data": [background + 1.0]}],
        "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": []}}],
        "version": "1.0.0",
    }
    return HistFactoryLikelihood(compile_workspace(spec), np.array([signal]), DataKind.APRIORI)


def learned(background: float, signal: float) -> AnalysisLikelihood:
    file = poisson_network(["SR-0"], [background], [background + 1.0])
    return LearnedModel(Network(file), read_layout(file.metadata, 1, 4)).likelihood(np.array([signal]), DataKind.APRIORI)


@given(
    st.lists(st.tuples(st.floats(0.01, 50.0), st.just(0.0) | st.floats(1e-6, 1e3), st.floats(0.01, 3.0)), min_size=1, max_size=4),
)
def test_counts_alone_bound_limits_from_below(regions: list[tuple[float, float, float]]) -> None:
    signal, background, share = (np.array(values) for values in zip(*regions, strict=True))
    bound = limit_of_counts(signal, background)
    q = (
        2.0
        * (bound * signal - np.where(background > 0.0, background * np.log1p(bound * signal / np.maximum(background, 1e-300)), 0.0)).sum()
    )
    assert math.sqrt(q) == pytest.approx(1.959964, rel=2e-4)
    model = CovarianceModel(background, background, np.diag((share * (0.1 + background)) ** 2))
    assert find_upper_limit(model.likelihood(signal, DataKind.APRIORI)).mu_ul >= bound * (1.0 - 1e-3)


def test_limits_of_counts_are_those_of_poisson_regions() -> None:
    for background in (0.2, 3.0, 80.0, 1e5):
        region = SingleRegionLikelihood(background, background, 0.0, 2.0)
        assert limit_of_counts(np.array([2.0]), np.array([background])) == pytest.approx(find_upper_limit(region).mu_ul, rel=2e-4)
    assert limit_of_counts(np.zeros(2), np.ones(2)) == math.inf


def test_kinds_of_models_compete() -> None:
    likelihoods = [covariance(10.0, 3.0, 4.0), workspace(10.0, 0.1, 4.0), learned(10.0, 4.0)]
    limits = [find_upper_limit(entry).mu_ul for entry in likelihoods]
    assert int(np.argmin(limits)) == 2 == find_most_sensitive(likelihoods)
    assert find_most_sensitive(likelihoods[:2]) == 1
    assert find_most_sensitive([learned(10.0, 4.0), workspace(10.0, 0.1, 5.0), covariance(10.0, 3.0, 9.0)]) == 2


def test_brackets_hold_the_limit() -> None:
    for likelihood in (covariance(5.0, 2.0, 3.0), workspace(30.0, 0.2, 6.0), learned(0.4, 1.0)):
        limit = find_upper_limit(likelihood).mu_ul
        curve = ExpectedCurve(likelihood)
        assert curve.low < limit < curve.high
        for factor in (0.7, 1.4, 0.95, 1.05):
            curve.evaluate(factor * limit)
            assert curve.low <= limit * (1.0 + 1e-6) and curve.high >= limit * (1.0 - 1e-6)
            assert curve.low < curve.estimate < curve.high
        assert curve.low >= 0.949 * limit and curve.high <= 1.051 * limit


def test_nearly_equal_limits_are_told_apart() -> None:
    for distance, expected in ((1e-3, 1), (1e-5, 1), (0.0, 0), (-1e-5, 0)):
        assert find_most_sensitive([covariance(10.0, 3.0, 4.0), covariance(10.0, 3.0, 4.0 * (1.0 + distance))]) == expected
    assert find_most_sensitive([workspace(10.0, 0.1, 4.0)] * 3) == 0


class Failing(CovarianceLikelihood):
    """Its fits fail with any signal."""

    def log_ratio(self, mu: float) -> LogRatio:
        return LogRatio(math.nan, math.nan) if mu > 0.0 else super().log_ratio(mu)


class Broken(CovarianceLikelihood):
    @property
    def outcome(self) -> Outcome:
        return Outcome.FIT_FAILED


def test_what_fails_does_not_speak_for_the_analysis() -> None:
    good = covariance(100.0, 30.0, 1.0)
    for kind in (Failing, Broken):
        bad = kind(CovarianceModel([2.0], [1.0], [[0.01]]), np.array([50.0]), DataKind.APRIORI)
        assert find_most_sensitive([bad, good]) == 1
        assert find_most_sensitive([good, bad]) == 0
        assert find_most_sensitive([bad, bad]) == 0
