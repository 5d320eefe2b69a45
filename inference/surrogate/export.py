"""A trained network as an ONNX file in the first form that SModelS 3.2 references, with what is needed to trust it.

Inputs are total yields, standardised with the background as mean and √v as standard deviation, so that the network gets u = s/√v; the
features of `features` are operators of the graph. Outputs are the four differences of -ln L. Weights are stored in single precision, as
runtimes expect. What the layers get wrong without signal is taken off there, times ε²/(|u|² + ε²) elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from inference.likelihoods.learned_layout import DOMAIN_KEY, NLL_KEYS, NUM_DATA, ORIGIN_KEY, channel_of
from inference.networks.network import Network
from inference.networks.onnx_file import Node, OnnxFile, Port
from inference.surrogate.features import LINEAR_SCALE, SOFTENING
from inference.surrogate.fitting import Fit
from inference.types import FloatArray

PRODUCER = "protomodels"


def build_graph(fit: Fit, scales: FloatArray) -> OnnxFile:
    """The network from u, shape (1, num_regions), to four differences, without metadata.

    Args:
        fit: trained layers.
        scales: of the logarithmic features, shape (num_regions,).
    """
    size = scales.size
    weights: dict[str, Any] = {
        "linear_scale": np.array(1.0 / LINEAR_SCALE), "scales": scales[None, :], "inverse_scales": 1.0 / scales[None, :],
        "one": np.array(1.0), "softening": np.array([[SOFTENING**2]]), "spread": fit.standardized.spread[None, :],
        "centre": fit.standardized.centre[None, :], "offset": np.zeros((1, NUM_DATA)),
    }  # fmt: skip
    nodes = [
        Node("Mul", ("input_1", "linear_scale"), ("linear",)),
        Node("Mul", ("input_1", "input_1"), ("squares",)),
        Node("ReduceSum", ("squares", "axis"), ("norm",), {"keepdims": 1}),
        Node("Add", ("norm", "softening"), ("softened",)),
        Node("Sqrt", ("softened",), ("length",)),
        Node("Div", ("input_1", "length"), ("direction",)),
        Node("Mul", ("input_1", "scales"), ("scaled",)),
        Node("Add", ("scaled", "one"), ("stretched",)),
        Node("Log", ("stretched",), ("logarithm",)),
        Node("Mul", ("logarithm", "inverse_scales"), ("bent",)),
        Node("Log", ("length",), ("size",)),
        Node("Concat", ("linear", "direction", "bent", "size"), ("features",), {"axis": 1}),
    ]
    value = "features"
    layers = fit.network.layers(fit.weights)
    for number, (matrix, bias) in enumerate(layers):
        weights[f"matrix_{number}"], weights[f"bias_{number}"] = matrix, bias
        nodes.append(Node("Gemm", (value, f"matrix_{number}", f"bias_{number}"), (f"sum_{number}",)))
        value = f"sum_{number}"
        if number < len(layers) - 1:
            nodes.append(Node("Sigmoid", (value,), (f"gate_{number}",)))
            nodes.append(Node("Mul", (value, f"gate_{number}"), (f"layer_{number}",)))
            value = f"layer_{number}"
    nodes += [
        Node("Mul", (value, "spread"), ("spread_out",)),
        Node("Add", ("spread_out", "centre"), ("relative",)),
        Node("Mul", ("relative", "length"), ("raw",)),
        Node("Div", ("softening", "softened"), ("nearness",)),
        Node("Mul", ("nearness", "offset"), ("correction",)),
        Node("Sub", ("raw", "correction"), ("output",)),
    ]
    stored = {name: np.asarray(tensor, dtype=np.float32) for name, tensor in weights.items()} | {"axis": np.array([1], np.int64)}
    ports = (Port("input_1", (1, size)),), (Port("output", (1, NUM_DATA)),)
    file = OnnxFile(tuple(nodes), stored, *ports, producer=PRODUCER)
    stored["offset"] = Network(file)(np.zeros(size)).outputs.astype(np.float32)[None, :]
    return OnnxFile(tuple(nodes), stored, *ports, producer=PRODUCER)


def describe_graph(
    file: OnnxFile,
    names: Sequence[str],
    background: FloatArray,
    observed: FloatArray,
    variances: FloatArray,
    radius: float,
    nll_zero: Sequence[float],
    origin: Mapping[str, Any],
) -> OnnxFile:
    """The network with its metadata.

    Args:
        file: the network.
        names: regions "channel-bin" in the order of the inputs.
        background: expected events per region.
        observed: observed events per region.
        variances: v per region [events²].
        radius: of the domain.
        nll_zero: -ln L without signal per set of data.
        origin: how it was made and its error.
    """
    reach = radius * np.sqrt(variances)
    values: dict[str, Any] = {
        "bkg_yields": [[name, value] for name, value in zip(names, background.tolist(), strict=True)],
        "obs_yields": [[name, value] for name, value in zip(names, observed.tolist(), strict=True)],
        "channels": [{channel_of(name): "SR" for name in names}],
        "standardization_mean": [*background.tolist(), *[0.0] * NUM_DATA],
        "standardization_std": [*np.sqrt(variances).tolist(), *[1.0] * NUM_DATA],
        **dict(zip(NLL_KEYS, nll_zero, strict=True)),
        "lower_limits": background.tolist(),
        "upper_limits": (background + reach).tolist(),
        DOMAIN_KEY: {"variance": variances.tolist(), "radius": radius},
        ORIGIN_KEY: dict(origin),
    }
    metadata = {key: json.dumps(value, allow_nan=False, ensure_ascii=False) for key, value in values.items()}
    return OnnxFile(file.nodes, file.weights, file.inputs, file.outputs, metadata, file.opset, file.producer)
