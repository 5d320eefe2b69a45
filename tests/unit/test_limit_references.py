"""Limits and CLs against two other codes, with the numbers that they gave.

pyhf 0.7.6 (hypotest with a minimiser tolerance of 1e-12; backgrounds as symmetric `histosys`, which is the covariance model exactly) moves
auxiliary data; spey 0.2.7 (`default.uncorrelated_background`, `poi_upper_limit`) leaves them centred.
"""

from __future__ import annotations

import pytest

from inference.likelihoods.covariance import CovarianceLikelihood, CovarianceModel
from inference.likelihoods.signal_uncertainty import UncertainSignalLikelihood
from inference.likelihoods.single_region import SingleRegionLikelihood
from inference.limits import (
    AsimovConvention,
    LimitableLikelihood,
    LimitSettings,
    TestStatistic,
    compute_cls,
    find_upper_limit,
    find_upper_limits,
)

_COVARIANCE = [[4.0, 1.0, 0.1, 0.5], [1.0, 2.0, 0.1, 0.3], [0.1, 0.1, 0.3, 0.1], [0.5, 0.3, 0.1, 3.0]]
MODELS: dict[str, LimitableLikelihood] = {
    "excess": SingleRegionLikelihood(8.0, 3.8, 1.0, 2.1),
    "deficit": SingleRegionLikelihood(2.0, 3.8, 1.0, 2.1),
    "many": SingleRegionLikelihood(82.0, 88.139, 9.2357, 6.2989146536),
    "four": CovarianceLikelihood(CovarianceModel([12, 3, 0, 7], [8, 4, 0.6, 7.5], _COVARIANCE), [2.0, 1.0, 0.2, 0.1]),
}

# observed limit; expected -2σ, -1σ, median, +1σ; observed CLs(1); median expected CLs(1)
PYHF = {
    ("excess", "q_tilde"): (4.849048376573599, (1.3365921928, 1.8727544157, 2.7725264299, 4.2129402485), 0.632119544374, 0.418020754302),
    ("excess", "q"): (4.8490483765736, (1.3365921928, 1.8727544157, 2.7725264299, 4.2129402485), 0.632119544374, 0.418020754302),
    ("deficit", "q_tilde"): (1.8544748619381415, (1.1998098918, 1.6880123761, 2.5152205821, 3.8562837278), 0.213437727392, 0.370964758223),
    ("deficit", "q"): (1.8115573954194535, (1.1998098918, 1.6880123761, 2.5152205821, 3.8562837278), 0.204244959432, 0.370964758223),
    ("many", "q_tilde"): (3.5568890371725397, (2.2096434888, 2.9809731138, 4.1693646234, 5.8653461892), 0.536481671289, 0.631504277998),
    ("many", "q"): (3.5549145309946506, (2.2096434888, 2.9809731138, 4.1693646234, 5.8653461892), 0.536188717907, 0.631504277998),
    ("four", "q_tilde"): (3.614851328605937, (1.5912099595, 2.1745384090, 3.1041647940, 4.4987262846), 0.595737920720, 0.500922298770),
    ("four", "q"): (3.6148513286060067, (1.5912099595, 2.1745384090, 3.1041647940, 4.4987262846), 0.595737920720, 0.500922298770),
}

# n, b, δ, s; observed limit; expected a posteriori -2σ … +2σ; nll(1) - nll(0); the same and the limit with 20 % signal uncertainty
SPEY = (
    ((8, 3.8, 1.0, 2.1), 4.8814511, (1.69657113, 2.23273315, 3.13250595, 4.57292041, 6.61497912), -1.06164072, -1.06785750, 5.2369157),
    ((2, 3.8, 1.0, 2.1), 1.8051123, (1.02697130, 1.51104361, 2.33495964, 3.67374875, 5.59929438), 1.11195696, 1.08508346, 1.8793476),
    ((82, 88.139, 9.2357, 6.29891465), 3.4187398, (1.776846, 2.534733, 3.712028, 5.399935, 7.501218), 0.33983400, 0.33652315, 3.5948492),
    ((40, 30.0, 5.0, 8.0), 3.1166730, (1.56763770, 1.93744271, 2.51451153, 3.35388956, 4.42303586), -0.78777553, -0.78879506, 3.3816343),
    ((1, 0.6, 0.3, 1.0), 3.6186111, (1.32795438, 1.96138859, 3.13584151, 5.22716817, 8.48275510), 0.02922498, 0.02710014, 3.7880000),
)


@pytest.mark.parametrize(("name", "statistic"), list(PYHF))
def test_against_pyhf(name: str, statistic: str) -> None:
    observed, expected, cls, expected_cls = PYHF[name, statistic]
    settings = LimitSettings(statistic=TestStatistic(statistic), asimov=AsimovConvention.MOVED)
    limits = find_upper_limits(MODELS[name], settings)
    assert limits.observed.mu_ul == pytest.approx(observed, rel=1e-7)
    assert limits.expected.values[:4] == pytest.approx(expected, rel=1e-7)
    found = compute_cls(MODELS[name], 1.0, settings)
    assert (found.observed, found.expected[2]) == pytest.approx((cls, expected_cls), abs=1e-8)


def test_a_background_that_cannot_be_negative_is_felt_in_the_tail_only() -> None:
    """pyhf lets b + θ < 0 in the bin without events: its +2σ limit is 6.345221, ours 0.01 % lower."""
    settings = LimitSettings(asimov=AsimovConvention.MOVED)
    assert find_upper_limits(MODELS["four"], settings).expected.values[4] == pytest.approx(6.345221467501117, rel=2e-4)


@pytest.mark.parametrize(("numbers", "limit", "expected", "difference", "_uncertain", "_limit"), SPEY)
def test_against_spey(
    numbers: tuple[float, ...], limit: float, expected: tuple[float, ...], difference: float, _uncertain: float, _limit: float
) -> None:
    """Within 2e-5 for the observed limit, 2e-4 for expected ones: what spey's minimiser leaves."""
    region = SingleRegionLikelihood(*numbers)
    assert region.nll(1.0) - region.nll(0.0) == pytest.approx(difference, abs=2e-7)
    limits = find_upper_limits(region)
    assert limits.observed.mu_ul == pytest.approx(limit, rel=2e-5)
    assert limits.expected.values == pytest.approx(expected, rel=2e-4)


@pytest.mark.parametrize(("numbers", "_limit", "_expected", "_difference", "uncertain", "limit"), SPEY)
def test_signal_uncertainty_against_spey(
    numbers: tuple[float, ...], _limit: float, _expected: tuple[float, ...], _difference: float, uncertain: float, limit: float
) -> None:
    region = UncertainSignalLikelihood(SingleRegionLikelihood(*numbers), 0.2)
    assert region.nll(1.0) - region.nll(0.0) == pytest.approx(uncertain, abs=3e-7)
    assert find_upper_limit(region).mu_ul == pytest.approx(limit, rel=2e-5)


def test_where_spey_does_not_find_the_best_fit() -> None:
    """n = 11, b = 262 ± 135, s = 90: spey says 0.598, since its free fit stops at -ln L = 28.9 although it finds 4.8 at μ = 0.

    Ours has CLs = 0.05 where the profiled likelihood says so: a minimisation over θ by hand gives the same curve.
    """
    region = SingleRegionLikelihood(11.0, 262.0, 135.0, 90.0)
    limit = find_upper_limit(region).mu_ul
    assert limit == pytest.approx(0.2058, abs=1e-4)
    assert region.nll(0.598) - region.nll(0.0) == pytest.approx(30.282387 - 4.771769, abs=1e-5)  # spey's own numbers
    assert compute_cls(region, 0.598).observed < 1e-11
