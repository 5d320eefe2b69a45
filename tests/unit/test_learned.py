"""Likelihoods learned by networks: what published files mean, exact values and slopes, domains."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inference.analysis_models.learned import find_input, load_learned_model
from inference.analysis_models.placed import UnusableModelError
from inference.analysis_models.surrogates import LearnedModelError, load_surrogate
from inference.likelihoods.learned import LearnedModel
from inference.likelihoods.learned_layout import LayoutError, read_layout
from inference.likelihoods.single_region import SingleRegionLikelihood
from inference.limits import find_upper_limit
from inference.networks.onnx_file import Node, OnnxFile, Port, write_onnx
from inference.types import DataKind, FloatArray, Outcome
from tests.learned_networks import NLL_KEYS, poisson_network, poisson_nll

NAMES = ["SRa-0", "SRb-0", "SRb-1"]
BACKGROUND, OBSERVED = [3.0, 8.0, 0.7], [5.0, 7.0, 2.0]
SIGNAL = np.array([1.5, 2.0, 0.4])
MUS = (0.0, 0.3, 1.0, 2.5, 7.0)


@pytest.fixture
def load(tmp_path: Path) -> Any:
    def build(file: OnnxFile, **options: Any) -> LearnedModel:
        write_onnx(tmp_path / "net.onnx", file)
        return load_learned_model(tmp_path / "net.onnx", **options)

    return build


def exact(mu: float, counts: list[float], background: list[float], signal: FloatArray) -> float:
    return poisson_nll(counts, (np.array(background) + mu * signal).tolist())


@pytest.mark.parametrize(
    ("kind", "counts"), [(DataKind.OBSERVED, OBSERVED), (DataKind.APRIORI, BACKGROUND), (DataKind.APOSTERIORI, BACKGROUND)]
)
def test_the_published_form_gives_the_likelihood(load: Any, kind: DataKind, counts: list[float]) -> None:
    likelihood = load(poisson_network(NAMES, BACKGROUND, OBSERVED)).likelihood(SIGNAL, kind)
    assert likelihood.outcome is Outcome.OK
    for mu in MUS:
        expected = exact(mu, counts, BACKGROUND, SIGNAL)
        assert likelihood.nll(mu) == pytest.approx(expected, abs=1e-9)
        assert likelihood.log_ratio(mu).value == pytest.approx(exact(0.0, counts, BACKGROUND, SIGNAL) - expected, abs=1e-9)
        by_hand = sum(s * (k / (b + mu * s) - 1.0) for s, k, b in zip(SIGNAL, counts, BACKGROUND, strict=True))
        assert likelihood.log_ratio(mu).slope == pytest.approx(by_hand, abs=1e-9)
        slopes = [mu * (k / (b + mu * s) - 1.0) for s, k, b in zip(SIGNAL, counts, BACKGROUND, strict=True)]
        np.testing.assert_allclose(likelihood.signal_slopes(mu), slopes, atol=1e-9)


def test_asimov_data_are_the_networks_own(load: Any) -> None:
    likelihood = load(poisson_network(NAMES, BACKGROUND, OBSERVED)).likelihood(SIGNAL)
    assert likelihood.asimov().nll(1.0) == pytest.approx(exact(1.0, BACKGROUND, BACKGROUND, SIGNAL), abs=1e-9)
    assert likelihood.asimov().mu_hat == pytest.approx(0.0, abs=1e-6)


def test_limits_agree_with_a_counting_experiment(load: Any) -> None:
    model = load(poisson_network(["SR-0"], [20.0], [24.0]))
    found = model.likelihood(np.array([5.0]))
    region = SingleRegionLikelihood(observed=24.0, background=20.0, background_error=0.0, signal=5.0)
    assert found.mu_hat == pytest.approx(0.8, abs=1e-9)
    assert found.sigma_mu == pytest.approx(region.sigma_mu, rel=1e-6)
    assert find_upper_limit(found).mu_ul == pytest.approx(find_upper_limit(region).mu_ul, rel=1e-6)


def test_control_regions_hold_observed_counts(load: Any) -> None:
    file = poisson_network(["CR-0", "SR-0"], [30.0, 4.0], [33.0, 6.0], roles={"CR-0": "CR"})
    model = load(file)
    assert model.layout.background.tolist() == [33.0, 4.0]
    assert model.likelihood(np.array([0.0, 2.0])).nll(1.0) == pytest.approx(poisson_nll([33.0, 6.0], [33.0, 6.0]), abs=1e-9)
    told = load(poisson_network(["CR-0", "SR-0"], [30.0, 4.0], [33.0, 6.0]), types={"CR": "CR"})
    assert told.layout.background.tolist() == [33.0, 4.0]


def test_the_second_published_form(load: Any, tmp_path: Path) -> None:
    weights = np.random.default_rng(1).normal(size=(3, 8)).astype(np.float32)
    mean, std, nll_mean, nll_std = [1.1, 2.0, 0.4], [0.3, 0.2, 0.5], [0.1, 0.2, 0.3, 0.4], [1.5, 2.0, 0.5, 1.0]
    metadata = {
        "bkg_yields": [[name, value] for name, value in zip(NAMES, BACKGROUND, strict=True)],
        "standardization": {"features_mean": [mean], "features_std": [std], "nLLs_mean": [nll_mean], "nLLs_std": [nll_std]},
        "nLL_obs_mu0": 12.5,
    }
    config = (
        "data:\n  trafos: {fvs_standardized: [log_w_negatives, standardization]}\n  nLL_trafos:\n    asinh_scale: 2.0\n"
        "    per_output: [[standardization], [log_w_negatives, standardization], [asinh, standardization], [asinh]]\n"
    )
    texts = {**{key: json.dumps(value) for key, value in metadata.items()}, "run_config": config}
    nodes = (Node("MatMul", ("features", "W"), ("m",)), Node("Tanh", ("m",), ("y",)))
    model = load(OnnxFile(nodes, {"W": weights}, (Port("features", (1, 3)),), (Port("y", (1, 8)),), texts))
    features = (np.log1p(np.array(BACKGROUND) + SIGNAL) - mean) / std
    o = np.tanh(features @ weights.astype(np.float64))
    y = o[:4] * nll_std + nll_mean
    expected = [y[0], np.sign(y[1]) * np.expm1(abs(y[1])), 2.0 * np.sinh(y[2]), 2.0 * np.sinh(o[3])]
    for k in range(4):
        assert model.evaluate(np.array(BACKGROUND) + SIGNAL, k).difference == pytest.approx(expected[k], rel=1e-12)
        for i in range(3):
            step = 1e-6 * np.eye(3)[i]
            ends = [model.evaluate(np.array(BACKGROUND) + SIGNAL + sign * step, k).difference for sign in (1.0, -1.0)]
            found = model.evaluate(np.array(BACKGROUND) + SIGNAL, k).slopes[i]
            assert found == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-6, abs=1e-7)
    likelihood = model.likelihood(SIGNAL)
    assert likelihood.nll(1.0) == pytest.approx(12.5 + expected[1])


def test_python_literals_and_removed_channels(load: Any) -> None:
    file = poisson_network(NAMES, BACKGROUND, OBSERVED)
    metadata = dict(file.metadata)
    metadata["bkg_yields"] = "[('VR-0', 4.0), ('SRa-0', 3.0), ('SRb-0', 8.0), ('SRb-1', 0.7)]"
    metadata["remove_channels"] = "['VR']"
    metadata["lower_limits"], metadata["upper_limits"] = "[0, 1, 2, 0.5]", "[9, 10, 20, 5]"
    model = load(replace(file, metadata=metadata))
    assert model.layout.names == tuple(NAMES)
    assert model.layout.upper is not None and model.layout.upper.tolist() == [10.0, 20.0, 5.0]
    assert model.likelihood(SIGNAL).nll(1.0) == pytest.approx(exact(1.0, OBSERVED, BACKGROUND, SIGNAL), abs=1e-9)


# ------------------------------------------------------------------------------------------------------------- domains


def test_outside_of_the_box_there_is_no_number(load: Any) -> None:
    model = load(poisson_network(NAMES, BACKGROUND, OBSERVED, lower_limits=[2.0, 5.0, 0.5], upper_limits=[9.0, 18.0, 5.0]))
    likelihood = model.likelihood(SIGNAL)
    assert likelihood.largest_mu == pytest.approx(4.0)
    assert likelihood.outcome is Outcome.OK
    assert math.isfinite(likelihood.nll(4.0)) and math.isnan(likelihood.nll(4.01))
    assert math.isnan(likelihood.log_ratio(4.01).value) and np.isnan(likelihood.signal_slopes(5.0)).all()
    assert model.likelihood(4.5 * SIGNAL).outcome is Outcome.OUTSIDE_DOMAIN
    assert model.likelihood(-SIGNAL).outcome is Outcome.OUTSIDE_DOMAIN
    assert model.likelihood(np.array([0.0, 0.0, 4.2])).outcome is Outcome.OK


def test_outside_of_the_ball_there_is_no_number(load: Any) -> None:
    model = load(poisson_network(NAMES, BACKGROUND, OBSERVED, protomodels_domain={"variance": [1.0, 4.0, 0.25], "radius": 3.0}))
    assert model.likelihood(np.array([3.0, 0.0, 0.0])).outcome is Outcome.OK
    assert model.likelihood(np.array([0.0, 6.1, 0.0])).outcome is Outcome.OUTSIDE_DOMAIN
    assert model.likelihood(np.array([0.6, 0.0, 0.4])).largest_mu == pytest.approx(3.0)


def test_a_maximum_beyond_the_domain_is_no_maximum(load: Any) -> None:
    likelihood = load(poisson_network(["SR-0"], [20.0], [50.0], lower_limits=[10.0], upper_limits=[40.0])).likelihood(np.array([10.0]))
    assert likelihood.outcome is Outcome.OK
    assert math.isnan(likelihood.mu_hat) and math.isnan(likelihood.sigma_mu)
    found = find_upper_limit(likelihood)
    assert found.outcome is not Outcome.OK and not math.isfinite(found.mu_ul)


def test_a_network_that_yields_no_number_is_an_outcome(load: Any) -> None:
    nodes = (Node("Sub", ("x", "edge"), ("d",)), Node("Log", ("d",), ("l",)), Node("MatMul", ("l", "W"), ("y",)))
    weights: dict[str, Any] = {"edge": np.array(9.0, np.float32), "W": np.ones((1, 4), np.float32)}
    file = OnnxFile(nodes, weights, (Port("x", (1, 1)),), (Port("y", (1, 4)),), {"bkg_yields": '[["SR", 10.0]]'})
    likelihood = load(file).likelihood(np.array([1.0]))
    assert likelihood.outcome is Outcome.OK
    broken = load(replace(file, metadata={"bkg_yields": '[["SR", 8.0]]'})).likelihood(np.array([0.5]))
    assert broken.outcome is Outcome.NON_FINITE
    assert math.isnan(broken.log_ratio(1.0).value) and math.isnan(broken.mu_hat)


def test_transformations_that_fail_are_an_outcome(load: Any) -> None:
    scales = {"features_mean": [[0.0]], "features_std": [[1.0]], "nLLs_mean": [[0.0] * 4], "nLLs_std": [[1.0] * 4]}
    config = "data: {trafos: {all: [log]}, nLL_trafos: [standardization]}"
    metadata = {"bkg_yields": '[["SR", 0.0]]', "standardization": json.dumps(scales), "run_config": config}
    nodes = (
        Node("MatMul", ("x", "W"), ("values",)),
        Node("Exp", ("values",), ("positive",)),
        Node("Neg", ("positive",), ("negative",)),
        Node("Log", ("negative",), ("uncertainties",)),
        Node("Concat", ("values", "uncertainties"), ("y",), {"axis": 1}),
    )
    file = OnnxFile(nodes, {"W": np.ones((1, 4), np.float32)}, (Port("x", (1, 1)),), (Port("y", (1, 8)),), metadata)
    assert load(file).likelihood(np.array([1.0])).outcome is Outcome.NON_FINITE
    right = load(replace(file, metadata={**metadata, "bkg_yields": '[["SR", 2.0]]'})).likelihood(np.array([2.0]))
    assert right.outcome is Outcome.OK  # an uncertainty that is not finite does not matter
    assert right.log_ratio(1.0) == pytest.approx((math.log(2.0) - math.log(4.0), -2.0 / 4.0))


# -------------------------------------------------------------------------------------------------------- bad metadata


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"bkg_yields": None}, "no 'bkg_yields'"),
        ({"bkg_yields": [["SRa-0", 1.0]]}, "has 1 regions, the network has 3 inputs"),
        ({"bkg_yields": [["SRa-0", "x"]]}, "must be a list of"),
        ({"bkg_yields": [["SRa-0", 1.0]] * 3}, "names a region twice"),
        ({"standardization_std": [1.0, 2.0]}, "list of 7 numbers"),
        ({"standardization_std": None}, "'standardization_std' must be"),
        ({"upper_limits": [1.0, 2.0], "lower_limits": [0.0, 1.0]}, "must be a list of 3 numbers"),
        ({"nLL_obs_mu0": [1.0, 2.0]}, "'nLL_obs_mu0' is not a number"),
        ({"protomodels_domain": {"variance": [1.0], "radius": 1.0}}, "list of 3 numbers"),
        ({"protomodels_domain": {"variance": [1.0, 1.0, -1.0], "radius": 1.0}}, "positive numbers"),
        ({"protomodels_domain": {"variance": [1.0, 1.0, 1.0], "radius": 0.0}}, "positive 'radius'"),
        ({"channels": [{"SRa": "CR"}], "obs_yields": None}, "lacks the control region SRa-0"),
        ({"standardization": {"features_mean": [[0.0]]}}, "'features_std'"),
    ],
)
def test_bad_metadata_are_named(change: dict[str, Any], problem: str) -> None:
    metadata = dict(poisson_network(NAMES, BACKGROUND, OBSERVED).metadata)
    for key, value in change.items():
        metadata.pop(key, None)
        if value is not None:
            metadata[key] = json.dumps(value)
    with pytest.raises(LayoutError, match=problem):
        read_layout(metadata, 3, 4)


def test_too_few_outputs_are_refused() -> None:
    with pytest.raises(LayoutError, match="it has 1 outputs, 4 are needed"):
        read_layout(poisson_network(NAMES, BACKGROUND, OBSERVED).metadata, 3, 1)


def test_constants_that_are_not_published_leave_ratios() -> None:
    metadata = {key: text for key, text in poisson_network(NAMES, BACKGROUND, OBSERVED).metadata.items() if key not in NLL_KEYS}
    assert all(math.isnan(value) for value in read_layout(metadata, 3, 4).nll_zero)


def test_a_file_that_is_no_network_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"nothing")
    with pytest.raises(LearnedModelError, match=r"^a\.onnx is not a learned statistical model that can be evaluated: .*\.$"):
        load_surrogate(tmp_path / "a.onnx")


# --------------------------------------------------------------------------------------------------- other operators


def test_unknown_operators_go_to_the_runtime(load: Any) -> None:
    pytest.importorskip("onnxruntime")
    file = poisson_network(NAMES, BACKGROUND, OBSERVED)
    # ReduceLogSum(exp(x)) = ln Σ exp x, which is not evaluated here; over one entry it is x
    detour = (Node("Unsqueeze", ("output_", "axis"), ("u",)), Node("ReduceLogSumExp", ("u",), ("output",), {"axes": (2,), "keepdims": 0}))
    nodes = (*file.nodes[:-1], replace(file.nodes[-1], outputs=("output_",)), *detour)
    model = load(replace(file, nodes=nodes, weights={**file.weights, "axis": np.array([2], np.int64)}))
    likelihood = model.likelihood(SIGNAL)
    assert likelihood.nll(1.0) == pytest.approx(exact(1.0, OBSERVED, BACKGROUND, SIGNAL), abs=1e-6)
    exact_slope = sum(s * (k / (b + s) - 1.0) for s, k, b in zip(SIGNAL, OBSERVED, BACKGROUND, strict=True))
    assert likelihood.log_ratio(1.0).slope == pytest.approx(exact_slope, rel=1e-3, abs=1e-3)


def test_without_the_runtime_the_operator_is_named(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    file = poisson_network(NAMES, BACKGROUND, OBSERVED)
    nodes = (*file.nodes[:-1], replace(file.nodes[-1], op_type="Hardmax", inputs=("centred",)))
    with pytest.raises(UnusableModelError, match="its operator Hardmax is evaluated by onnxruntime only, which is not installed"):
        load(replace(file, nodes=nodes))


def test_regions_find_their_inputs() -> None:
    inputs = ("SRlow_cuts-0", "SRhigh_cuts-0", "SRhigh_cuts-1", "plain")
    assert [find_input(name, inputs) for name in ("SRlow_cuts[0]", "plain", "plain[0]", "SRhigh_cuts-1", "SRhigh")] == [0, 3, 3, 2, -1]
