"""Surrogates: what a network sees, exact derivatives of its training, the file, its measured error and its domain."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from inference.analysis_models.surrogates import load_surrogate
from inference.likelihoods.covariance import CovarianceModel
from inference.limits import find_upper_limit
from inference.networks.network import Network
from inference.networks.onnx_file import format_onnx, write_onnx
from inference.surrogate.export import build_graph
from inference.surrogate.features import build_features, log_scales
from inference.surrogate.fitting import Fit, Standardized, fit_network
from inference.surrogate.perceptron import Perceptron
from inference.surrogate.samples import evaluate_signals
from inference.surrogate.settings import SurrogateSettings
from inference.surrogate.signals import choose_radius, draw_directions, region_variances
from inference.surrogate.training import Surrogate, SurrogateError, SurrogateSource, train_surrogate
from inference.types import DataKind, FloatArray, Outcome

BACKGROUND = np.array([12.0, 5.0, 0.3, 40.0])
COVARIANCE = np.array([[4.0, 1.5, 0.0, 3.0], [1.5, 2.0, 0.1, 1.0], [0.0, 0.1, 0.2, 0.0], [3.0, 1.0, 0.0, 25.0]])
OBSERVED = np.array([15.0, 4.0, 1.0, 38.0])
SETTINGS = SurrogateSettings(num_signals=900, num_steps=6000, hidden=(32, 32), batch_size=64, seed=3)


def source(observed: FloatArray = OBSERVED) -> SurrogateSource:
    model = CovarianceModel(observed, BACKGROUND, COVARIANCE)
    names = tuple(f"SR{k}-0" for k in range(4))
    return SurrogateSource(model, names, BACKGROUND, observed, np.zeros((0, 4)), {"analysis_id": "CMS-SUS-00-001", "digest": "abc"})


@pytest.fixture(scope="module")
def surrogate() -> Surrogate:
    return train_surrogate(source(), SETTINGS)


# ------------------------------------------------------------------------------------------------------------- pieces


def test_tangents_of_features_are_derivatives() -> None:
    rng = np.random.default_rng(1)
    u, direction = rng.exponential(size=(7, 4)), rng.normal(size=(7, 4))
    scales = log_scales(np.array([9.0, 4.0, 1.5, 60.0]), BACKGROUND)
    found = build_features(u, direction, scales)
    high, low = (build_features(u + sign * 1e-6 * direction, direction, scales) for sign in (1.0, -1.0))
    np.testing.assert_allclose(found.tangents, (high.inputs - low.inputs) / 2e-6, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(found.length_tangent, (high.length - low.length) / 2e-6, rtol=1e-6, atol=1e-8)


def test_gradients_of_the_training_are_derivatives() -> None:
    rng = np.random.default_rng(2)
    network = Perceptron((5, 7, 6, 3))
    weights = network.initial_weights(rng) + 0.1 * rng.normal(size=network.num_weights)
    inputs, tangents = rng.normal(size=(9, 5)), rng.normal(size=(9, 5))
    a, b = rng.normal(size=(9, 3)), rng.normal(size=(9, 3))

    def value(w: FloatArray) -> float:
        outputs, slopes, _ = network.forward(w, inputs, tangents)
        return float((a * outputs**2 + b * slopes**2).sum())

    outputs, slopes, tape = network.forward(weights, inputs, tangents)
    found = network.backward(weights, 2.0 * a * outputs, 2.0 * b * slopes, tape)
    for k in rng.permutation(network.num_weights)[:40]:
        step = np.zeros_like(weights)
        step[k] = 1e-6
        assert found[k] == pytest.approx((value(weights + step) - value(weights - step)) / 2e-6, rel=1e-5, abs=1e-5)
    ahead, behind = (network.forward(weights, inputs + sign * 1e-6 * tangents, tangents)[0] for sign in (1.0, -1.0))
    np.testing.assert_allclose(slopes, (ahead - behind) / 2e-6, rtol=1e-6, atol=1e-7)


def test_the_graph_is_what_was_trained() -> None:
    rng = np.random.default_rng(4)
    network = Perceptron((13, 8, 4))
    weights = network.initial_weights(rng).astype(np.float32).astype(np.float64)
    scales = np.array([0.5, 1.0, 4.0, 0.25])
    standardized = Standardized(np.array([0.5, -1.0, 0.25, 0.0]), np.array([1.0, 2.0, 0.5, 1.5]))
    compiled = Network(build_graph(Fit(network, weights, standardized), scales))
    assert compiled(np.zeros(4)).outputs == pytest.approx(np.zeros(4), abs=1e-6)
    for u in rng.exponential(2.0, size=(5, 4)):
        features = build_features(u[None, :], u[None, :], scales)
        outputs, _, _ = network.forward(weights, features.inputs, features.tangents)
        zero = build_features(np.zeros((1, 4)), np.zeros((1, 4)), scales)
        at_zero = zero.length * (network.forward(weights, zero.inputs, zero.tangents)[0] * standardized.spread + standardized.centre)
        expected = features.length * (outputs * standardized.spread + standardized.centre) - at_zero * 0.09 / features.length**2
        np.testing.assert_allclose(compiled(u).outputs, expected[0], rtol=1e-6, atol=1e-6)


def test_variances_are_those_of_single_regions() -> None:
    found = region_variances(source().model, BACKGROUND)
    precision = np.linalg.inv(COVARIANCE + np.diag(BACKGROUND))
    np.testing.assert_allclose(found, 1.0 / np.diag(precision) + 1.0, rtol=1e-6)


def test_directions_have_unit_length_and_follow_patterns() -> None:
    variances = np.array([4.0, 1.0, 9.0, 1.0])
    rng = np.random.default_rng(0)
    found = draw_directions(200, variances, np.zeros((0, 4)), 0.5, rng)
    np.testing.assert_allclose((found**2 / variances).sum(axis=1), 1.0)
    assert (found >= 0.0).all() and {int((row > 0.0).sum()) for row in found} == {1, 2, 3, 4}
    patterns = np.array([[1.0, 2.0, 0.0, 0.0], [0.0, 1.0, 1.0, 0.0]])
    assert (draw_directions(50, variances, patterns, 1.0, rng)[:, 3] == 0.0).all()


def test_the_domain_reaches_beyond_the_expected_limits() -> None:
    model = source().model
    variances = region_variances(model, BACKGROUND)
    radius = choose_radius(model, variances, np.zeros((0, 4)), SETTINGS, np.random.default_rng(0))
    signals = draw_directions(60, variances, np.zeros((0, 4)), 0.0, np.random.default_rng(9))
    limits = [find_upper_limit(model.likelihood(signal, DataKind.APRIORI)).mu_ul for signal in signals]
    assert np.quantile(limits, 0.85) * 2.0 < radius
    assert choose_radius(model, variances, np.zeros((0, 4)), SurrogateSettings(radius=3.0), np.random.default_rng(0)) == 3.0


def test_samples_are_the_source_model() -> None:
    model = source().model
    directions = np.array([[1.0, 0.0, 0.2, 0.0], [0.0, 2.0, 0.0, 3.0]])
    samples = evaluate_signals(model, directions, np.array([[0.5, 2.0], [1.0, 3.0]]))
    assert samples.group.tolist() == [0, 0, 1, 1] and samples.gradients is not None
    np.testing.assert_array_equal(samples.signals[1], 2.0 * directions[0])
    observed = model.likelihood(directions[1])
    assert samples.values[3, 1] == pytest.approx(-observed.log_ratio(3.0).value)
    assert samples.slopes[3, 1] == pytest.approx(-3.0 * observed.log_ratio(3.0).slope)
    assert samples.values[3, 3] == pytest.approx(-observed.asimov().log_ratio(3.0).value)
    np.testing.assert_allclose((samples.gradients * samples.signals[:, None, :]).sum(axis=2), samples.slopes, rtol=1e-9, atol=1e-9)


# -------------------------------------------------------------------------------------------------------- whole training


def test_the_network_is_close_to_its_source(surrogate: Surrogate) -> None:
    assert surrogate.num_failed == 0 and surrogate.error.num_signals > 150
    assert surrogate.error.median < 0.03
    assert surrogate.error.percentile_95 < 0.2
    assert surrogate.error.small_percentile_95 < 0.1


def test_the_stated_error_is_what_a_user_finds(surrogate: Surrogate, tmp_path: Path) -> None:
    write_onnx(tmp_path / "s.onnx", surrogate.file)
    learned, model = load_surrogate(tmp_path / "s.onnx"), source().model
    variances = region_variances(model, BACKGROUND)
    errors, limits = [], []
    for direction in draw_directions(60, variances, np.zeros((0, 4)), 0.0, np.random.default_rng(77)):
        for radius in (0.2 * surrogate.radius, 0.9 * surrogate.radius):
            for kind in (DataKind.OBSERVED, DataKind.APRIORI):
                found, true = learned.likelihood(radius * direction, kind), model.likelihood(radius * direction, kind)
                assert found.outcome is Outcome.OK
                errors.append(abs(found.log_ratio(1.0).value - true.log_ratio(1.0).value))
        found, true = learned.likelihood(direction), model.likelihood(direction)
        limits.append(find_upper_limit(found).mu_ul / find_upper_limit(true).mu_ul)
    assert np.quantile(errors, 0.95) < 2.0 * surrogate.error.percentile_95
    assert np.median(errors) < 2.0 * surrogate.error.median
    assert np.abs(np.array(limits) - 1.0).max() < 0.1
    assert learned.likelihood(np.zeros(4)).nll(1.0) == pytest.approx(model.likelihood(np.zeros(4)).nll(1.0), abs=1e-5)


def test_the_domain_is_refused_outside(surrogate: Surrogate, tmp_path: Path) -> None:
    write_onnx(tmp_path / "s.onnx", surrogate.file)
    learned = load_surrogate(tmp_path / "s.onnx")
    unit = np.sqrt(region_variances(source().model, BACKGROUND)) * np.array([0.0, 1.0, 0.0, 0.0])
    assert learned.likelihood(0.99 * surrogate.radius * unit).outcome is Outcome.OK
    assert learned.likelihood(1.01 * surrogate.radius * unit).outcome is Outcome.OUTSIDE_DOMAIN


def test_the_file_says_how_it_was_made(surrogate: Surrogate) -> None:
    origin = json.loads(surrogate.file.metadata["protomodels_surrogate"])
    assert origin["source"] == {"analysis_id": "CMS-SUS-00-001", "digest": "abc"}
    assert origin["error"] == surrogate.error._asdict()
    assert origin["settings"]["seed"] == 3
    assert {"numpy", "python", "protomodels"} <= origin["versions"].keys()


def test_equal_settings_give_equal_files() -> None:
    small = SurrogateSettings(num_signals=60, num_steps=50, hidden=(8,), seed=5, radius=4.0)
    files = [format_onnx(train_surrogate(source(), small).file) for _ in range(2)]
    assert files[0] == files[1]
    other = format_onnx(train_surrogate(source(), small.model_copy(update={"seed": 6})).file)
    assert other != files[0]


def test_the_runtime_agrees_with_our_evaluation(surrogate: Surrogate) -> None:
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(format_onnx(surrogate.file), providers=["CPUExecutionProvider"])
    network = Network(surrogate.file)
    for u in np.random.default_rng(1).exponential(1.5, size=(10, 4)).astype(np.float32):
        (expected,) = session.run(None, {"input_1": u[None, :]})
        np.testing.assert_allclose(network(u).outputs, expected[0], rtol=2e-5, atol=2e-5)


def test_training_without_gradients_uses_slopes_along_signals() -> None:
    model = source().model
    variances = region_variances(model, BACKGROUND)
    directions = draw_directions(300, variances, np.zeros((0, 4)), 0.0, np.random.default_rng(1))
    samples = evaluate_signals(model, directions, np.full((300, 1), 3.0))._replace(gradients=None)
    settings = SurrogateSettings(num_steps=2000, hidden=(16,), learning_rate=1e-2)
    fit = fit_network(samples, variances, log_scales(variances, BACKGROUND), settings, np.random.default_rng(2))
    network = Network(build_graph(fit, log_scales(variances, BACKGROUND)))
    found = np.array([network(u).outputs for u in samples.signals / np.sqrt(variances)])
    assert np.quantile(np.abs(found - samples.values), 0.9) < 0.15


def test_a_source_whose_fits_fail_is_refused() -> None:
    broken = CovarianceModel([1.0, 2.0], [1.0, 2.0], np.diag([np.inf, 1.0]))
    names = ("a-0", "b-0")
    nothing = SurrogateSource(broken, names, np.ones(2), np.ones(2), np.zeros((0, 2)), {})
    with pytest.raises(SurrogateError, match="a fit of the background fails"):
        train_surrogate(nothing, SETTINGS)
