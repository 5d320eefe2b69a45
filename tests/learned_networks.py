"""Networks for tests whose right answers are known: products of Poisson distributions without systematic uncertainties.

-ln L(n) + ln L(b) = Σ (n_i - b_i) - k_i ln(n_i/b_i) with n_i the expected and k_i the counted events.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from inference.networks.onnx_file import Node, OnnxFile, Port, write_onnx

NLL_KEYS = ("nLL_exp_mu0", "nLL_obs_mu0", "nLLA_exp_mu0", "nLLA_obs_mu0")


def poisson_nll(counts: Sequence[float], background: Sequence[float]) -> float:
    """-ln L of the background."""
    return sum(b - k * math.log(b) + math.lgamma(k + 1.0) for k, b in zip(counts, background, strict=True))


def poisson_network(
    names: Sequence[str],
    background: Sequence[float],
    observed: Sequence[float],
    roles: dict[str, str] | None = None,
    **metadata: Any,
) -> OnnxFile:
    """A network in the first published form that is exact; in control regions the background is the observed count."""
    roles = roles or {}
    centre = np.array([o if roles.get(name) == "CR" else b for name, b, o in zip(names, background, observed, strict=True)])
    counts = np.array([centre, np.asarray(observed, dtype=np.float64), centre, centre])  # a priori, observed, Asimov data of both
    size = len(names)
    mean, std = centre + 1.5, np.linspace(2.0, 5.0, size)
    out_mean, out_std = np.array([0.5, -1.0, 0.25, 2.0]), np.array([2.0, 4.0, 0.5, 8.0])
    weights: dict[str, Any] = {
        "std": std, "mean": mean, "inverse": 1.0 / centre, "ones": np.ones((size, 4)), "counts": counts.T.copy(),
        "sum": centre.sum() + out_mean, "scale": 1.0 / out_std,
    }  # fmt: skip
    nodes = (
        Node("Mul", ("input_1", "std"), ("shifted",)),
        Node("Add", ("shifted", "mean"), ("totals",)),
        Node("Mul", ("totals", "inverse"), ("ratio",)),
        Node("Log", ("ratio",), ("log",)),
        Node("MatMul", ("totals", "ones"), ("linear",)),
        Node("MatMul", ("log", "counts"), ("logs",)),
        Node("Sub", ("linear", "logs"), ("nll",)),
        Node("Sub", ("nll", "sum"), ("centred",)),
        Node("Mul", ("centred", "scale"), ("output",)),
    )
    texts: dict[str, Any] = {
        "bkg_yields": [[name, value] for name, value in zip(names, np.asarray(background, dtype=float).tolist(), strict=True)],
        "obs_yields": [[name, value] for name, value in zip(names, np.asarray(observed, dtype=float).tolist(), strict=True)],
        "channels": [roles],
        "standardization_mean": [*mean.tolist(), *out_mean.tolist()],
        "standardization_std": [*std.tolist(), *out_std.tolist()],
        **{key: poisson_nll(row, centre.tolist()) for key, row in zip(NLL_KEYS, counts.tolist(), strict=True)},
        **metadata,
    }
    stored = {key: value if isinstance(value, str) else json.dumps(value) for key, value in texts.items() if value is not None}
    return OnnxFile(nodes, weights, (Port("input_1", (1, size), is_double=True),), (Port("output", (1, 4), is_double=True),), stored)


def write_poisson_network(
    path: Path, names: Sequence[str], background: Sequence[float], observed: Sequence[float], **metadata: Any
) -> None:
    """Writes such a network."""
    write_onnx(path, poisson_network(names, background, observed, **metadata))
