"""Gradients on small databases whose slopes can be worked out by hand.

The maps hold 1, 2, 3 … at the points of `GRID_MASSES`: between mothers of 200 and 400 and daughters of 0 and 100 GeV that is the plane
1 + (m - 200)/100 + d/100, whatever the triangulation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from builder.evaluate import EvaluationSettings, Evaluator
from builder.gradient import EvaluationGradient, build_slopes, evaluate_with_gradient, fisher_information
from builder.protomodel import ProtoModel
from critics.settings import CriticSettings
from database.results.importer import import_text_database
from inference.cross_sections import reference_log_slope, reference_xsec_fb
from inference.gradients.fisher import build_information, profiled_curvature
from inference.gradients.likelihoods import differentiate_likelihood
from inference.gradients.parameters import Parameters
from inference.gradients.planes import column_slope, locate_with_slopes
from inference.gradients.predictions import PredictionGradients
from inference.interpolation import MAX_FULL, build_grid_arrays, evaluate_columns
from inference.likelihoods.covariance import CovarianceLikelihood, CovarianceModel
from inference.likelihoods.signal_uncertainty import UncertainSignalLikelihood
from inference.likelihoods.single_region import SingleRegionLikelihood
from inference.likelihoods.truncated_gaussian import build_truncated_gaussian
from inference.score import ScoreSettings
from inference.types import DataKind, FloatArray, PredictionKind, Predictions
from tests.text_database import GRID_MASSES, TextDatabase, mass_rows

Build = Callable[..., Evaluator]
STOP, CHARM, DOWN, LBP, N2, C1 = 1000006, 1000004, 1000001, 1000022, 1000023, 1000024
STOPS = (-STOP, STOP)


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """Compiles a database that a function writes; returns an evaluator on it."""

    def make(write: Callable[[TextDatabase], None], settings: EvaluationSettings | None = None) -> Evaluator:
        text = TextDatabase(tmp_path / "text")
        write(text)
        return Evaluator(import_text_database(text.root, tmp_path / "store", num_workers=0), settings or EvaluationSettings())

    return make


def write_region(text: TextDatabase, observed: int = 5, **region: float) -> None:
    text.efficiencies(text.region(text.result("13TeV/ATLAS/ATLAS-SUSY-2019-01-eff"), "SR1", observed=observed, **region))


def write_limit(text: TextDatabase) -> None:
    values = mass_rows([f"{2.0 * (k + 1)}*fb" for k in range(len(GRID_MASSES))])
    text.limits(text.result("13TeV/CMS/CMS-SUS-20-001"), expectedUpperLimits=values)


def stops(mass: float, lbp: float, ssm: float) -> ProtoModel:
    return ProtoModel({STOP: mass, LBP: lbp}, {STOP: {(6, LBP): 1.0}}, {STOPS: ssm})


def column(found: EvaluationGradient, name: str) -> int:
    return found.parameters.names.index(name)


def only(predictions: Predictions, kind: PredictionKind) -> int:
    (row,) = np.flatnonzero(predictions.kind == kind).tolist()
    return int(row)


def test_region_and_limit_of_stops(build: Build) -> None:
    """ε = 0.025 with slope 1e-4/GeV in either mass; limit 1.5 + 1.5 fb with slope 0.01 fb/GeV; BR counts twice."""

    def write(text: TextDatabase) -> None:
        write_region(text)
        write_limit(text)

    found = evaluate_with_gradient(build(write), stops(300.0, 50.0, 2.0))
    assert found.parameters.names == ("mass(1000006)", "mass(1000022)", "ssm(-1000006,1000006)", "br(1000006>6,1000022)")
    sigma = reference_xsec_fb(STOPS, {STOP: 300.0}, 13)
    assert sigma is not None
    slope = reference_log_slope(STOPS, {STOP: 300.0}, 13)
    region, limit = (only(found.predictions.smooth, kind) for kind in (PredictionKind.EFFICIENCY_MAP, PredictionKind.UPPER_LIMIT))
    by_hand = [2 * sigma * (1e-4 + 0.025 * slope), 2 * sigma * 1e-4, sigma * 0.025, 2 * 2 * sigma * 0.025]
    assert found.predictions.xsec_fb[region] == pytest.approx(by_hand, rel=1e-9)
    assert found.predictions.xsec_fb[limit] == pytest.approx([2 * sigma * slope, 0.0, sigma, 4 * sigma], rel=1e-9)
    assert found.predictions.ul_obs_fb[limit] == pytest.approx([0.01, 0.01, 0.0, 0.0], rel=1e-9)
    assert found.predictions.ul_exp_fb[limit] == pytest.approx([0.02, 0.02, 0.0, 0.0], rel=1e-9)
    assert not found.predictions.ul_obs_fb[region].any()  # limits of regions are constants
    assert found.evaluation.k == pytest.approx(evaluate_with_gradient(build(write), stops(300.0, 50.0, 2.0), is_smooth=True).evaluation.k)


def test_score_inside(build: Build) -> None:
    """Region with n = 9, b = 4, δ = 0: ln L(μ)/L(0) = n ln(1 + μ s/b) - μ s."""
    uncapped = EvaluationSettings(critics=CriticSettings(critics=()))
    model = stops(300.0, 50.0, 1e-4)
    inside = evaluate_with_gradient(build(lambda text: write_region(text, 9, error=0.0), uncapped), model)
    assert inside.evaluation.mu_max == math.inf
    assert inside.evaluation.tl == pytest.approx(2 * (9 * math.log(9 / 4) - 5))
    assert inside.tl * [300.0, 50.0, 1e-4, 1.0] == pytest.approx(0.0, abs=1e-6)  # whatever the signal, μ̂ makes up for it
    assert not inside.mu_max.any()


def test_score_at_the_cap(build: Build) -> None:
    """μ_max s = 0.999 · 1.3 · UL · L is fixed for one region: K does not depend on anything."""
    found = evaluate_with_gradient(build(lambda text: write_region(text, 30, error=0.0)), stops(300.0, 50.0, 1e-4))
    assert found.is_capped
    assert found.evaluation.mu_hat == found.evaluation.mu_max
    assert np.abs(found.members[0].likelihood.log_ratio_gradient).max() > 0.01
    assert found.k == pytest.approx(0.0, abs=1e-9)
    ssm = column(found, "ssm(-1000006,1000006)")
    assert found.mu_max[ssm] == pytest.approx(-found.evaluation.mu_max / 1e-4)


def test_score_at_zero(build: Build) -> None:
    found = evaluate_with_gradient(build(lambda text: write_region(text, 1, error=0.0)), stops(300.0, 50.0, 1e-4))
    assert (found.evaluation.mu_hat, found.evaluation.tl) == (0.0, 0.0)
    assert not found.tl.any()
    assert found.mu_max.any()


def test_cap_by_another_result(build: Build) -> None:
    """The limit's r caps μ, the region's likelihood rises there: dT_L/dm = 2 F'(μ_max s) d(μ_max s)/dm with F' = n/(b + μ s) - 1."""

    def write(text: TextDatabase) -> None:
        write_region(text, 9, error=0.0)
        text.limits(text.result("13TeV/CMS/CMS-SUS-20-001"), upperLimits=mass_rows([f"{0.01 * (k + 1)}*fb" for k in range(7)]))

    found = evaluate_with_gradient(build(write), stops(300.0, 50.0, 1e-4), is_smooth=True)
    assert found.is_capped
    # μ_max s = c UL ε lumi with c = 0.999 · 1.3: the cross section drops out
    c, efficiency, limit = 0.999 * 1.3, 0.025, 0.025
    signal = c * limit * efficiency * 137.0
    change = c * 137.0 * (1e-4 * efficiency + 1e-4 * limit)
    by_hand = 2 * (9 / (4 + signal) - 1) * change
    assert found.k == pytest.approx([by_hand, by_hand, 0.0, 0.0], rel=1e-8, abs=1e-9)


def test_average_of_a_cluster(build: Build) -> None:
    """Two squarks in one limit map: σ = σ₁ + σ₂, UL at the σ-weighted mean mass."""
    masses = {DOWN: 300.0, CHARM: 320.0, LBP: 50.0}
    model = ProtoModel(masses, {DOWN: {(1, LBP): 1.0}, CHARM: {(4, LBP): 1.0}}, {})
    evaluator = build(lambda text: text.limits(text.result("13TeV/CMS/CMS-SUS-20-001"), "T2", "[[['jet']],[['jet']]]"))
    found = evaluate_with_gradient(evaluator, model, is_smooth=True)
    row = only(found.predictions.smooth, PredictionKind.UPPER_LIMIT)
    first, second = (reference_xsec_fb((-pid, pid), masses, 13) for pid in (DOWN, CHARM))
    assert first is not None
    assert second is not None
    total = first + second
    mean = (300.0 * first + 320.0 * second) / total
    assert found.predictions.smooth.xsec_fb[row] == pytest.approx(total)
    assert found.predictions.smooth.ul_obs_fb[row] == pytest.approx(1.5 + (mean - 200.0) / 100.0 + 0.5, rel=1e-12)
    slope = found.predictions.ul_obs_fb[row]
    assert slope[column(found, f"ssm(-{DOWN},{DOWN})")] == pytest.approx(0.01 * first * (300.0 - mean) / total)
    assert slope[column(found, f"ssm(-{CHARM},{CHARM})")] == pytest.approx(0.01 * second * (320.0 - mean) / total)
    drift = first * reference_log_slope((-DOWN, DOWN), masses, 13) * (300.0 - mean)
    assert slope[column(found, f"mass({DOWN})")] == pytest.approx(0.01 * (first + drift) / total)
    assert slope[column(found, f"mass({LBP})")] == pytest.approx(0.01)


def test_particles_of_equal_mass_share_the_slope(build: Build) -> None:
    masses = {DOWN: 300.0, CHARM: 300.0, LBP: 50.0}
    model = ProtoModel(masses, {DOWN: {(1, LBP): 1.0}, CHARM: {(4, LBP): 1.0}}, {(-CHARM, CHARM): 3.0, (-DOWN, DOWN): 1.0})

    def write(text: TextDatabase) -> None:
        region = text.region(text.result("13TeV/ATLAS/ATLAS-SUSY-2019-01-eff"), "SR1")
        text.efficiencies(region, "T2", "[[['jet']],[['jet']]]")

    found = evaluate_with_gradient(build(write), model)
    row = only(found.predictions.smooth, PredictionKind.EFFICIENCY_MAP)
    sigma, slope = reference_xsec_fb((-DOWN, DOWN), masses, 13), reference_log_slope((-DOWN, DOWN), masses, 13)
    assert sigma is not None
    one = sigma * (1e-4 + 0.025 * slope)
    assert found.predictions.xsec_fb[row][column(found, f"mass({DOWN})")] == pytest.approx(one)
    assert found.predictions.xsec_fb[row][column(found, f"mass({CHARM})")] == pytest.approx(3 * one)


def test_compressed_cascades_add_up(build: Build) -> None:
    """X_Z² sits 5 GeV above X_Z¹: all decays end in the same topology, w = σ (b₁ + b₂)² whatever X_Z² decays to."""
    masses = {STOP: 300.0, N2: 55.0, LBP: 50.0}
    decays = {STOP: {(6, LBP): 0.6, (6, N2): 0.4}, N2: {(-11, 11, LBP): 0.25, (-13, 13, LBP): 0.75}}
    found = evaluate_with_gradient(build(write_region), ProtoModel(masses, decays, {}))
    row = only(found.predictions.smooth, PredictionKind.EFFICIENCY_MAP)
    sigma = reference_xsec_fb(STOPS, masses, 13)
    assert sigma is not None
    slopes = found.predictions.xsec_fb[row]
    signal = 0.025 * sigma
    assert found.predictions.smooth.xsec_fb[row] == pytest.approx(signal)
    for name, by_hand in (
        ("br(1000006>6,1000022)", 2 * signal),
        ("br(1000006>6,1000023)", 2 * signal),
        ("br(1000023>-11,11,1000022)", 2 * 0.4 * signal),
        ("br(1000023>-13,13,1000022)", 2 * 0.4 * signal),
        ("mass(1000023)", 0.0),
        ("mass(1000022)", 1e-4 * sigma),
    ):
        assert slopes[column(found, name)] == pytest.approx(by_hand), name
    projected = found.parameters.project(slopes)
    assert projected[found.parameters.branching_ratio_columns] == pytest.approx(0.0, abs=1e-9 * signal)
    assert projected[column(found, "mass(1000006)")] == slopes[column(found, "mass(1000006)")]


def test_unequal_branches_follow_the_foot_in_the_plane(build: Build) -> None:
    """Near the plane of equal branches each branch carries half of the slope; both charge modes and signs add up."""
    masses = {C1: 300.0, N2: 300.4, LBP: 50.0}
    model = ProtoModel(masses, {C1: {(24, LBP): 1.0}, N2: {(23, LBP): 1.0}}, {(C1, C1): 0.0})
    evaluator = build(lambda text: text.limits(text.result("13TeV/CMS/CMS-SUS-20-001"), "TChiWZ", "[[['W']],[['Z']]]"))
    found = evaluate_with_gradient(evaluator, model)
    row = only(found.predictions.smooth, PredictionKind.UPPER_LIMIT)
    slope = found.predictions.ul_obs_fb[row]
    assert [slope[column(found, f"mass({pid})")] for pid in (C1, N2, LBP)] == pytest.approx([0.005, 0.005, 0.01])


def test_explicit_cross_sections_have_no_multipliers(build: Build) -> None:
    model = ProtoModel({STOP: 300.0, LBP: 50.0}, {STOP: {(6, LBP): 1.0}}, {STOPS: 2.0}, {13: {STOPS: 7.0}})
    found = evaluate_with_gradient(build(write_region), model)
    assert found.parameters.ssms == ()
    row = only(found.predictions.smooth, PredictionKind.EFFICIENCY_MAP)
    assert found.predictions.xsec_fb[row] == pytest.approx([7e-4, 7e-4, 14 * 0.025])


def test_models_without_score_have_no_gradient(build: Build) -> None:
    evaluator = build(write_region)
    far = evaluate_with_gradient(evaluator, stops(2000.0, 50.0, 1.0))
    assert far.evaluation.k == -math.inf
    assert np.isnan(far.k).all()
    assert far.predictions.xsec_fb.shape == (0, 4)
    found = fisher_information(evaluator, stops(2000.0, 50.0, 1.0))
    assert len(found.null_directions) == 3
    assert not found.matrix.any()


def test_values_are_those_of_the_evaluation(build: Build) -> None:
    """Rounding of masses and values stays in the values unless smooth ones are asked for."""
    evaluator, model = build(write_region), stops(300.04, 50.03, 1e-4)
    found = evaluate_with_gradient(evaluator, model)
    assert found.evaluation == evaluator.evaluate(model)
    row = only(found.predictions.smooth, PredictionKind.EFFICIENCY_MAP)
    sigma = model.xsecs_fb(13)[STOPS]
    assert found.predictions.smooth.xsec_fb[row] == pytest.approx(0.025 * sigma, rel=1e-12)
    smooth = evaluate_with_gradient(evaluator, model, is_smooth=True)
    assert smooth.predictions.smooth.xsec_fb[row] == pytest.approx((0.025 + 7e-6) * sigma, rel=1e-12)


def test_slopes_agree_with_differences_in_one_and_two_dimensions(build: Build) -> None:
    """Maps of squares on a scattered grid and on a line: differences inside one simplex are exact."""
    scattered = [(200.0 + 37.0 * i % 300, 5.0 + 53.0 * i % 170) for i in range(1, 30)]

    def write(text: TextDatabase) -> None:
        result = text.result("13TeV/CMS/CMS-SUS-20-001")
        text.limits(result, upperLimits=mass_rows([f"{m * d / 1e3}*fb" for m, d in scattered], scattered))
        line = [(200.0 + 50.0 * i, 20.0) for i in range(6)]
        text.limits(result, "T2bb", "[[['b']],[['b']]]", upperLimits=mass_rows([f"{i * i + 1.0}*fb" for i in range(6)], line))

    arrays = build_grid_arrays(build(write).store)
    assert sorted(arrays.dim.tolist()) == [1, 2]
    rng = np.random.default_rng(7)
    barycentric, vertex_slopes, slope, out = np.zeros(4), np.zeros((4, MAX_FULL)), np.zeros(MAX_FULL), np.empty(1)
    checked = 0
    for _ in range(200):
        x = np.zeros(MAX_FULL)
        x[0] = x[2] = rng.uniform(220.0, 430.0)
        x[1] = x[3] = rng.uniform(40.0, 140.0)
        for g in range(2):
            if arrays.dim[g] == 1:
                x[1] = x[3] = 20.0
            simplex = locate_with_slopes(g, x, arrays, barycentric, vertex_slopes)
            if simplex < 0:
                continue
            value = column_slope(g, simplex, barycentric, vertex_slopes, 0, arrays, slope)
            assert evaluate_columns(g, x, np.zeros(1, dtype=np.int32), arrays, out)
            assert value == pytest.approx(out[0], rel=6e-6)
            gradient = slope.copy()
            for i in range(4):
                values = []
                for step in (-0.01, 0.01):
                    shifted = x.copy()
                    shifted[i] += step
                    if locate_with_slopes(g, shifted, arrays, barycentric, vertex_slopes) == simplex:
                        values.append(column_slope(g, simplex, barycentric, vertex_slopes, 0, arrays, slope))
                if len(values) == 2:
                    assert gradient[i] == pytest.approx((values[1] - values[0]) / 0.02, rel=1e-8, abs=1e-11)
                    checked += 1
    assert checked > 800


def _single(kind: PredictionKind, xsec: float, ul_obs: float, ul_exp: float) -> tuple[Predictions, PredictionGradients]:
    """One prediction whose three numbers are the three parameters."""

    def one(value: float) -> FloatArray:
        return np.array([value])

    whole = np.zeros(1, dtype=np.int32)
    predictions = Predictions(
        whole, whole, np.array([kind], dtype=np.int8), one(xsec), one(ul_obs), one(ul_exp), ((0,),), ((0,),), (frozenset(),), {}, one(0.0)
    )
    slopes = np.eye(3)[:, None, :]
    return predictions, PredictionGradients(Parameters((1, 2, 3), (), ()), slopes[0], slopes[1], slopes[2], {}, predictions)


@pytest.mark.parametrize("widening", [0.0, 0.6])
@pytest.mark.parametrize("limits", [(2.0, 3.0), (3.0, 2.2), (30.0, 2.0), (3.1, 3.1)])
@pytest.mark.parametrize("mu", [0.3, 1.0, 2.5])
def test_likelihoods_of_limits(build: Build, mu: float, limits: tuple[float, float], widening: float) -> None:
    """Against differences: excess, deficit, capped excess."""
    settings = ScoreSettings(limit_widening=widening)
    store = build(write_region).store
    numbers = np.array([1.7, *limits])
    found = differentiate_likelihood(mu, 0, *_single(PredictionKind.UPPER_LIMIT, *numbers.tolist()), store, settings)
    for i in range(3):
        step = 1e-5 * numbers[i]
        values = []
        for sign in (-1, 1):
            shifted = numbers.copy()
            shifted[i] += sign * step
            likelihood = build_truncated_gaussian(*shifted.tolist(), widening=widening)
            values.append((likelihood.nll(mu), likelihood.log_ratio(mu).value))
        (nll_low, ratio_low), (nll_high, ratio_high) = values
        if limits == (3.1, 3.1) and widening > 0.0 and i > 0:
            continue  # the widening sets in at equal limits: a kink
        assert found.nll_gradient[i] == pytest.approx((nll_high - nll_low) / (2 * step), rel=1e-6, abs=1e-8)
        assert found.log_ratio_gradient[i] == pytest.approx((ratio_high - ratio_low) / (2 * step), rel=1e-6, abs=1e-8)


def test_information_of_one_region(build: Build) -> None:
    """I = (∂s/∂θ)²/(s + b + δ²); one region constrains one combination of three parameters."""
    evaluator = build(lambda text: write_region(text, 9))
    model = stops(300.0, 50.0, 1e-4)
    found = fisher_information(evaluator, model)
    signal = 137.0 * 0.025 * model.xsecs_fb(13)[STOPS]
    ssm = found.names.index("ssm(-1000006,1000006)")
    assert found.matrix[ssm, ssm] == pytest.approx((signal / 1e-4) ** 2 / (signal + 4.0 + 1.0))
    assert len(found.null_directions) == 2
    assert np.isinf(found.standard_deviations).any()
    assert found.matrix @ found.covariance @ found.matrix == pytest.approx(found.matrix)
    for null in found.null_directions:
        assert null.direction @ found.matrix @ null.direction == pytest.approx(0.0, abs=1e-9 * np.abs(found.matrix).max())


@pytest.mark.parametrize("observed", [0.0, 2.0, 9.0])
def test_observed_information_is_the_curvature(build: Build, observed: float) -> None:
    """Against the second difference of the profiled -ln L in the signal."""
    evaluator = build(lambda text: write_region(text, int(observed), error=1.5))
    model = stops(300.0, 50.0, 1e-3)
    found = evaluate_with_gradient(evaluator, model, is_smooth=True)
    assert found.evaluation.combination
    information = fisher_information(evaluator, model, data_kind=DataKind.OBSERVED)
    signal = 137.0 * float(found.predictions.smooth.xsec_fb[0])
    likelihood = SingleRegionLikelihood(observed, 4.0, 1.5, signal)
    step = 1e-3
    curvature = (likelihood.nll(1.0 + step) - 2.0 * likelihood.nll(1.0) + likelihood.nll(1.0 - step)) / step**2
    ssm = information.names.index("ssm(-1000006,1000006)")
    assert information.matrix[ssm, ssm] * 1e-6 == pytest.approx(curvature, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("observed", [2.0, 9.0])
def test_uncertain_signals(build: Build, observed: float) -> None:
    """Gradient and observed information of a region whose signal is uncertain by 30 %, against differences of the profiled ln L."""
    settings = EvaluationSettings(score=ScoreSettings(signal_uncertainty=0.3))
    evaluator = build(lambda text: write_region(text, int(observed), error=1.5), settings)
    model = stops(300.0, 50.0, 1e-3)
    found = evaluate_with_gradient(evaluator, model, is_smooth=True)
    signal = 137.0 * float(found.predictions.smooth.xsec_fb[0])
    likelihood = UncertainSignalLikelihood(SingleRegionLikelihood(observed, 4.0, 1.5, signal), 0.3)
    (member,) = found.members
    mu = found.evaluation.mu_hat
    i = found.parameters.names.index("ssm(-1000006,1000006)")
    assert member.likelihood.log_ratio_gradient[i] == pytest.approx(mu * likelihood.log_ratio(mu).slope / 1e-3, rel=1e-6, abs=1e-6)
    information = fisher_information(evaluator, model, data_kind=DataKind.OBSERVED)
    step = 1e-3
    curvature = (likelihood.nll(1.0 + step) - 2.0 * likelihood.nll(1.0) + likelihood.nll(1.0 - step)) / step**2
    assert information.matrix[i, i] * 1e-6 == pytest.approx(curvature, rel=1e-4, abs=1e-4)
    expected = fisher_information(evaluator, model)
    spread = signal * math.log(1.3)
    assert expected.matrix[i, i] * 1e-6 == pytest.approx(signal**2 / (signal + 4.0 + 1.5**2 + spread**2), rel=1e-3)


def test_profiled_curvature_of_correlated_regions() -> None:
    """Expected: (diag λ + V)⁻¹; observed: the curvature along any direction of the signal."""
    rng = np.random.default_rng(3)
    root = rng.normal(size=(5, 5))
    covariance = root @ root.T + 2.0 * np.eye(5)
    background = rng.uniform(20.0, 60.0, 5)
    observed = rng.poisson(background).astype(float)
    model = CovarianceModel(observed, background, covariance)
    signal = rng.uniform(0.5, 6.0, 5)
    mean = background + signal
    expected = profiled_curvature(model, mean, mean, np.zeros(5), np.ones(5, dtype=np.bool_))
    assert expected == pytest.approx(np.linalg.inv(np.diag(mean) + covariance), rel=1e-7)
    fit = CovarianceLikelihood(model, signal).fit(1.0)
    mean = background + signal + model.sd * fit.pulls
    found = profiled_curvature(model, observed, mean, fit.pulls, np.ones(5, dtype=np.bool_))
    assert signal @ found @ signal == pytest.approx(fit.curvature, rel=1e-6)


def test_null_directions_are_told() -> None:
    information = build_information([np.diag([4.0, 0.0, 1.0])], ["a", "b", "c"])
    assert [null.names for null in information.null_directions] == [("b",)]
    assert information.standard_deviations.tolist() == [0.5, math.inf, 1.0]
    nothing = build_information([], ["a"])
    assert (nothing.num_members, len(nothing.null_directions)) == (0, 1)


def test_multipliers_of_zero_are_parameters_without_slope(build: Build) -> None:
    """A pair that is not produced stays below the σ cut for any small κ."""
    slopes = build_slopes(stops(300.0, 50.0, 0.0))
    assert slopes.parameters.ssms == (STOPS,)
    found = evaluate_with_gradient(build(write_region), stops(300.0, 50.0, 0.0))
    assert math.isnan(found.evaluation.tl)
