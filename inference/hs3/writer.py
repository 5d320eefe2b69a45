"""From a pyhf workspace to HS3."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from inference.hs3.errors import Hs3Error
from inference.hs3.names import bin_names
from inference.likelihoods.histfactory import HistFactorySettings, HistosysCode, NormsysCode
from inference.likelihoods.histfactory.parameters import (
    Constraint,
    ParameterSet,
    collect_parameter_sets,
    collect_staterrors,
    configured,
    scalar_set,
)
from inference.likelihoods.histfactory.workspace import Channel, Modifier, Sample, Workspace, read_workspace

HS3_VERSION = "0.2.9"
"""The version of the standard that is written."""

_PER_BIN = ("shapefactor", "shapesys", "staterror")
_NORMSYS = {NormsysCode.CODE4: None, NormsysCode.CODE1: "log"}
_HISTOSYS = {HistosysCode.CODE4P: None, HistosysCode.CODE0: "lin"}


class _Names(NamedTuple):
    """HS3 names: per set the names of its parameters, and where the bins of a channel start in a staterror set."""

    parameters: Mapping[str, Sequence[str]]
    staterror_start: Mapping[tuple[str, str], int]


def write_hs3(spec: Mapping[str, Any], settings: HistFactorySettings | None = None) -> dict[str, Any]:
    """The HS3 document of a pyhf workspace; every measurement becomes an analysis.

    Args:
        spec: parsed JSON of the workspace.
        settings: interpolation codes, if not pyhf's defaults.

    Raises:
        WorkspaceError: the workspace is not valid.
        Hs3Error: HS3 cannot express something of it; names the parameter or modifier.
    """
    settings = HistFactorySettings() if settings is None else settings
    if settings.histosys not in _HISTOSYS:
        raise Hs3Error(f"histosys {settings.histosys.value} cannot be expressed: the parabola of HS3 goes on without pyhf's jump at α = ±1")
    workspace = read_workspace(spec, 0)
    sets = collect_parameter_sets(workspace.channels, collect_staterrors(workspace.channels))
    names = _name_parameters(workspace, sets)
    channels = {channel.name: channel for channel in workspace.channels}
    sample_order = {entry["name"]: [sample["name"] for sample in entry["samples"]] for entry in spec["channels"]}
    distributions = [_write_channel(channels[name], order, names, settings) for name, order in sample_order.items()]
    observed = [entry["name"] for entry in spec["observations"] if entry["name"] in channels]
    document: dict[str, Any] = {
        "metadata": {"hs3_version": HS3_VERSION, "packages": [{"name": "protomodels", "version": _version()}]},
        "distributions": distributions,
        "data": [_write_data(channels[name]) for name in observed],
        "likelihoods": [],
        "domains": [],
        "parameter_points": [],
        "analyses": [],
    }
    for number in range(len(spec["measurements"])):
        measured = read_workspace(spec, number)
        _write_measurement(document, str(spec["measurements"][number]["name"]), measured, observed, sets, names)
    return document


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("protomodels")
    except PackageNotFoundError:
        return "unknown"


def _name_parameters(workspace: Workspace, sets: Mapping[str, ParameterSet]) -> _Names:
    names: dict[str, Sequence[str]] = {name: [name] for name, item in sets.items() if item.is_scalar}
    taken = {*names, workspace.poi_name, "lumi"}
    for name, item in sets.items():
        if not item.is_scalar:
            names[name] = bin_names(name, len(item.inits), taken)
            taken.update(names[name])
    start: dict[tuple[str, str], int] = {}
    filled: dict[str, int] = {}
    for channel in workspace.channels:
        carried = {m.name for sample in channel.samples for m in sample.modifiers if m.kind == "staterror"}
        if len(carried) > 1:
            first, second = sorted(carried)[:2]
            raise Hs3Error(
                f"channel `{channel.name}` has the staterrors `{first}` and `{second}`: a sample of HS3 has one list of errors, so that "
                "a channel can have one staterror"
            )
        for name in carried:
            start[name, channel.name] = filled.get(name, 0)
            filled[name] = start[name, channel.name] + channel.num_bins
    return _Names(names, start)


def _axis(channel: Channel) -> dict[str, Any]:
    return {"name": f"obs_{channel.name}", "min": 0.0, "max": float(channel.num_bins), "nbins": channel.num_bins}


def _write_data(channel: Channel) -> dict[str, Any]:
    return {"name": f"observed_{channel.name}", "type": "binned", "axes": [_axis(channel)], "contents": list(channel.observed)}


def _write_channel(channel: Channel, order: Sequence[str], names: _Names, settings: HistFactorySettings) -> dict[str, Any]:
    samples = {sample.name: sample for sample in channel.samples}
    written = [_write_sample(samples[name], channel, names, settings) for name in order]
    return {"name": channel.name, "type": "histfactory_dist", "axes": [_axis(channel)], "samples": written}


def _write_sample(sample: Sample, channel: Channel, names: _Names, settings: HistFactorySettings) -> dict[str, Any]:
    data: dict[str, Any] = {"contents": list(sample.data)}
    for modifier in sample.modifiers:
        if modifier.kind == "staterror":
            data["errors"] = list(modifier.low)
    modifiers = [_write_modifier(modifier, channel, names, settings) for modifier in sample.modifiers]
    return {"name": sample.name, "data": data, "modifiers": modifiers}


def _write_modifier(modifier: Modifier, channel: Channel, names: _Names, settings: HistFactorySettings) -> dict[str, Any]:
    kind, name = modifier.kind, modifier.name
    if kind in _PER_BIN:
        start = names.staterror_start[name, channel.name] if kind == "staterror" else 0
        parameters = list(names.parameters[name][start : start + channel.num_bins])
        entry: dict[str, Any] = {"name": name, "type": kind, "parameters": parameters}
        if kind == "shapesys":
            return entry | {"constraint": "Poisson", "data": {"vals": list(modifier.low)}}
        return entry | ({"constraint": "Gauss"} if kind == "staterror" else {})
    entry = {"name": name, "type": "normfactor" if kind == "lumi" else kind, "parameter": name}
    if kind not in ("normsys", "histosys"):
        return entry
    data: dict[str, Any]
    if kind == "normsys":
        data = {"lo": modifier.low[0], "hi": modifier.high[0]}
        interpolation = _NORMSYS[settings.normsys]
    else:
        data = {"lo": {"contents": list(modifier.low)}, "hi": {"contents": list(modifier.high)}}
        interpolation = _HISTOSYS[settings.histosys]
    if interpolation is not None:
        data["interpolation"] = interpolation
    return entry | {"constraint": "Gauss", "data": data}


def _write_measurement(
    document: dict[str, Any],
    title: str,
    workspace: Workspace,
    observed: Sequence[str],
    sets: Mapping[str, ParameterSet],
    names: _Names,
) -> None:
    """Adds the analysis of a measurement, with its likelihood, domain and parameter point."""
    default = dict(sets)
    if workspace.poi_name and workspace.poi_name not in default:
        default[workspace.poi_name] = scalar_set(workspace.poi_name, ("normfactor",))
    luminosity = workspace.parameters.get("lumi")
    if "lumi" not in default and luminosity is not None and luminosity.inits is not None and luminosity.auxdata is not None:
        default["lumi"] = scalar_set("lumi", ("lumi",))
    axes: list[dict[str, Any]] = []
    point: list[dict[str, Any]] = []
    for name, item in default.items():
        chosen = configured(item, workspace.parameters.get(name))
        if "lumi" not in item.kinds:
            _check_constraint(chosen, item, title)
        for label, value, (low, high), is_fixed in zip(
            names.parameters.get(name, [name]), chosen.inits, chosen.bounds, chosen.is_fixed, strict=True
        ):
            axes.append({"name": label, "min": low, "max": high})
            point.append({"name": label, "value": value, **({"const": True} if is_fixed else {})})
        if "lumi" in item.kinds:
            constraint = f"{title}_lumi_constraint"
            entry = {"name": constraint, "type": "gaussian_dist", "x": "lumi", "mean": chosen.auxdata[0], "sigma": chosen.widths[0]}
            document["distributions"].append(entry)
    likelihood: dict[str, Any] = {
        "name": f"{title}_likelihood",
        "distributions": list(observed),
        "data": [f"observed_{name}" for name in observed],
    }
    if "lumi" in default:
        likelihood["aux_distributions"] = [f"{title}_lumi_constraint"]
    document["likelihoods"].append(likelihood)
    document["domains"].append({"name": f"{title}_domain", "type": "product_domain", "axes": axes})
    document["parameter_points"].append({"name": f"{title}_init", "parameters": point})
    analysis: dict[str, Any] = {"name": title, "likelihood": likelihood["name"], "domains": [f"{title}_domain"], "init": f"{title}_init"}
    if workspace.poi_name:
        analysis["parameters_of_interest"] = [workspace.poi_name]
    document["analyses"].append(analysis)


def _check_constraint(chosen: ParameterSet, default: ParameterSet, title: str) -> None:
    """Centres and widths of constraints other than that of lumi are what the modifiers say; a measurement cannot change them."""
    if default.constraint is Constraint.NONE:
        return
    for field, mine, theirs in (("auxdata", chosen.auxdata, default.auxdata), ("widths", chosen.widths, default.widths)):
        if tuple(mine) != tuple(theirs):
            what = "auxdata" if field == "auxdata" else "sigmas or factors"
            raise Hs3Error(
                f"measurement `{title}` changes the {what} of `{chosen.name}`, which HS3 cannot express: constraints of "
                f"{default.kinds[0]} follow from the modifier"
            )
