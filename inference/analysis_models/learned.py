"""Neural networks as statistical models of an analysis, as region sets publish them; `surrogates` for files that users made."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from database.results.records import ModelFileRecord, RegionSetRecord
from inference.analysis_models.placed import PlacedModel, UnusableModelError
from inference.likelihoods.learned import AnyNetwork, LearnedModel
from inference.likelihoods.learned_layout import LayoutError, channel_of, read_layout
from inference.networks.network import Network
from inference.networks.onnx_file import NetworkFileError, OnnxFile, read_onnx
from inference.networks.operators import UnsupportedOperatorError
from inference.networks.runtime import MissingRuntimeError, RuntimeNetwork
from inference.settings import Conventions

if TYPE_CHECKING:
    from database.results.store import ResultsStore


def compile_network(file: OnnxFile) -> AnyNetwork:
    """The network, evaluated here where all its operators are known, else by onnxruntime.

    Raises:
        UnusableModelError: neither is possible; says why.
    """
    try:
        return Network(file)
    except UnsupportedOperatorError as error:
        try:
            return RuntimeNetwork(file)
        except MissingRuntimeError:
            raise UnusableModelError(f"its operator {error} is evaluated by onnxruntime only, which is not installed") from None
        except (ValueError, IndexError) as refused:
            raise UnusableModelError(f"{refused}") from None


def load_learned_model(
    path: Path, types: Mapping[str, str] | None = None, includes_crs: bool = False, background: Sequence[tuple[str, float]] | None = None
) -> LearnedModel:
    """The learned model of a file, its signals in the order of its inputs.

    Args:
        path: ONNX file.
        types: "SR", "CR" or "VR" per channel where the analysis says so.
        includes_crs: whether control regions stay in the model.
        background: regions and their expected events [events], for files that do not state them.

    Raises:
        UnusableModelError: it cannot be evaluated; says why.
    """
    try:
        file = read_onnx(path)
    except NetworkFileError as error:
        raise UnusableModelError(str(error).rstrip(".")) from None
    network = compile_network(file)
    metadata = dict(file.metadata)
    if background is not None:
        metadata.setdefault("bkg_yields", json.dumps(background))
    try:
        num_outputs = network(np.zeros(network.num_inputs)).outputs.size
        layout = read_layout(metadata, network.num_inputs, num_outputs, types, includes_crs)
    except (LayoutError, ValueError, IndexError) as error:
        raise UnusableModelError(str(error)) from None
    return LearnedModel(network, layout)


def find_input(name: str, inputs: Sequence[str]) -> int:
    """Which input a region is, by its name in networks or workspaces; −1 if it is none.

    Examples:
        >>> inputs = ("SRlow_cuts-0", "SRhigh_cuts-0", "SRhigh_cuts-1")
        >>> [find_input(name, inputs) for name in ("SRlow_cuts", "SRhigh_cuts[1]", "SRhigh_cuts-0", "SR")]
        [0, 2, 1, -1]
    """
    channel, bracket, rest = name.partition("[")
    names = [name, f"{name}-0"]
    if bracket and rest.endswith("]") and rest[:-1].isdigit():
        names = [f"{channel}-{rest[:-1]}", *([channel] if rest == "0]" else [])]
    return next((inputs.index(entry) for entry in names if entry in inputs), -1)


def build_learned_model(
    store: ResultsStore, result: int, region_set: RegionSetRecord, file: ModelFileRecord, conventions: Conventions
) -> PlacedModel:
    """The network of a region set, its inputs filled by the data sets of the result.

    Raises:
        UnusableModelError: it cannot be evaluated, or lacks a region that may see a signal; says why.
    """
    record = store.results[result]
    named = list(zip(region_set.networks, region_set.regions, region_set.datasets, strict=True))
    types = {channel_of((name or "").replace("[", "-").rstrip("]")): region.type for name, region, _ in named}
    background = None
    if all(name is not None and dataset >= 0 for name, _, dataset in named):
        background = [(name or "", float(store.expected_bg[record.dataset_start + dataset])) for name, _, dataset in named]
    model = load_learned_model(store.path / file.path, types, record.stat_payload.includes_crs, background)
    columns = np.full(model.num_regions, -1, dtype=np.int32)
    filled: set[int] = set()
    for name, region, dataset in named:
        place = find_input(name, model.layout.names) if name is not None else -1
        if place < 0 and dataset >= 0:
            raise UnusableModelError(f"it has no input for the region {name or region.smodels}")
        if place in filled:
            raise UnusableModelError(f"two regions fill its input {model.layout.names[place]}")
        if place >= 0:
            filled.add(place)
            columns[place] = dataset
    return PlacedModel(model, columns)
