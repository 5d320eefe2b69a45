"""Channels and samples of HS3 as pyhf writes them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from inference.hs3.errors import Hs3Error
from inference.hs3.names import set_name
from inference.hs3.values import get_list, get_numbers, get_text
from inference.likelihoods.histfactory import HistosysCode, NormsysCode

_NORMSYS = {
    None: NormsysCode.CODE4,
    "code4": NormsysCode.CODE4,
    "log": NormsysCode.CODE1,
    "exp": NormsysCode.CODE1,
    "code1": NormsysCode.CODE1,
}
_HISTOSYS = {
    None: HistosysCode.CODE4P,
    "code4p": HistosysCode.CODE4P,
    "poly6": HistosysCode.CODE4P,
    "lin": HistosysCode.CODE0,
    "code0": HistosysCode.CODE0,
    "code2": HistosysCode.CODE2,
}
"""Interpolations by the names of the standard and by pyhf's; without one: as ROOT."""

LUMI = "lumi"
_MODIFIERS = ("normfactor", "normsys", "histosys", "shapefactor", "shapesys", "staterror")


class SampleReader:
    """Collects channels, and what the whole document has in common.

    Args:
        constrained: parameters with a Gaussian constraint of their own; one of them may be the luminosity.
        functions: names that are functions, not parameters.

    Attributes:
        normsys, histosys: interpolation codes met so far, each with the modifier that asked first.
        sets: HS3 names of the parameters per bin, by name of the set; staterror per channel under (name, channel).
        lumi_parameter: HS3 name of the parameter that is pyhf's lumi; None without one.
    """

    def __init__(self, constrained: Sequence[str], functions: Sequence[str]) -> None:
        self.normsys: dict[NormsysCode, str] = {}
        self.histosys: dict[HistosysCode, str] = {}
        self.sets: dict[str, list[str]] = {}
        self.staterrors: dict[tuple[str, str], list[str]] = {}
        self.lumi_parameter: str | None = None
        self._constrained = set(constrained)
        self._functions = set(functions)
        self._owners: dict[str, str] = {}

    def read_channel(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        """A `histfactory_dist` as a pyhf channel.

        Raises:
            Hs3Error: it is not valid, or pyhf cannot express something; names the element.
        """
        name = str(entry["name"])
        where = f"channel `{name}`"
        num_bins = _count_bins(entry, where)
        samples = []
        for number, sample in enumerate(get_list(entry, "samples", where)):
            if not isinstance(sample, Mapping):
                raise Hs3Error(f"`samples` of {where} must hold objects")
            samples.append(self._read_sample(sample, str(sample.get("name", f"sample_{number}")), name, num_bins, entry))
        if not samples:
            raise Hs3Error(f"{where} has no samples")
        return {"name": name, "samples": samples}

    def _read_sample(
        self, entry: Mapping[str, Any], name: str, channel: str, num_bins: int | None, owner: Mapping[str, Any]
    ) -> dict[str, Any]:
        where = f"sample `{name}` in channel `{channel}`"
        data = entry.get("data")
        contents = get_numbers(data, "contents", f"`data` of {where}", num_bins)
        modifiers = []
        for modifier in get_list(entry, "modifiers", where):
            if not isinstance(modifier, Mapping):
                raise Hs3Error(f"`modifiers` of {where} must hold objects")
            modifiers.append(self._read_modifier(modifier, where, name, channel, contents, data, owner))
        return {"name": name, "data": contents, "modifiers": modifiers}

    def _read_modifier(
        self,
        entry: Mapping[str, Any],
        where: str,
        sample: str,
        channel: str,
        contents: list[float],
        data: Any,
        owner: Mapping[str, Any],
    ) -> dict[str, Any]:
        kind = get_text(entry, "type", f"a modifier of {where}")
        if kind not in _MODIFIERS:
            raise Hs3Error(f"the modifier type `{kind}` of {where} cannot be expressed in pyhf; known are {', '.join(_MODIFIERS)}")
        size = len(contents)
        if kind in ("normfactor", "normsys", "histosys"):
            return self._read_scalar(entry, kind, where, size)
        given = entry.get("name")
        what = f"{kind} `{given if isinstance(given, str) else entry.get('parameter', '')}` of {where}"
        parameters = self._bin_parameters(entry, kind, what, channel, size)
        if kind == "shapefactor":
            _check_constraint(entry, what, ())
            return {"name": self._share_set(parameters, given, what), "type": kind, "data": None}
        if kind == "shapesys":
            _check_constraint(entry, what, ("Poisson",))
            values = get_numbers(entry.get("data"), "vals", f"`data` of {what}", size)
            return {"name": self._own_set(parameters, given, what, f"{channel}_{sample}"), "type": kind, "data": values}
        settings = owner.get("staterror")
        constraint = settings.get("constraint") if isinstance(settings, Mapping) else entry.get("constraint")
        _check_constraint({"constraint": constraint}, what, ("Gauss",))
        errors = get_numbers(data, "errors", f"`data` of {where}, which has a staterror,", size)
        key = set_name(parameters, given if isinstance(given, str) else None), channel
        for label in parameters:
            self._claim(label, f"the staterror of channel `{channel}`")
        if self.staterrors.setdefault(key, parameters) != parameters or sum(place == channel for _, place in self.staterrors) > 1:
            raise Hs3Error(f"{what}: the samples of a channel must share the parameters of their staterror")
        return {"name": key[0], "type": kind, "data": errors}

    def _read_scalar(self, entry: Mapping[str, Any], kind: str, where: str, size: int) -> dict[str, Any]:
        parameter = entry.get("parameter", entry.get("name"))
        if not isinstance(parameter, str) or not parameter:
            raise Hs3Error(f"a {kind} of {where} needs a `parameter`")
        what = f"{kind} `{parameter}` of {where}"
        if parameter in self._functions:
            raise Hs3Error(f"{what}: its parameter is a function of others, which pyhf cannot express")
        self._claim(parameter, "scalar modifiers")
        if kind == "normfactor":
            _check_constraint(entry, what, ())
            if parameter not in self._constrained:
                return {"name": parameter, "type": kind, "data": None}
            if self.lumi_parameter not in (None, parameter):
                raise Hs3Error(f"{what} and `{self.lumi_parameter}` both have a Gaussian constraint; pyhf has one such factor, `{LUMI}`")
            self.lumi_parameter = parameter
            return {"name": LUMI, "type": LUMI, "data": None}
        if parameter in self._constrained:
            raise Hs3Error(f"{what}: its parameter has a second constraint, which pyhf cannot express")
        _check_constraint(entry, what, ("Gauss",))
        data = entry.get("data")
        if not isinstance(data, Mapping):
            raise Hs3Error(f"{what} needs `data`")
        interpolation = data.get("interpolation", entry.get("interpolation"))
        if kind == "normsys":
            code = _NORMSYS.get(interpolation)
            if code is None:
                raise Hs3Error(f"{what}: the interpolation `{interpolation}` of a factor cannot be expressed in pyhf")
            self.normsys.setdefault(code, what)
            low, high = (get_numbers({key: [data.get(key)]}, key, f"`data` of {what}")[0] for key in ("lo", "hi"))
            return {"name": parameter, "type": kind, "data": {"lo": low, "hi": high}}
        shape_code = _HISTOSYS.get(interpolation)
        if shape_code is None:
            raise Hs3Error(f"{what}: the interpolation `{interpolation}` of a shape cannot be expressed in pyhf")
        self.histosys.setdefault(shape_code, what)
        shapes = {f"{key}_data": get_numbers(data.get(key), "contents", f"`{key}` of {what}", size) for key in ("hi", "lo")}
        return {"name": parameter, "type": kind, "data": shapes}

    def _bin_parameters(self, entry: Mapping[str, Any], kind: str, what: str, channel: str, size: int) -> list[str]:
        parameters = entry.get("parameters")
        if parameters is None:  # ROOT leaves them out where they follow from the name
            stem = f"stat_{channel}" if kind == "staterror" else str(entry.get("parameter", entry.get("name", "")))
            if not stem:
                raise Hs3Error(f"{what} needs `parameters`")
            return [f"gamma_{stem}_bin_{i}" for i in range(size)]
        if not isinstance(parameters, list) or not all(isinstance(item, str) and item for item in parameters):
            raise Hs3Error(f"`parameters` of {what} must be a list of names")
        if len(parameters) != size:
            raise Hs3Error(f"`parameters` of {what} has {len(parameters)} entries where {size} are expected")
        for item in parameters:
            if item in self._constrained or item in self._functions:
                raise Hs3Error(f"{what}: the parameter `{item}` has a definition or constraint of its own, which pyhf cannot express")
        return list(parameters)

    def _claim(self, label: str, owner: str) -> None:
        """Notes who uses a parameter.

        Raises:
            Hs3Error: another kind of modifier uses it already.
        """
        if self._owners.setdefault(label, owner) != owner:
            raise Hs3Error(f"the parameter `{label}` is used by {self._owners[label]} and by {owner}, which pyhf cannot express")

    def _share_set(self, parameters: list[str], given: Any, what: str) -> str:
        """Name of a shapefactor; those that share parameters bin by bin share the name."""
        for name, known in self.sets.items():
            if known[: len(parameters)] == parameters or parameters[: len(known)] == known:
                self.sets[name] = max(known, parameters, key=len)
                for label in parameters:
                    self._claim(label, f"shapefactor `{name}`")
                return name
        return self._own_set(parameters, given, what, "")

    def _own_set(self, parameters: list[str], given: Any, what: str, suffix: str) -> str:
        """Name of a set that nobody else uses."""
        name = set_name(parameters, given if isinstance(given, str) else None)
        if name in self.sets and suffix:
            name = f"{name}_{suffix}"
        if name in self.sets:
            raise Hs3Error(f"{what}: another modifier has this name, but other parameters")
        for label in parameters:
            self._claim(label, f"{what.split('`')[0]}`{name}`")
        self.sets[name] = parameters
        return name


def _count_bins(entry: Mapping[str, Any], where: str) -> int | None:
    """Bins of a channel from its axes, None without any."""
    sizes = []
    for axis in get_list(entry, "axes", where):
        if not isinstance(axis, Mapping):
            raise Hs3Error(f"`axes` of {where} must hold objects")
        edges = axis.get("edges", axis.get("bounds"))
        if isinstance(edges, list):
            sizes.append(len(edges) - 1)
        elif isinstance(axis.get("nbins"), int):
            sizes.append(axis["nbins"])
        else:
            return None
    return math.prod(sizes) if sizes else None


def _check_constraint(entry: Mapping[str, Any], what: str, allowed: Sequence[str]) -> None:
    constraint = entry.get("constraint")
    if constraint is not None and constraint not in allowed:
        instead = f"; there it is {allowed[0]}" if allowed else ""
        raise Hs3Error(f"{what}: the constraint `{constraint}` cannot be expressed in pyhf{instead}")
