"""Reads and validates pyhf workspaces: channels, samples, modifiers, measurement, observations.

Conventions are those of pyhf 0.7: channels, samples and modifiers are sorted by name; a modifier that a sample lists
twice counts once, the last one; `shapesys` names are unique.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from inference.likelihoods.histfactory.errors import WorkspaceError
from inference.likelihoods.histfactory.json_patch import apply_patch

MODIFIER_KINDS = ("histosys", "lumi", "normfactor", "normsys", "shapefactor", "shapesys", "staterror")
"""Kinds of modifiers, in pyhf's order of parameters."""

SUPPORTED_VERSION = "1.0.0"


class Modifier(NamedTuple):
    """One modifier of a sample.

    Attributes:
        kind: one of MODIFIER_KINDS.
        name: name of the parameter (set).
        low, high: histosys: yields at α = -1 and +1 per bin [events]; normsys: one factor each; shapesys and
            staterror: `low` holds absolute uncertainties per bin [events]; otherwise empty.
    """

    kind: str
    name: str
    low: Sequence[float] = ()
    high: Sequence[float] = ()


class Sample(NamedTuple):
    """One sample of a channel: nominal yields [events] and modifiers by (name, kind), sorted."""

    name: str
    data: Sequence[float]
    modifiers: tuple[Modifier, ...]


class Channel(NamedTuple):
    """One channel: samples sorted by name, all with `num_bins` bins; observed events per bin."""

    name: str
    num_bins: int
    samples: tuple[Sample, ...]
    observed: Sequence[float]


class ParameterConfig(NamedTuple):
    """What a measurement says about a parameter (set); None where it says nothing."""

    name: str
    inits: Sequence[float] | None = None
    bounds: Sequence[tuple[float, float]] | None = None
    auxdata: Sequence[float] | None = None
    sigmas: Sequence[float] | None = None
    factors: Sequence[float] | None = None
    is_fixed: bool | None = None


class Workspace(NamedTuple):
    """A validated workspace.

    Attributes:
        channels: sorted by name.
        poi_name: parameter of interest; "" if the measurement names none.
        parameters: configuration by parameter name.
    """

    channels: tuple[Channel, ...]
    poi_name: str
    parameters: Mapping[str, ParameterConfig]


def _field(mapping: Any, key: str, where: str) -> Any:
    if not isinstance(mapping, Mapping):
        raise WorkspaceError(f"{where} must be an object with `{key}`")
    if key not in mapping:
        raise WorkspaceError(f"{where} has no `{key}`")
    return mapping[key]


def _text(mapping: Any, key: str, where: str) -> str:
    value = _field(mapping, key, where)
    if not isinstance(value, str):
        raise WorkspaceError(f"`{key}` of {where} must be a text")
    return value


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _numbers(values: Any, what: str, size: int | None = None) -> Sequence[float]:
    if not isinstance(values, list | tuple) or not values:
        raise WorkspaceError(f"{what} must be a list of numbers")
    for value in values:
        if not _is_number(value):
            raise WorkspaceError(f"{what} holds {value!r}, which is no finite number")
    if size is not None and len(values) != size:
        raise WorkspaceError(f"{what} has {len(values)} entries where {size} are expected")
    return values


def _listing(mapping: Any, key: str, where: str) -> Sequence[Any]:
    values = _field(mapping, key, where)
    if not isinstance(values, list | tuple):
        raise WorkspaceError(f"`{key}` of {where} must be a list")
    return values


def _read_modifier(entry: Any, num_bins: int, where: str) -> Modifier:
    kind, name = _text(entry, "type", f"a modifier of {where}"), _text(entry, "name", f"a modifier of {where}")
    what = f"{kind} `{name}` of {where}"
    if kind in ("normfactor", "shapefactor", "lumi"):
        if kind == "lumi" and name != "lumi":
            raise WorkspaceError(f"{what}: a modifier of this type must be named `lumi`")
        return Modifier(kind, name)
    data = _field(entry, "data", what)
    if kind == "histosys":
        low = _numbers(_field(data, "lo_data", what), f"`lo_data` of {what}", num_bins)
        return Modifier(kind, name, low, _numbers(_field(data, "hi_data", what), f"`hi_data` of {what}", num_bins))
    if kind == "normsys":
        factors = _field(data, "lo", what), _field(data, "hi", what)
        for factor in factors:
            if not _is_number(factor) or not factor > 0.0:
                raise WorkspaceError(f"{what}: factor {factor!r} is not positive, so that it cannot be interpolated")
        return Modifier(kind, name, factors[:1], factors[1:])
    if kind in ("shapesys", "staterror"):
        return Modifier(kind, name, _numbers(data, f"`data` of {what}", num_bins))
    raise WorkspaceError(f"{what}: this type of modifier is unknown; known are {', '.join(MODIFIER_KINDS)}")


def _read_sample(entry: Any, num_bins: int | None, channel: str) -> Sample:
    name = _text(entry, "name", f"a sample of channel `{channel}`")
    where = f"sample `{name}` in channel `{channel}`"
    data = _numbers(_field(entry, "data", where), f"`data` of {where}", num_bins)
    modifiers = {}
    for item in _listing(entry, "modifiers", where):
        modifier = _read_modifier(item, len(data), where)
        key = modifier.name, modifier.kind
        if modifier.kind == "shapesys" and key in modifiers:
            raise WorkspaceError(f"shapesys `{modifier.name}` of {where} is listed twice")
        modifiers[key] = modifier
    return Sample(name, data, tuple(modifiers[key] for key in sorted(modifiers)))


def _read_channel(entry: Any, observations: Mapping[str, Sequence[float]]) -> Channel:
    name = _text(entry, "name", "a channel")
    where = f"channel `{name}`"
    samples: dict[str, Sample] = {}
    num_bins: int | None = None
    for item in _listing(entry, "samples", where):
        sample = _read_sample(item, num_bins, name)
        num_bins = len(sample.data)
        if sample.name in samples:
            raise WorkspaceError(f"sample `{sample.name}` is listed twice in {where}")
        samples[sample.name] = sample
    if num_bins is None:
        raise WorkspaceError(f"{where} has no samples")
    if name not in observations:
        raise WorkspaceError(f"there are no observations for {where}")
    observed = observations[name]
    if len(observed) != num_bins:
        raise WorkspaceError(f"the observations of {where} have {len(observed)} entries where {num_bins} are expected")
    if min(observed) < 0.0:
        raise WorkspaceError(f"the observations of {where} are negative")
    return Channel(name, num_bins, tuple(samples[key] for key in sorted(samples)), observed)


def _read_parameter(entry: Any, measurement: str) -> ParameterConfig:
    name = _text(entry, "name", f"a parameter of measurement `{measurement}`")
    where = f"parameter `{name}`"
    known = ("name", "inits", "bounds", "auxdata", "sigmas", "factors", "fixed")
    unknown = [key for key in entry if key not in known]
    if unknown:
        raise WorkspaceError(f"{where} has an unknown field `{unknown[0]}`; known are {', '.join(known)}")
    lists = {key: _numbers(entry[key], f"`{key}` of {where}") for key in ("inits", "auxdata", "sigmas", "factors") if key in entry}
    for key in ("sigmas", "factors"):
        if min(lists.get(key, (1.0,))) <= 0.0:
            raise WorkspaceError(f"`{key}` of {where} must be positive")
    bounds = None
    if "bounds" in entry:
        pairs = [_numbers(pair, f"`bounds` of {where}", 2) for pair in _listing(entry, "bounds", where)]
        bounds = [(float(low), float(high)) for low, high in pairs]
        if not bounds or any(low > high for low, high in bounds):
            raise WorkspaceError(f"`bounds` of {where} must be pairs [low, high] with low <= high")
    is_fixed = entry.get("fixed")
    if is_fixed is not None and not isinstance(is_fixed, bool):
        raise WorkspaceError(f"`fixed` of {where} must be true or false")
    return ParameterConfig(name, lists.get("inits"), bounds, lists.get("auxdata"), lists.get("sigmas"), lists.get("factors"), is_fixed)


def _find_measurement(spec: Mapping[str, Any], measurement: str | int) -> Mapping[str, Any]:
    entries = _listing(spec, "measurements", "the workspace")
    if not entries:
        raise WorkspaceError("the workspace has no measurements")
    if isinstance(measurement, int):
        if not 0 <= measurement < len(entries):
            raise WorkspaceError(f"there is no measurement {measurement}: the workspace has {len(entries)}")
        entry = entries[measurement]
    else:
        named = [item for item in entries if isinstance(item, Mapping) and item.get("name") == measurement]
        if not named:
            raise WorkspaceError(f"the workspace has no measurement `{measurement}`")
        entry = named[0]
    if not isinstance(entry, Mapping):
        raise WorkspaceError("a measurement must be an object with `name` and `config`")
    return entry


def read_workspace(spec: Mapping[str, Any], measurement: str | int = 0, patches: Sequence[Sequence[Mapping[str, Any]]] = ()) -> Workspace:
    """Validates a workspace.

    Args:
        spec: parsed JSON of a pyhf workspace (channels, measurements, observations).
        measurement: name or position of the measurement.
        patches: JSON patches, applied first, one after the other.

    Raises:
        WorkspaceError: something is missing, ill-typed or inconsistent; names channel, sample, modifier or parameter.
        PatchError: a patch does not fit.
    """
    for patch in patches:
        spec = apply_patch(spec, patch)
    if not isinstance(spec, Mapping):
        raise WorkspaceError("a workspace must be an object with `channels`, `measurements` and `observations`")
    version = spec.get("version", SUPPORTED_VERSION)
    if version != SUPPORTED_VERSION:
        raise WorkspaceError(f"the workspace has version {version!r}; only {SUPPORTED_VERSION} is known")
    observations: dict[str, Sequence[float]] = {}
    for entry in _listing(spec, "observations", "the workspace"):
        name = _text(entry, "name", "an observation")
        observations[name] = _numbers(_field(entry, "data", f"observation `{name}`"), f"`data` of observation `{name}`")
    channels: dict[str, Channel] = {}
    for entry in _listing(spec, "channels", "the workspace"):
        channel = _read_channel(entry, observations)
        if channel.name in channels:
            raise WorkspaceError(f"channel `{channel.name}` is listed twice")
        channels[channel.name] = channel
    if not channels:
        raise WorkspaceError("the workspace has no channels")
    chosen = _find_measurement(spec, measurement)
    title = _text(chosen, "name", "a measurement")
    config = _field(chosen, "config", f"measurement `{title}`")
    parameters: dict[str, ParameterConfig] = {}
    for entry in _listing(config, "parameters", f"measurement `{title}`"):
        parameter = _read_parameter(entry, title)
        if parameter.name in parameters:
            raise WorkspaceError(f"parameter `{parameter.name}` is configured twice in measurement `{title}`")
        parameters[parameter.name] = parameter
    poi_name = _text(config, "poi", f"the config of measurement `{title}`")
    return Workspace(tuple(channels[key] for key in sorted(channels)), poi_name, parameters)
