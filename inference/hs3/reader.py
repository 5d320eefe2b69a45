"""From HS3 to a pyhf workspace."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from inference.hs3.analyses import AnalysisEntry, configure_parameters, find_analyses
from inference.hs3.errors import Hs3Error
from inference.hs3.samples import LUMI, SampleReader
from inference.hs3.values import index_by_name
from inference.likelihoods.histfactory import HistFactoryModel, HistFactorySettings, HistosysCode, NormsysCode, compile_workspace
from inference.likelihoods.histfactory.parameters import ParameterSet, collect_parameter_sets, collect_staterrors, scalar_set
from inference.likelihoods.histfactory.workspace import read_workspace

_MAJOR_VERSION = "0."


class Hs3Reading(NamedTuple):
    """What an HS3 document says in pyhf's words.

    Attributes:
        workspace: parsed JSON of a pyhf workspace, one measurement per analysis.
        normsys, histosys: interpolation codes; a workspace does not hold them.
        unusual: the modifier that asks for a code that is not pyhf's default; "" without one.
    """

    workspace: dict[str, Any]
    normsys: NormsysCode
    histosys: HistosysCode
    unusual: str

    def pyhf_workspace(self) -> dict[str, Any]:
        """The workspace, if pyhf reads it with its default interpolation codes.

        Raises:
            Hs3Error: it needs other codes, which a pyhf file cannot ask for.
        """
        if self.unusual:
            raise Hs3Error(
                f"{self.unusual}: its interpolation is pyhf's {self.normsys.value} and {self.histosys.value}, which a pyhf workspace "
                "cannot ask for"
            )
        return self.workspace

    def compile(self, settings: HistFactorySettings | None = None) -> HistFactoryModel:
        """The compiled model, with the interpolation codes of the document."""
        settings = HistFactorySettings() if settings is None else settings
        return compile_workspace(self.workspace, settings=settings.model_copy(update={"normsys": self.normsys, "histosys": self.histosys}))


def read_hs3(document: Mapping[str, Any], analysis: str | None = None) -> Hs3Reading:
    """The pyhf workspace of an HS3 document.

    Args:
        document: parsed JSON.
        analysis: name of the analysis; by default all of them, which must use the same data.

    Raises:
        Hs3Error: it is no valid HS3, or pyhf cannot express something of it; names the element.
        WorkspaceError: parameters are shared in a way that pyhf cannot express.
    """
    _check_version(document)
    analyses = find_analyses(document, analysis)
    first = analyses[0]
    for other in analyses[1:]:
        if (other.channels, other.observed) != (first.channels, first.observed):
            raise Hs3Error(f"the analyses `{first.name}` and `{other.name}` use different data: choose one of them")
    constrained = sorted({parameter for entry in analyses for parameter in entry.constraints})
    reader = SampleReader(constrained, list(index_by_name(document, "functions")))
    distributions = index_by_name(document, "distributions")
    channels = [reader.read_channel(entry) for name, entry in distributions.items() if name in first.observed]
    for channel in channels:
        expected, found = len(channel["samples"][0]["data"]), len(first.observed[channel["name"]])
        if expected != found:
            raise Hs3Error(f"the data of channel `{channel['name']}` have {found} bins where {expected} are expected")
    _separate_staterrors(channels, reader)
    workspace: dict[str, Any] = {
        "channels": channels,
        "observations": [{"name": name, "data": list(first.observed[name])} for name in first.channels],
        "measurements": [{"name": entry.name, "config": {"poi": entry.poi_name, "parameters": []}} for entry in analyses],
        "version": "1.0.0",
    }
    defaults, labels = _parameter_sets(workspace, reader)
    for entry, measurement in zip(analyses, workspace["measurements"], strict=True):
        measurement["config"]["parameters"] = _configure(entry, defaults, labels, reader)
    return _with_codes(workspace, reader)


def _check_version(document: Mapping[str, Any]) -> None:
    if not isinstance(document, Mapping) or not isinstance(document.get("metadata"), Mapping):
        raise Hs3Error("the document has no `metadata`: it is no HS3 document")
    version = document["metadata"].get("hs3_version")
    if not isinstance(version, str) or not version.startswith(_MAJOR_VERSION):
        raise Hs3Error(f"`hs3_version` is {version!r}; known are versions {_MAJOR_VERSION}x")


def _separate_staterrors(channels: list[dict[str, Any]], reader: SampleReader) -> None:
    """Gives staterrors of different channels different names, unless pyhf would take their common name as it is meant."""
    carriers: dict[str, dict[str, set[str]]] = {}
    for channel in channels:
        for sample in channel["samples"]:
            for modifier in sample["modifiers"]:
                if modifier["type"] == "staterror":
                    carriers.setdefault(modifier["name"], {}).setdefault(sample["name"], set()).add(channel["name"])
    mixed = {name for name, by_sample in carriers.items() if len({frozenset(places) for places in by_sample.values()}) > 1}
    for channel in channels:
        for sample in channel["samples"]:
            for modifier in sample["modifiers"]:
                if modifier["type"] == "staterror" and modifier["name"] in mixed:
                    modifier["name"] += f"_{channel['name']}"
    for name, place in list(reader.staterrors):
        if name in mixed:
            reader.staterrors[f"{name}_{place}", place] = reader.staterrors.pop((name, place))


def _parameter_sets(workspace: Mapping[str, Any], reader: SampleReader) -> tuple[dict[str, ParameterSet], dict[str, list[str]]]:
    """pyhf's parameter sets, and the HS3 names of the parameters of each set per bin."""
    known = read_workspace(workspace)
    defaults = collect_parameter_sets(known.channels, collect_staterrors(known.channels))
    labels = dict(reader.sets)
    for channel in known.channels:
        for (name, place), parameters in reader.staterrors.items():
            if place == channel.name:
                labels[name] = [*labels.get(name, []), *parameters]
    return defaults, labels


def _configure(
    entry: AnalysisEntry, defaults: Mapping[str, ParameterSet], labels: Mapping[str, list[str]], reader: SampleReader
) -> list[dict[str, Any]]:
    sets = dict(defaults)
    lumi = reader.lumi_parameter
    if lumi is None and LUMI in entry.constraints:  # no background scales with it, but signals may
        lumi = LUMI
    if lumi is not None and lumi not in entry.constraints:
        raise Hs3Error(f"analysis `{entry.name}` has no constraint on `{lumi}`, which another analysis constrains")
    if lumi is not None:
        sets[LUMI] = scalar_set(LUMI, (LUMI,))
    if entry.poi_name and entry.poi_name not in sets:
        sets[entry.poi_name] = scalar_set(entry.poi_name, ("normfactor",))
    return configure_parameters(entry, sets, labels, lumi)


def _with_codes(workspace: dict[str, Any], reader: SampleReader) -> Hs3Reading:
    """The reading with its interpolation codes, one for all factors and one for all shapes."""
    for codes in (reader.normsys, reader.histosys):
        if len(codes) > 1:
            first, second = list(codes.values())[:2]
            raise Hs3Error(f"{first} and {second} are interpolated differently; HistFactory has one code for all of them")
    normsys = next(iter(reader.normsys), NormsysCode.CODE4)
    histosys = next(iter(reader.histosys), HistosysCode.CODE4P)
    unusual = ""
    if normsys is not NormsysCode.CODE4:
        unusual = reader.normsys[normsys]
    elif histosys is not HistosysCode.CODE4P:
        unusual = reader.histosys[histosys]
    return Hs3Reading(workspace, normsys, histosys, unusual)
