"""The parameters of a workspace in pyhf's order: starting values, bounds, constraints.

Constraints per modifier (pyhf 0.7): histosys, normsys N(0 | α, 1); lumi N(auxdata | λ, sigma) from the measurement;
staterror N(1 | γ, δ) with δ² = Σ (error of sample)²/(Σ nominal)² over the samples that carry it; shapesys
Poisson(τ | γτ) with τ = (nominal/error)²; normfactor and shapefactor none. Where a staterror or shapesys has no error
(or no yield), pyhf fixes γ = 1 and keeps the constant of its constraint; so do we.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import NamedTuple

import numpy as np

from inference.likelihoods.histfactory.errors import WorkspaceError
from inference.likelihoods.histfactory.workspace import MODIFIER_KINDS, Channel, ParameterConfig
from inference.types import FloatArray


class Constraint(IntEnum):
    """Kind of constraint of a parameter."""

    NONE = 0
    NORMAL = 1
    POISSON = 2


class ParameterSet(NamedTuple):
    """Parameters that share a name: one, or one per bin.

    Attributes:
        kinds: kinds of modifiers that use it.
        is_scalar: whether it is one parameter by nature (its name then carries no index).
        constraint: kind of constraint.
        inits, bounds, is_fixed: per parameter.
        auxdata: measured values of the constraint; empty without one.
        widths: standard deviations (normal) or rate factors (Poisson); empty without constraint.
    """

    name: str
    kinds: tuple[str, ...]
    is_scalar: bool
    constraint: Constraint
    inits: tuple[float, ...]
    bounds: tuple[tuple[float, float], ...]
    is_fixed: tuple[bool, ...]
    auxdata: tuple[float, ...]
    widths: tuple[float, ...]


class ParameterTable(NamedTuple):
    """All parameters, struct of arrays of shape (num_parameters,).

    Attributes:
        names: `name` of a scalar, `name[index]` otherwise.
        start: position of the first parameter by name of the set.
        inits, lower, upper: starting values and bounds.
        is_fixed: whether fits leave the parameter at its starting value.
        constraint: Constraint values.
        auxdata: measured value of the constraint; 0 without one.
        width: standard deviation (normal) or rate factor (Poisson); 1 without constraint.
    """

    names: tuple[str, ...]
    start: Mapping[str, int]
    inits: FloatArray
    lower: FloatArray
    upper: FloatArray
    is_fixed: np.ndarray[tuple[int], np.dtype[np.bool_]]
    constraint: np.ndarray[tuple[int], np.dtype[np.int8]]
    auxdata: FloatArray
    width: FloatArray


def scalar_set(name: str, kinds: tuple[str, ...]) -> ParameterSet:
    """Defaults of a set with one parameter: normfactor, histosys, normsys (lumi is all configuration)."""
    if kinds == ("normfactor",):
        return ParameterSet(name, kinds, True, Constraint.NONE, (1.0,), ((0.0, 10.0),), (False,), (), ())
    return ParameterSet(name, kinds, True, Constraint.NORMAL, (0.0,), ((-5.0, 5.0),), (False,), (0.0,), (1.0,))


def _shapesys_set(name: str, data: Sequence[float], errors: Sequence[float]) -> ParameterSet:
    is_valid = [value > 0.0 and error > 0.0 for value, error in zip(data, errors, strict=True)]
    rates = tuple(value**2 / error**2 if valid else 1.0 for valid, value, error in zip(is_valid, data, errors, strict=True))
    size = len(rates)
    return ParameterSet(
        name,
        ("shapesys",),
        False,
        Constraint.POISSON,
        (1.0,) * size,
        ((1e-10, 10.0),) * size,
        tuple(not valid for valid in is_valid),
        rates,
        rates,
    )


class StaterrorBins(NamedTuple):
    """One staterror set over the bins that carry it.

    Attributes:
        channels: names of its channels, sorted.
        nominal: Σ nominal of the samples that carry it, per bin [events].
        squared_error: Σ error² of these samples, per bin [events²].
    """

    channels: tuple[str, ...]
    nominal: tuple[float, ...]
    squared_error: tuple[float, ...]


def staterror_widths(nominal: Sequence[float], squared_error: Sequence[float]) -> tuple[tuple[float, ...], tuple[bool, ...]]:
    """Relative errors of the summed yields per bin and whether γ is fixed (relative error 0, width then 1)."""
    widths = [math.sqrt(error / total**2) if total > 0.0 else 0.0 for total, error in zip(nominal, squared_error, strict=True)]
    return tuple(width if width > 0.0 else 1.0 for width in widths), tuple(width == 0.0 for width in widths)


def collect_staterrors(channels: Sequence[Channel]) -> dict[str, StaterrorBins]:
    """The staterror sets by name, sorted.

    Raises:
        WorkspaceError: samples that share a set do not carry it in the same channels.
    """
    carriers: dict[str, dict[str, set[str]]] = {}
    for channel in channels:
        for sample in channel.samples:
            for modifier in sample.modifiers:
                if modifier.kind == "staterror":
                    carriers.setdefault(modifier.name, {}).setdefault(sample.name, set()).add(channel.name)
    sets: dict[str, StaterrorBins] = {}
    for name in sorted(carriers):
        by_sample = carriers[name]
        first = next(iter(by_sample))
        for sample_name, where in by_sample.items():
            if where != by_sample[first]:
                other = sorted(where ^ by_sample[first])[0]
                raise WorkspaceError(
                    f"staterror `{name}`: the samples `{first}` and `{sample_name}` must carry it in the same channels; "
                    f"channel `{other}` differs"
                )
        nominal: list[float] = []
        errors: list[float] = []
        for channel in channels:
            if channel.name not in by_sample[first]:
                continue
            total, squared = [0.0] * channel.num_bins, [0.0] * channel.num_bins
            for sample in channel.samples:
                if sample.name not in by_sample:
                    continue
                data = next(m.low for m in sample.modifiers if m.kind == "staterror" and m.name == name)
                for i in range(channel.num_bins):
                    total[i] += sample.data[i]
                    squared[i] += data[i] ** 2
            nominal += total
            errors += squared
        sets[name] = StaterrorBins(tuple(sorted(by_sample[first])), tuple(nominal), tuple(errors))
    return sets


def _staterror_set(name: str, bins: StaterrorBins) -> ParameterSet:
    widths, is_fixed = staterror_widths(bins.nominal, bins.squared_error)
    size = len(widths)
    ones = (1.0,) * size
    return ParameterSet(name, ("staterror",), False, Constraint.NORMAL, ones, ((1e-10, 10.0),) * size, is_fixed, ones, widths)


def collect_parameter_sets(channels: Sequence[Channel], staterrors: Mapping[str, StaterrorBins]) -> dict[str, ParameterSet]:
    """Default parameter sets of all modifiers, by name, in pyhf's order.

    Raises:
        WorkspaceError: a name is shared by modifiers that cannot share a parameter, or bins do not match.
    """
    found: dict[str, dict[str, ParameterSet]] = {kind: {} for kind in MODIFIER_KINDS}
    for channel in channels:
        for sample in channel.samples:
            where = f"sample `{sample.name}` in channel `{channel.name}`"
            for modifier in sample.modifiers:
                kind, name = modifier.kind, modifier.name
                known = found[kind].get(name)
                if kind == "shapesys":
                    if known is not None:
                        raise WorkspaceError(f"shapesys `{name}` of {where} uses a name that another sample or channel has already")
                    found[kind][name] = _shapesys_set(name, sample.data, modifier.low)
                elif kind == "shapefactor":
                    size = channel.num_bins
                    if known is None:
                        none, bounds = Constraint.NONE, ((0.0, 10.0),) * size
                        found[kind][name] = ParameterSet(name, (kind,), False, none, (1.0,) * size, bounds, (False,) * size, (), ())
                    elif len(known.inits) < size:
                        raise WorkspaceError(
                            f"shapefactor `{name}` of {where} needs {size} parameters, but it was first used with {len(known.inits)} bins"
                        )
                elif kind != "staterror" and known is None:
                    found[kind][name] = scalar_set(name, (kind,))
    found["staterror"] = {name: _staterror_set(name, bins) for name, bins in staterrors.items()}
    sets: dict[str, ParameterSet] = {}
    for kind in MODIFIER_KINDS:
        for name, parameter in found[kind].items():
            other = sets.get(name)
            if other is not None and not (other.kinds == ("histosys",) and kind == "normsys"):
                raise WorkspaceError(f"the name `{name}` is used by {other.kinds[-1]} and by {kind}, which cannot share a parameter")
            sets[name] = parameter if other is None else other._replace(kinds=(*other.kinds, kind))
    return sets


def configured(parameter: ParameterSet, config: ParameterConfig | None) -> ParameterSet:
    """The set with what the measurement says about it.

    Raises:
        WorkspaceError: a field does not apply or has the wrong number of entries; lumi without inits or auxdata.
    """
    where = f"parameter `{parameter.name}`"
    is_lumi = "lumi" in parameter.kinds
    if config is None:
        config = ParameterConfig(parameter.name)
    if is_lumi:
        if config.inits is None or config.auxdata is None:
            raise WorkspaceError(f"{where}: the measurement must give `inits` and `auxdata` of a lumi modifier")
        parameter = parameter._replace(bounds=((0.0, 10.0 * config.auxdata[0]),))
    size = len(parameter.inits)
    given: tuple[tuple[str, Sequence[object] | None], ...] = (
        ("inits", config.inits),
        ("bounds", config.bounds),
        ("auxdata", config.auxdata),
        ("sigmas", config.sigmas),
        ("factors", config.factors),
    )
    for field, values in given:
        if values is not None and len(values) != size:
            raise WorkspaceError(f"`{field}` of {where} has {len(values)} entries where {size} are expected")
    if config.auxdata is not None and parameter.constraint is Constraint.NONE:
        raise WorkspaceError(f"{where} has no constraint, so that `auxdata` does not apply")
    if config.sigmas is not None and not (is_lumi or parameter.kinds == ("staterror",)):
        raise WorkspaceError(f"`sigmas` does not apply to {where}, a {parameter.kinds[0]}")
    if config.factors is not None and parameter.constraint is not Constraint.POISSON:
        raise WorkspaceError(f"`factors` does not apply to {where}, a {parameter.kinds[0]}")
    widths = config.factors if config.sigmas is None else config.sigmas
    changed = parameter._replace(
        inits=parameter.inits if config.inits is None else tuple(config.inits),
        bounds=parameter.bounds if config.bounds is None else tuple(config.bounds),
        auxdata=parameter.auxdata if config.auxdata is None else tuple(config.auxdata),
        widths=parameter.widths if widths is None else tuple(widths),
        is_fixed=parameter.is_fixed if config.is_fixed is None else (config.is_fixed,) * size,
    )
    for value, (low, high) in zip(changed.inits, changed.bounds, strict=True):
        if not low <= value <= high:
            raise WorkspaceError(f"`inits` of {where}: {value:g} is outside of its bounds [{low:g}, {high:g}]")
    if parameter.constraint is Constraint.POISSON and min(changed.auxdata) < 0.0:
        raise WorkspaceError(f"`auxdata` of {where} must not be negative: they are Poisson counts")
    return changed


def tabulate(sets: Sequence[ParameterSet]) -> ParameterTable:
    """All parameters as arrays, in the order of the sets."""
    names: list[str] = []
    start: dict[str, int] = {}
    rows: list[tuple[float, float, float, bool, int, float, float]] = []
    for item in sets:
        start[item.name] = len(names)
        names += [item.name] if item.is_scalar else [f"{item.name}[{i}]" for i in range(len(item.inits))]
        free = (0.0,) * len(item.inits), (1.0,) * len(item.inits)
        auxdata, widths = free if item.constraint is Constraint.NONE else (item.auxdata, item.widths)
        for init, (low, high), fixed, aux, width in zip(item.inits, item.bounds, item.is_fixed, auxdata, widths, strict=True):
            rows.append((init, low, high, fixed, int(item.constraint), aux, width))
    inits, lower, upper, is_fixed, constraint, auxdata_column, width_column = zip(*rows, strict=True)
    return ParameterTable(
        tuple(names),
        start,
        np.array(inits, dtype=np.float64),
        np.array(lower, dtype=np.float64),
        np.array(upper, dtype=np.float64),
        np.array(is_fixed, dtype=np.bool_),
        np.array(constraint, dtype=np.int8),
        np.array(auxdata_column, dtype=np.float64),
        np.array(width_column, dtype=np.float64),
    )
