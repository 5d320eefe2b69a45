"""Learned likelihoods: how fast networks are evaluated, and how far surrogates are off their sources.

    python -m benchmarks.learned [--results STORE] [--num-signals 4000] [--sources CMS-SUS-21-002,ATLAS-SUSY-2018-16:EWKinos_…,…]

First table: networks of usual sizes, evaluated here and, where it is installed, by onnxruntime (one thread each). Second table: one
surrogate per source, trained with default settings, with the error on held-out signals and its limits for 60 signals that published
efficiencies give, over those of the source. CPU time; smallest of the repeats.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from database.results.store import ResultsStore, default_store_path, open_store
from inference.analysis_models.surrogates import load_surrogate
from inference.limits import find_upper_limit
from inference.networks.network import Network
from inference.networks.onnx_file import Node, OnnxFile, Port, format_onnx, write_onnx
from inference.surrogate.settings import SurrogateSettings
from inference.surrogate.signals import draw_directions, region_variances
from inference.surrogate.source import find_record, source_of_result
from inference.surrogate.training import train_surrogate
from inference.types import DataKind, Outcome

NETWORKS = ((10, (64, 64), "Tanh"), (40, (128,) * 3, "Elu"), (40, (256,) * 4, "Relu"), (40, (512,) * 6, "Softplus"))
SOURCES = (
    "CMS-SUS-21-002", "CMS-SUS-19-006-agg", "ATLAS-SUSY-2018-32", "ATLAS-SUSY-2018-05-ewk",
    "ATLAS-SUSY-2018-16:EWKinos_bkgonly_SR2lOnly.json", "ATLAS-SUSY-2019-09:bkg_onshell.json",
)  # fmt: skip
NUM_LIMITS = 60


def best_time(call: Callable[[], object], num_calls: int = 100, num_repeats: int = 7) -> float:
    """CPU time of one call [s], the smallest of the repeats."""
    times = []
    for _ in range(num_repeats):
        start = time.process_time()
        for _ in range(num_calls):
            call()
        times.append((time.process_time() - start) / num_calls)
    return min(times)


def build_perceptron(num_inputs: int, hidden: Sequence[int], activation: str) -> OnnxFile:
    """A network with random weights and four outputs."""
    rng = np.random.default_rng(0)
    nodes: list[Node] = []
    weights: dict[str, Any] = {}
    value, size = "x", num_inputs
    for number, width in enumerate((*hidden, 4)):
        weights[f"W{number}"] = (rng.normal(size=(size, width)) / np.sqrt(size)).astype(np.float32)
        weights[f"b{number}"] = rng.normal(size=width).astype(np.float32)
        is_last = number == len(hidden)
        nodes.append(Node("Gemm", (value, f"W{number}", f"b{number}"), ("y" if is_last else f"z{number}",)))
        if not is_last:
            nodes.append(Node(activation, (f"z{number}",), (f"a{number}",)))
        value, size = f"a{number}", width
    return OnnxFile(tuple(nodes), weights, (Port("x", (1, num_inputs)),), (Port("y", (1, 4)),))


def open_session(content: bytes) -> Any:
    """A session of onnxruntime with one thread; None where it is not installed."""
    try:
        runtime: Any = import_module("onnxruntime")
    except ImportError:
        return None
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def print_networks() -> None:
    """Table of evaluation times."""
    print("| network | here: value | here: value and all slopes | onnxruntime: value | all slopes by differences |")
    print("|---|---|---|---|---|")
    for num_inputs, hidden, activation in NETWORKS:
        file = build_perceptron(num_inputs, hidden, activation)
        network = Network(file)
        x = np.random.default_rng(1).normal(size=num_inputs)
        one = np.array([0.0, 1.0, 0.0, 0.0])
        session = open_session(format_onnx(file))
        cells = [best_time(lambda: network(x)), best_time(lambda: network.gradient(network(x), one))]  # noqa: B023
        if session is not None:
            feed = {"x": x.astype(np.float32)[None, :]}
            cells.append(best_time(lambda: session.run(None, feed)))  # noqa: B023
            cells.append(cells[-1] * (2 * num_inputs + 1))
        texts = [f"{1e6 * cell:.0f} µs" for cell in cells] + ["–"] * (4 - len(cells))
        print(f"| {num_inputs}; {', '.join(map(str, hidden))} {activation} | {' | '.join(texts)} |")


def print_surrogate(store: ResultsStore, name: str, settings: SurrogateSettings) -> None:
    """One row: a surrogate, its error, its limits."""
    result, _, set_name = name.partition(":")
    source = source_of_result(store, find_record(store, result), set_name or None)
    marks: dict[str, float] = {}
    start = time.process_time()
    surrogate = train_surrogate(source, settings, lambda task, done, total: marks.update({task: time.process_time() - start}))
    with tempfile.TemporaryDirectory() as folder:
        write_onnx(Path(folder) / "surrogate.onnx", surrogate.file)
        learned = load_surrogate(Path(folder) / "surrogate.onnx")
    variances = region_variances(source.model, source.background)
    ratios: list[float] = []
    times: list[tuple[float, float]] = []
    for direction in draw_directions(NUM_LIMITS, variances, source.patterns, 1.0, np.random.default_rng(4242)):
        pair = []
        for model in (learned, source.model):
            likelihood = model.likelihood(direction, DataKind.OBSERVED)
            before = time.process_time()
            pair.append((find_upper_limit(likelihood), time.process_time() - before))
        times.append((pair[0][1], pair[1][1]))
        if all(limit.outcome is Outcome.OK for limit, _ in pair):
            ratios.append(pair[0][0].mu_ul / pair[1][0].mu_ul)
    fits, training = (marks[task] for task in ("fits of the statistical model", "steps of the training"))
    error, (own, full) = surrogate.error, np.median(np.array(times), axis=0) * 1e3
    print(
        f"| {name} | {len(source.names)} | {surrogate.radius:.1f} | {surrogate.num_samples} | {fits:.0f} s, {training - fits:.0f} s "
        f"| {error.median:.3f}, {error.percentile_95:.3f}, {error.largest:.2f} "
        f"| {error.small_percentile_95:.3f}, {error.small_largest:.2f} "
        f"| {min(ratios):.3f}, {np.median(ratios):.3f}, {max(ratios):.3f} ({len(ratios)} of {NUM_LIMITS}) | {own:.1f} ms, {full:.1f} ms |",
        flush=True,
    )


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--results", type=Path, default=None, help="compiled store; none: the imported one")
    parser.add_argument("--num-signals", type=int, default=4000)
    parser.add_argument("--sources", default=",".join(SOURCES), help="results, or result:set, separated by commas")
    options = parser.parse_args()
    print_networks()
    store = open_store(options.results or default_store_path())
    print(
        "\n| source | regions | radius | signals | fits, training | error: median, 95 %, largest | |Δ| < 5: 95 %, largest | limits | time |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for name in options.sources.split(","):
        print_surrogate(store, name, SurrogateSettings(num_signals=options.num_signals))


if __name__ == "__main__":
    main()
