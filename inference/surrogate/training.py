"""From an analysis model to a file: signals, source, training, and the error on signals that were held out."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

import numpy as np

from database.errors import UserFacingError
from inference.analysis_models.protocol import AnalysisModel
from inference.networks.network import Network
from inference.networks.onnx_file import OnnxFile, format_onnx, parse_onnx
from inference.surrogate.export import build_graph, describe_graph
from inference.surrogate.features import log_scales
from inference.surrogate.fitting import fit_network
from inference.surrogate.samples import Samples, evaluate_signals, likelihoods_of
from inference.surrogate.settings import SurrogateSettings
from inference.surrogate.signals import choose_radius, draw_directions, region_variances
from inference.types import FloatArray

Progress = Callable[[str, int, int], None]
"""Called with (what is done, how much of it, in all)."""
SMALL_DIFFERENCE = 5.0
"""Signals with |Δ(-ln L)| below this are those that limits are decided by."""
DATA_NAMES = ("apriori", "observed", "apriori_asimov", "observed_asimov")


class SurrogateError(UserFacingError):
    """No surrogate can be made."""


@dataclass(frozen=True, eq=False)
class SurrogateSource:
    """A statistical model to be learned.

    Attributes:
        model: the model; signals are vectors over `names`.
        names: its regions, "channel-bin".
        background: expected events per region, shape (num_regions,).
        observed: observed events per region, shape (num_regions,).
        patterns: signals as published efficiencies give them, in any units, shape (num_patterns, num_regions); may be empty.
        identity: what it is, for the file: analysis, set, digest of the published numbers, …
    """

    model: AnalysisModel
    names: tuple[str, ...]
    background: FloatArray
    observed: FloatArray
    patterns: FloatArray
    identity: Mapping[str, Any]


class ErrorSummary(NamedTuple):
    """|Δ(-ln L) of the network - that of the source| on signals that were not used in the training, over all sets of data.

    Attributes:
        median, percentile_95, largest: of all signals.
        small_percentile_95, small_largest: of those with |Δ| < 5, by which limits are decided.
        slope_percentile_95: of the derivative along the signal per unit of |u|.
        num_signals: how many signals.
    """

    median: float
    percentile_95: float
    largest: float
    small_percentile_95: float
    small_largest: float
    slope_percentile_95: float
    num_signals: int


class Surrogate(NamedTuple):
    """A trained surrogate.

    Attributes:
        file: network and metadata.
        error: on held-out signals.
        radius: of the domain.
        num_samples: signals of the training.
        num_failed: signals whose fits failed; they are left out.
    """

    file: OnnxFile
    error: ErrorSummary
    radius: float
    num_samples: int
    num_failed: int


def train_surrogate(source: SurrogateSource, settings: SurrogateSettings, progress: Progress | None = None) -> Surrogate:
    """Trains a network on a statistical model.

    Args:
        source: what is learned.
        settings: domain, size, effort.
        progress: called now and then.

    Raises:
        SurrogateError: too many fits of the source fail, or it has no numbers without signal.
    """
    root = np.random.SeedSequence(settings.seed)
    of_radius, of_signals, of_split, of_weights = (np.random.Generator(np.random.PCG64(child)) for child in root.spawn(4))
    zero = [curve.nll(0.0) for curve in likelihoods_of(source.model, np.zeros(len(source.names)))]
    if not np.isfinite(zero).all():
        raise SurrogateError("The statistical model has no likelihood without signal: a fit of the background fails.")
    variances = region_variances(source.model, source.background)
    radius = choose_radius(source.model, variances, source.patterns, settings, of_radius)
    directions = draw_directions(settings.num_signals, variances, source.patterns, settings.pattern_share, of_signals)
    strengths = radius * of_signals.uniform(1e-3, 1.0, (settings.num_signals, settings.num_strengths))
    samples = evaluate_signals(source.model, directions, strengths, _named(progress, "fits of the statistical model"))
    total = settings.num_signals * settings.num_strengths
    if samples.num_failed > settings.max_failed * total:
        raise SurrogateError(f"{samples.num_failed} of {total} fits of the statistical model fail; no surrogate is made of it.")
    is_held_out = of_split.random(settings.num_signals)[samples.group] < settings.held_out
    training, test = (samples.select(np.flatnonzero(chosen).astype(np.int32)) for chosen in (~is_held_out, is_held_out))
    if not len(test.values) or not len(training.values):
        raise SurrogateError("There are too few signals to train with some and to test with others; ask for more.")
    scales = log_scales(variances, source.background)
    fit = fit_network(training, variances, scales, settings, of_weights, _named(progress, "steps of the training"))
    graph = build_graph(fit, scales)
    error = measure_error(graph, test, variances)
    origin = {
        "source": dict(source.identity),
        "settings": settings.model_dump(mode="json"),
        "error": error._asdict(),
        "num_training": len(training.values),
        "num_failed": samples.num_failed,
        "versions": _versions(),
    }
    file = describe_graph(graph, source.names, source.background, source.observed, variances, radius, zero, origin)
    return Surrogate(file, error, radius, len(training.values), samples.num_failed)


def measure_error(graph: OnnxFile, test: Samples, variances: FloatArray) -> ErrorSummary:
    """Error of a network, as it will be evaluated, on samples.

    Args:
        graph: network from u to the four differences.
        test: samples.
        variances: v per region [events²].
    """
    network = Network(parse_onnx(format_onnx(graph)))
    u = test.signals / np.sqrt(variances)
    values, slopes = np.empty(test.values.shape), np.empty(test.slopes.shape)
    for row, point in enumerate(u):
        value = network(point)
        values[row] = value.outputs
        slopes[row] = [network.gradient(value, unit) @ point for unit in np.eye(len(DATA_NAMES))]
    length = np.linalg.norm(u, axis=1, keepdims=True)
    error, slope_error = np.abs(values - test.values), np.abs(slopes - test.slopes) / length
    small = error[np.abs(test.values) < SMALL_DIFFERENCE]
    return ErrorSummary(
        float(np.median(error)),
        float(np.quantile(error, 0.95)),
        float(error.max()),
        float(np.quantile(small, 0.95)) if small.size else 0.0,
        float(small.max(initial=0.0)),
        float(np.quantile(slope_error, 0.95)),
        len(u),
    )


def _named(progress: Progress | None, name: str) -> Callable[[int, int], None] | None:
    if progress is None:
        return None
    report = progress
    return lambda done, total: report(name, done, total)


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "numpy": np.__version__}
    try:
        found["protomodels"] = version("protomodels")
    except PackageNotFoundError:
        found["protomodels"] = "unknown"
    return found
