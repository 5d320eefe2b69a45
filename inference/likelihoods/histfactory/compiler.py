"""From a validated workspace to the arrays that fits read: parameters, cells, layout of derivatives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from inference.likelihoods.histfactory.cells import Cells, SignalModifiers, build_cells
from inference.likelihoods.histfactory.errors import WorkspaceError
from inference.likelihoods.histfactory.parameters import (
    ParameterTable,
    StaterrorBins,
    collect_parameter_sets,
    collect_staterrors,
    configured,
    scalar_set,
    tabulate,
)
from inference.likelihoods.histfactory.problem import Layout, Problem
from inference.likelihoods.histfactory.settings import HistFactorySettings, HistosysCode, NormsysCode
from inference.likelihoods.histfactory.workspace import Workspace
from inference.types import IntArray

_DEFAULT_POI = "mu_SIG"
_SIGNAL_UNCERTAINTY = "signalUncertainty"
_CODES = {HistosysCode.CODE0: 0, HistosysCode.CODE2: 2, HistosysCode.CODE4P: 4}


class SignalStaterror(NamedTuple):
    """What statistical errors of the signal join in one bin.

    Attributes:
        parameter: index of the staterror parameter; -1 for none.
        nominal: Σ nominal of the background samples that carry it [events].
        squared_error: Σ error² of these samples [events²].
    """

    parameter: int
    nominal: float
    squared_error: float


class CompiledWorkspace(NamedTuple):
    """Everything the model keeps.

    Attributes:
        poi_name: parameter of interest.
        table: all parameters.
        problem: what fits read.
        signal_staterrors: per bin; empty if the signal carries none.
    """

    poi_name: str
    table: ParameterTable
    problem: Problem
    signal_staterrors: tuple[SignalStaterror, ...]


def compile_problem(workspace: Workspace, settings: HistFactorySettings) -> CompiledWorkspace:
    """Compiles a validated workspace.

    Raises:
        WorkspaceError: names cannot share parameters, a configuration does not fit, or the signal's modifiers do not.
    """
    poi_name = workspace.poi_name or _DEFAULT_POI
    staterrors = collect_staterrors(workspace.channels)
    table, signal = _make_table(workspace, poi_name, settings, staterrors)
    located = _locate_staterrors(workspace, staterrors, table.start)
    joined: tuple[SignalStaterror, ...] = ()
    if settings.has_signal_staterror:
        joined = _signal_staterrors(workspace, staterrors, located, table.start)
        signal = signal._replace(staterror=[item.parameter for item in joined])
    size, poi = len(table.names), table.start[poi_name]
    cells = build_cells(workspace.channels, table.start, located, size, poi_name, signal, settings.normsys)
    is_free = np.where(table.is_fixed, 0, 1).astype(np.int32)
    is_free[poi] = 0
    has_shift = np.zeros(size, dtype=np.int32)
    has_shift[cells.hist_par] = 1
    has_kink = np.zeros(size, dtype=bool)
    if settings.normsys is NormsysCode.CODE1:
        has_kink |= np.diff(cells.function_start) > 0
    if settings.histosys is HistosysCode.CODE0:
        has_kink |= has_shift > 0
    problem = Problem(
        cells,
        _make_layout(cells, is_free, poi),
        poi,
        is_free,
        has_shift,
        has_kink.astype(np.int32),
        table.constraint.astype(np.int32),
        table.lower,
        table.upper,
        settings.normsys is NormsysCode.CODE4,
        _CODES[settings.histosys],
    )
    return CompiledWorkspace(poi_name, table, problem, joined)


def _make_table(
    workspace: Workspace, poi_name: str, settings: HistFactorySettings, staterrors: Mapping[str, StaterrorBins]
) -> tuple[ParameterTable, SignalModifiers]:
    """All parameters, those that only the signal needs at the end; and what the signal carries."""
    sets = collect_parameter_sets(workspace.channels, staterrors)
    if poi_name not in sets:
        sets[poi_name] = scalar_set(poi_name, ("normfactor",))
    elif sets[poi_name].kinds != ("normfactor",):
        raise WorkspaceError(f"the parameter of interest `{poi_name}` is a {sets[poi_name].kinds[0]}; it must be a normfactor")
    has_lumi = settings.signal_lumi
    if has_lumi is None:
        config = workspace.parameters.get("lumi")
        has_lumi = "lumi" in sets or (config is not None and config.inits is not None and config.auxdata is not None)
    if has_lumi and "lumi" not in sets:
        sets["lumi"] = scalar_set("lumi", ("lumi",))
    histosys = {} if settings.signal_uncertainty is None else {_SIGNAL_UNCERTAINTY: settings.signal_uncertainty}
    for kind, names in (("histosys", list(histosys)), ("normsys", list(settings.signal_normsys))):
        for name in names:
            known = sets.get(name)
            if known is None:
                sets[name] = scalar_set(name, (kind,))
            elif not set(known.kinds) <= {"histosys", "normsys"}:
                raise WorkspaceError(f"the signal's {kind} `{name}` uses the name of a {known.kinds[0]}, which cannot share a parameter")
    for name, factors in settings.signal_normsys.items():
        if not min(factors) > 0.0:
            raise WorkspaceError(f"the signal's normsys `{name}` must have positive factors")
    table = tabulate([configured(item, workspace.parameters.get(name)) for name, item in sets.items()])
    return table, SignalModifiers(histosys, dict(settings.signal_normsys), ["lumi"] if has_lumi else [], [])


def _locate_staterrors(
    workspace: Workspace, staterrors: Mapping[str, StaterrorBins], start: Mapping[str, int]
) -> dict[str, dict[str, int]]:
    """Per channel and staterror set: the parameter of the channel's first bin."""
    sizes = {channel.name: channel.num_bins for channel in workspace.channels}
    located: dict[str, dict[str, int]] = {channel.name: {} for channel in workspace.channels}
    for name, bins in staterrors.items():
        position = start[name]
        for channel in bins.channels:
            located[channel][name] = position
            position += sizes[channel]
    return located


def _signal_staterrors(
    workspace: Workspace,
    staterrors: Mapping[str, StaterrorBins],
    located: Mapping[str, Mapping[str, int]],
    start: Mapping[str, int],
) -> tuple[SignalStaterror, ...]:
    """Per bin the staterror parameter that the signal joins."""
    joined: list[SignalStaterror] = []
    for channel in workspace.channels:
        names = sorted(located[channel.name])
        if len(names) > 1:
            raise WorkspaceError(f"channel `{channel.name}` has several staterror sets, so that the signal's own is not defined")
        if not names:
            joined += [SignalStaterror(-1, 0.0, 0.0)] * channel.num_bins
            continue
        first, bins = located[channel.name][names[0]], staterrors[names[0]]
        for i in range(channel.num_bins):
            offset = first + i - start[names[0]]
            joined.append(SignalStaterror(first + i, bins.nominal[offset], bins.squared_error[offset]))
    return tuple(joined)


def _make_layout(cells: Cells, is_free: IntArray, poi: int) -> Layout:
    """Sorts the free parameters into those of one bin and those of several."""
    size, num_bins = len(is_free), len(cells.bin_start) - 1
    bin_of_cell = np.repeat(np.arange(num_bins), np.diff(cells.bin_start))
    first, last = np.full(size, num_bins), np.full(size, -1)
    entries = (
        (cells.hist_start, cells.hist_par),
        (cells.factor_start, cells.factor_par),
    )
    for start, parameters in entries:
        where = np.repeat(bin_of_cell, np.diff(start))
        np.minimum.at(first, parameters, where)
        np.maximum.at(last, parameters, where)
    free = np.flatnonzero(is_free)
    local = free[first[free] == last[free]]
    shared = np.append(free[first[free] < last[free]], poi)
    slot = np.full(size, len(shared) * num_bins + len(local), dtype=np.int32)
    stride = np.zeros(size, dtype=np.int32)
    slot[shared] = np.arange(len(shared)) * num_bins
    stride[shared] = 1
    slot[local] = len(shared) * num_bins + np.arange(len(local))
    return Layout(slot, stride, shared.astype(np.int32), local.astype(np.int32), first[local].astype(np.int32), num_bins)
