"""Flat arrays of a HistFactory model, as the compiled (njit) kernels read them.

A *cell* is one sample in one bin. Its expected events are

    v = scale · (nominal + Σ_k [S_k e(α_k) + A_k h(α_k)]) · Π_j f_j(α) · Π_i γ_i  (· μ where it carries the parameter of interest)

with S = (up + down)/2, A = (up - down)/16 of a histosys (up = high - nominal, down = nominal - low), and e, h of the
interpolation code (see `kernels`). Cells of one bin are neighbours; the last cell of a bin is the signal, with nominal 1 and
scale = expected signal events, so that a new signal changes `scale` only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from inference.likelihoods.histfactory.settings import NormsysCode
from inference.likelihoods.histfactory.workspace import Channel, Modifier
from inference.types import FloatArray, IntArray


class Cells(NamedTuple):
    """Cells and their modifiers, grouped by bin; `x_start[i]:x_start[i + 1]` are the entries of cell (bin, parameter) i.

    Attributes:
        bin_start: cells per bin, shape (num_bins + 1,).
        nominal: events without modifiers, shape (num_cells,).
        is_poi: 1 where the cell scales with the signal strength, shape (num_cells,).
        hist_start, hist_par, hist_s, hist_a: histosys entries per cell.
        norm_start, norm_function, norm_pair: normsys entries per cell, indices of functions and of the histosys entry of
            the same parameter in the same cell (-1 for none).
        linear_start, linear_par: plain factors per cell (normfactor, lumi, shapefactor, shapesys, staterror).
        factor_start, factor_par: parameters of all factors per cell, those of normsys first.
        function_start: functions per parameter, shape (num_parameters + 1,).
        log_up, log_down: ln of a function at α = ±1, shape (num_functions,).
        coefficients: a_1 ... a_6 of code 4, shape (6, num_functions).
    """

    bin_start: IntArray
    nominal: FloatArray
    is_poi: IntArray
    hist_start: IntArray
    hist_par: IntArray
    hist_s: FloatArray
    hist_a: FloatArray
    norm_start: IntArray
    norm_function: IntArray
    norm_pair: IntArray
    linear_start: IntArray
    linear_par: IntArray
    factor_start: IntArray
    factor_par: IntArray
    function_start: IntArray
    log_up: FloatArray
    log_down: FloatArray
    coefficients: FloatArray


class SignalModifiers(NamedTuple):
    """What the signal carries in every bin.

    Attributes:
        histosys: parameter name to relative half-width (symmetric).
        normsys: parameter name to (lo, hi).
        linear: names of scalar factors (lumi).
        staterror: per bin the index of the staterror parameter, -1 for none; empty if the signal has no errors.
    """

    histosys: Mapping[str, float]
    normsys: Mapping[str, tuple[float, float]]
    linear: Sequence[str]
    staterror: Sequence[int]


_CODE4_INVERSE = (
    np.array(
        [
            [15.0, -15.0, -7.0, -7.0, 1.0, -1.0],
            [24.0, 24.0, -9.0, 9.0, 1.0, 1.0],
            [-10.0, 10.0, 10.0, 10.0, -2.0, 2.0],
            [-24.0, -24.0, 14.0, -14.0, -2.0, -2.0],
            [3.0, -3.0, -3.0, -3.0, 1.0, -1.0],
            [8.0, 8.0, -5.0, 5.0, 1.0, 1.0],
        ]
    )
    / 16.0
)
"""Solves for the polynomial that matches value and two derivatives of the exponentials at α = ±1."""


def code4_coefficients(log_up: FloatArray, log_down: FloatArray) -> FloatArray:
    """a_1 ... a_6 of 1 + Σ a_i α^i per function, shape (6, num_functions)."""
    up, down = np.exp(log_up), np.exp(log_down)
    right = np.stack([up - 1.0, down - 1.0, log_up * up, -log_down * down, log_up**2 * up, log_down**2 * down])
    coefficients: FloatArray = np.ascontiguousarray(_CODE4_INVERSE @ right)
    return coefficients


class _Functions:
    """Unique normsys functions, collected per parameter."""

    def __init__(self) -> None:
        self._index: dict[tuple[int, float, float], int] = {}

    def find(self, parameter: int, low: float, high: float) -> int:
        return self._index.setdefault((parameter, low, high), len(self._index))

    def arrays(self, num_parameters: int) -> tuple[IntArray, IntArray, FloatArray, FloatArray]:
        """New position of every function, functions per parameter, ln f(+1), ln f(-1)."""
        keys = list(self._index)
        owners = np.array([key[0] for key in keys], dtype=np.int64)
        order = np.argsort(owners, kind="stable")
        position = np.empty(len(keys), dtype=np.int32)
        position[order] = np.arange(len(keys), dtype=np.int32)
        start = np.searchsorted(owners[order], np.arange(num_parameters + 1)).astype(np.int32)
        logs = np.array([(math.log(key[2]), math.log(key[1])) for key in keys], dtype=np.float64).reshape(len(keys), 2)[order]
        return position, start, np.ascontiguousarray(logs[:, 0]), np.ascontiguousarray(logs[:, 1])


class _Builder:
    def __init__(self, poi_name: str, start: Mapping[str, int]) -> None:
        self.poi_name, self.start = poi_name, start
        self.functions = _Functions()
        self.bin_start, self.nominal, self.is_poi = [0], list[float](), list[int]()
        self.hist_start, self.hist_par = [0], list[int]()
        self.hist_s, self.hist_a = list[float](), list[float]()
        self.norm_start, self.norm_function, self.norm_par, self.norm_pair = [0], list[int](), list[int](), list[int]()
        self.linear_start, self.linear_par = [0], list[int]()
        self.factor_start, self.factor_par = [0], list[int]()
        self._pairs: dict[int, int] = {}

    def close_cell(self, nominal: float, is_poi: bool) -> None:
        self._pairs = {}
        self.nominal.append(nominal)
        self.is_poi.append(int(is_poi))
        self.hist_start.append(len(self.hist_par))
        self.norm_start.append(len(self.norm_function))
        self.linear_start.append(len(self.linear_par))
        self.factor_par += self.norm_par[self.norm_start[-2] :] + self.linear_par[self.linear_start[-2] :]
        self.factor_start.append(len(self.factor_par))

    def close_bin(self) -> None:
        self.bin_start.append(len(self.nominal))

    def add_histosys(self, parameter: int, up: float, down: float) -> bool:
        if up == 0.0 and down == 0.0:
            return False
        self._pairs[parameter] = len(self.hist_par)
        self.hist_par.append(parameter)
        self.hist_s.append(0.5 * (up + down))
        self.hist_a.append(0.0625 * (up - down))
        return True

    def add_normsys(self, name: str, low: float, high: float) -> None:
        if not low == high == 1.0:
            self.norm_function.append(self.functions.find(self.start[name], low, high))
            parameter = self.start[name]
            self.norm_par.append(parameter)
            self.norm_pair.append(self._pairs.get(parameter, -1))

    def add_sample(self, data: Sequence[float], modifiers: Sequence[Modifier], i: int, channel_index: Mapping[str, int]) -> None:
        """One background cell; cells without any events are left out."""
        nominal = data[i]
        is_poi = has_shift = False
        for modifier in modifiers:
            if modifier.kind == "histosys":
                up, down = modifier.high[i] - nominal, nominal - modifier.low[i]
                has_shift |= self.add_histosys(self.start[modifier.name], up, down)
            elif modifier.kind == "normfactor" and modifier.name == self.poi_name:
                is_poi = True
        if nominal == 0.0 and not has_shift:
            return
        for modifier in modifiers:
            kind, name = modifier.kind, modifier.name
            if kind == "normsys":
                self.add_normsys(name, modifier.low[0], modifier.high[0])
            elif kind in ("lumi", "normfactor"):
                if kind == "lumi" or name != self.poi_name:
                    self.linear_par.append(self.start[name])
            elif kind in ("shapesys", "shapefactor"):
                self.linear_par.append(self.start[name] + i)
            elif kind == "staterror":
                self.linear_par.append(channel_index[name] + i)
        self.close_cell(nominal, is_poi)

    def add_signal(self, signal: SignalModifiers, bin_index: int) -> None:
        for name, width in signal.histosys.items():
            self.add_histosys(self.start[name], width, width)
        for name, (low, high) in signal.normsys.items():
            self.add_normsys(name, low, high)
        self.linear_par += [self.start[name] for name in signal.linear]
        if signal.staterror and signal.staterror[bin_index] >= 0:
            self.linear_par.append(signal.staterror[bin_index])
        self.close_cell(1.0, True)


def _int32(values: Sequence[int]) -> IntArray:
    return np.array(values, dtype=np.int32)


def build_cells(
    channels: Sequence[Channel],
    start: Mapping[str, int],
    staterror_start: Mapping[str, Mapping[str, int]],
    num_parameters: int,
    poi_name: str,
    signal: SignalModifiers,
    code: NormsysCode,
) -> Cells:
    """Flattens the channels.

    Args:
        channels: validated channels, sorted.
        start: first parameter per set.
        staterror_start: per channel name and staterror set, the parameter of the channel's first bin.
        num_parameters: number of all parameters.
        poi_name: normfactor that scales with the signal strength.
        signal: what the signal carries.
        code: interpolation of normsys.
    """
    builder = _Builder(poi_name, start)
    bin_index = 0
    for channel in channels:
        for i in range(channel.num_bins):
            for sample in channel.samples:
                builder.add_sample(sample.data, sample.modifiers, i, staterror_start[channel.name])
            builder.add_signal(signal, bin_index)
            builder.close_bin()
            bin_index += 1
    position, function_start, log_up, log_down = builder.functions.arrays(num_parameters)
    empty = np.zeros((6, len(log_up)))
    return Cells(
        _int32(builder.bin_start),
        np.array(builder.nominal, dtype=np.float64),
        _int32(builder.is_poi),
        _int32(builder.hist_start),
        _int32(builder.hist_par),
        np.array(builder.hist_s, dtype=np.float64),
        np.array(builder.hist_a, dtype=np.float64),
        _int32(builder.norm_start),
        position[_int32(builder.norm_function)] if builder.norm_function else _int32([]),
        _int32(builder.norm_pair),
        _int32(builder.linear_start),
        _int32(builder.linear_par),
        _int32(builder.factor_start),
        _int32(builder.factor_par),
        function_start,
        log_up,
        log_down,
        code4_coefficients(log_up, log_down) if code is NormsysCode.CODE4 else empty,
    )
