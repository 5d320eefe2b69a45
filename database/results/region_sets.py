"""Sets of signal regions and their statistical models, as releases from 3.2 on publish them (arXiv:2306.17676, later releases).

`regionMappings` names the regions of the data sets, of workspaces and of networks; `regionSets` lists the regions that one
statistical model combines; `statModels` says which models there are per set. An analysis may publish several sets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from database.results.literals import Value
from database.results.model_files import is_inside
from database.results.records import RegionRecord
from database.results.text_files import TextFile

TAGS: Final = ("regionMappings", "regionSets", "statModels")
MODEL_KINDS: Final = ("sl", "pyhf", "full_pyhf", "onnx")
"""Covariance, workspace, un-simplified workspace, neural network."""
REGION_TYPES: Final = ("SR", "CR", "VR")


class TextRegion(NamedTuple):
    """One region of a set.

    Attributes:
        record: its data set, its channel in workspaces, its type.
        covariance: its row in covariances, the name of a data set.
        network: its name in neural networks.
    """

    record: RegionRecord
    covariance: str | None
    network: str | None


class TextRegionSet(NamedTuple):
    """One set of regions.

    Attributes:
        name: as published.
        regions: in the order of the statistical models.
        models: (kind, file name) in the published order of preference.
    """

    name: str
    regions: tuple[TextRegion, ...]
    models: tuple[tuple[str, str], ...]


def has_region_sets(info: Mapping[str, Value]) -> bool:
    """Whether a result says how its regions combine in this format."""
    return "statModels" in info


def read_region_sets(file: TextFile, info: Mapping[str, Value], lines: Mapping[str, int]) -> tuple[TextRegionSet, ...]:
    """Returns the sets with statistical models of a globalInfo file, in the order of `statModels`; none without that tag.

    Raises:
        ResultsFormatError: a tag is malformed, or names an unknown region or set; names file and line.
    """
    if not has_region_sets(info):
        return ()
    mappings = None
    if "regionMappings" in info:
        mappings = _mappings(file, lines["regionMappings"], info["regionMappings"])
    if "regionSets" not in info:
        raise file.error(lines["statModels"], "'statModels' needs 'regionSets'")
    sets = _dictionary(file, lines["regionSets"], "regionSets", info["regionSets"], "set names to lists of regions")
    found: list[TextRegionSet] = []
    for name, models in _dictionary(file, lines["statModels"], "statModels", info["statModels"], "set names to lists of models").items():
        if name not in sets:
            raise file.error(lines["statModels"], f"'statModels' names {name!r}, which 'regionSets' does not have")
        labels = sets[name]
        if not isinstance(labels, list | tuple) or not labels or not all(isinstance(label, str) for label in labels):
            raise file.error(lines["regionSets"], f"the set {name!r} must be a list of regions")
        regions = tuple(_region_of(file, lines["regionSets"], str(label), mappings) for label in labels)
        found.append(TextRegionSet(name, regions, _models(file, lines["statModels"], name, models)))
    return tuple(found)


def _dictionary(file: TextFile, line: int, tag: str, value: Value, meaning: str) -> dict[str, Value]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise file.error(line, f"{tag!r} must map {meaning}")
    return {str(key): entry for key, entry in value.items()}


def _mappings(file: TextFile, line: int, value: Value) -> dict[str, TextRegion]:
    regions: dict[str, TextRegion] = {}
    for label, entry in _dictionary(file, line, "regionMappings", value, "labels to data sets or to their names").items():
        names: dict[str, Value] = {"smodels": entry} if isinstance(entry, str) else {}
        if isinstance(entry, dict):
            names = {str(key): name for key, name in entry.items()}
        texts = {key: name for key, name in names.items() if isinstance(name, str)}
        kind = texts.get("type", "SR")
        unknown = set(names) - {"smodels", "pyhf", "sl", "onnx", "type"}
        if (
            not isinstance(entry, str | dict)
            or unknown
            or kind not in REGION_TYPES
            or any(n is not None for n in names.values() if not isinstance(n, str))
        ):
            raise file.error(
                line, f"the region {label!r} of 'regionMappings' is neither a name nor {{'smodels', 'pyhf', 'sl', 'onnx', 'type'}}"
            )
        smodels = texts.get("smodels", label if kind == "SR" and "smodels" not in names else None)
        channel = texts.get("pyhf", smodels)
        regions[label] = TextRegion(RegionRecord(smodels, channel, kind), texts.get("sl", smodels), texts.get("onnx", channel))
    return regions


def _region_of(file: TextFile, line: int, label: str, mappings: Mapping[str, TextRegion] | None) -> TextRegion:
    if mappings is None:
        return TextRegion(RegionRecord(label, label, "SR"), label, label)
    if label not in mappings:
        raise file.error(line, f"'regionSets' names {label!r}, which 'regionMappings' does not have")
    return mappings[label]


def _models(file: TextFile, line: int, name: str, value: Value) -> tuple[tuple[str, str], ...]:
    problem = f"the models of the set {name!r} must be a list of (kind, file), kinds being {', '.join(MODEL_KINDS)}"
    if not isinstance(value, list | tuple):
        raise file.error(line, problem)
    entries = [value] if len(value) == 2 and all(isinstance(part, str) for part in value) else value
    models: list[tuple[str, str]] = []
    for entry in entries:
        if not isinstance(entry, list | tuple) or len(entry) != 2:
            raise file.error(line, problem)
        kind, path = entry
        if kind not in MODEL_KINDS or not isinstance(path, str):
            raise file.error(line, problem)
        models.append((str(kind), path))
    return tuple(models)


class DatasetOrder(NamedTuple):
    """Data sets that sets of regions combine.

    Attributes:
        names: in the order in which the sets name them, each once.
        rows: those that are rows of a covariance, per set that has one.
    """

    names: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def order_datasets(sets: Sequence[TextRegionSet], folder: Path) -> DatasetOrder:
    """Returns the data sets that occur in some set of which a statistical model is there; rows of covariances come first per set."""
    names: dict[str, None] = {}
    rows: list[tuple[str, ...]] = []
    for region_set in sets:
        kinds = {kind for kind, name in region_set.models if is_inside(folder, name)}
        if "sl" in kinds:
            rows.append(tuple(region.covariance or "" for region in region_set.regions))
            names.update(dict.fromkeys(rows[-1]))
        if kinds:
            names.update(dict.fromkeys(region.record.smodels for region in region_set.regions if region.record.smodels is not None))
    return DatasetOrder(tuple(names), tuple(rows))
