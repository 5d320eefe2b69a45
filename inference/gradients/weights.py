"""Derivatives of σ·BR per topology, through decays, merging and compression.

The weight of a topology is a sum of monomials: σ_pair · Π BR over every way to produce and decay a pair into it (merging), and over
the uncompressed topologies it stems from (compression). With c running over these ways,

    ∂w/∂κ_pair = Σ_c w_c/κ,   ∂w/∂BR = Σ_c n_c w_c/BR,   ∂w/∂m = Σ_c w_c d ln σ_ref/dm

n_c the number of times the channel occurs. Which ways pass the σ cut is taken as it is: gradients are those of the active piece.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from inference.branches import Branch, PairKey
from inference.gradients.parameters import SpectrumSlopes
from inference.spectrum import PidPair
from inference.topologies import Topology, TopologyList
from inference.types import FloatArray, IntArray


class _Made(NamedTuple):
    """How a branch came about; holds it, so that its identity stays its own."""

    branch: Branch
    pid: int
    columns: tuple[int, ...]
    parts: tuple[Branch, ...]


class WeightRecorder:
    """Writes down what the weights of a decomposition are made of.

    Args:
        slopes: how the spectrum depends on the parameters.
    """

    def __init__(self, slopes: SpectrumSlopes) -> None:
        self.slopes = slopes
        self._made: dict[int, _Made] = {}
        self._keys: list[PairKey] = []
        self._pairs: list[PidPair] = []
        self._branches: list[tuple[Branch, Branch]] = []
        self._weights: list[tuple[float, float]] = []
        self._origins: IntArray = np.zeros(0, dtype=np.int32)
        self.num_origins = 0

    def add_branch(self, branch: Branch, pid: int, daughters: tuple[int, ...], parts: tuple[Branch, ...]) -> None:
        """See `inference.topologies.Recorder`."""
        columns: tuple[int, ...] = (self.slopes.channels[pid, daughters][0],)
        for part in parts:
            made = self._made.get(id(part))
            if made is not None:
                columns += made.columns
        self._made[id(branch)] = _Made(branch, pid, columns, parts)

    def add_pair(self, key: PairKey, pair: PidPair, first: Branch, second: Branch, weight: tuple[float, float]) -> None:
        """See `inference.topologies.Recorder`."""
        self._keys.append(key)
        self._pairs.append(pair)
        self._branches.append((first, second))
        self._weights.append(weight)

    def number_origins(self, keys: Sequence[PairKey]) -> None:
        """See `inference.topologies.Recorder`."""
        number = {key: i for i, key in enumerate(keys)}
        self._origins = np.array([number[key] for key in self._keys], dtype=np.int32)
        self.num_origins = len(keys)

    def origin_slopes(self) -> FloatArray:
        """dw/dθ [fb per parameter] of every uncompressed topology, shape (num_origins, 2, num_parameters), for 8 and 13 TeV."""
        out = np.zeros((self.num_origins, 2, self.slopes.parameters.size))
        if not self._keys:
            return out
        numbers = {pair: i for i, pair in enumerate(dict.fromkeys(self._pairs))}
        slopes = [self.slopes.pairs[pair] for pair in numbers]
        made = self._made
        columns: list[int] = []
        start = [0]
        for first, second in self._branches:
            for branch in (first, second):
                entry = made.get(id(branch))
                if entry is not None:
                    columns.extend(entry.columns)
            start.append(len(columns))
        inverse_br = np.zeros(self.slopes.parameters.size)
        for column, inverse in self.slopes.channels.values():
            inverse_br[column] = inverse
        _add_ways(
            self._origins, np.array(self._weights), np.array([numbers[pair] for pair in self._pairs], dtype=np.int32),
            np.array([s.ssm_column for s in slopes], dtype=np.int32), np.array([s.inverse_ssm for s in slopes]),
            np.array([s.mass_columns for s in slopes], dtype=np.int32), np.array([s.log_slopes for s in slopes]),
            np.array(start, dtype=np.int32), np.array(columns, dtype=np.int32), inverse_br, out,
        )  # fmt: skip
        return out

    def shares(self, topologies: TopologyList, topology: Topology, pids: Sequence[int]) -> tuple[float, ...]:
        """Shares of particles of equal mass in a topology, by the weight of the ways in which they occur.

        Only asked for degenerate particles: a topology knows masses, not particles.
        """
        totals = dict.fromkeys(pids, 0.0)
        for origin, branches, weight in zip(self._origins.tolist(), self._branches, self._weights, strict=True):
            if topology.origins >> origin & 1:
                for pid in self._particles(branches, topologies.pids):
                    if pid in totals:
                        totals[pid] += max(weight)
        total = sum(totals.values())
        return tuple(value / total if total > 0.0 else 1.0 / len(pids) for value in totals.values())

    def _particles(self, branches: Sequence[Branch], pids: Sequence[int]) -> list[int]:
        """Positive pids of all nodes; `pids[i]` is the particle of bit i."""
        found = []
        for branch in branches:
            made = self._made.get(id(branch))
            if made is None:
                found.append(pids[branch.pids.bit_length() - 1])
            else:
                found.append(made.pid)
                found.extend(self._particles(made.parts, pids))
        return found


@njit(cache=True)
def _add_ways(
    origin: IntArray,
    weight: FloatArray,
    pair: IntArray,
    ssm_column: IntArray,
    inverse_ssm: FloatArray,
    mass_column: IntArray,
    log_slope: FloatArray,
    start: IntArray,
    columns: IntArray,
    inverse_br: FloatArray,
    out: FloatArray,
) -> None:
    for c in range(origin.size):
        p = pair[c]
        for s in range(2):
            w = weight[c, s]
            row = out[origin[c], s]
            if ssm_column[p] >= 0:
                row[ssm_column[p]] += w * inverse_ssm[p]
            row[mass_column[p, 0]] += w * log_slope[p, s]
            row[mass_column[p, 1]] += w * log_slope[p, s]
            for k in range(start[c], start[c + 1]):
                row[columns[k]] += w * inverse_br[columns[k]]


@njit(cache=True)
def _sum_origins(words: NDArray[np.uint64], origin_slopes: FloatArray, out: FloatArray) -> None:
    for t in range(words.shape[0]):
        for k in range(words.shape[1]):
            word = words[t, k]
            for bit in range(64):
                if word == 0:
                    break
                if word & np.uint64(1):
                    out[t] += origin_slopes[64 * k + bit]
                word >>= np.uint64(1)


def topology_slopes(topologies: TopologyList, numbers: Sequence[int], recorder: WeightRecorder) -> FloatArray:
    """dw/dθ [fb per parameter] of some topologies, shape (len(numbers), 2, num_parameters), for 8 and 13 TeV.

    Args:
        topologies: of the model.
        numbers: which of them.
        recorder: was present when they were made.
    """
    origin_slopes = recorder.origin_slopes()
    size = max(1, -(-topologies.num_origins // 64))
    text = b"".join(topologies.topologies[number].origins.to_bytes(8 * size, "little") for number in numbers)
    words = np.frombuffer(text, dtype="<u8").astype(np.uint64).reshape(-1, size)
    out = np.zeros((len(numbers), 2, recorder.slopes.parameters.size))
    _sum_origins(words, origin_slopes, out)
    return out
