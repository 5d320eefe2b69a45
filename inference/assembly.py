"""From looked-up values to weights per signal region or limit map, compiled.

Every topology contributes σ·BR·ε to a signal region, σ·BR to a limit map. Topologies that stem from the same original (compressed
copies, several diagrams hit by one topology) count once per region, or per limit map: the heaviest weight wins.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from inference.types import FloatArray, IntArray

MIN_EFFICIENCY = 1e-14


class AtomArrays(NamedTuple):
    """What assembly needs to know of each map atom.

    Attributes:
        group: signal region, or number of regions + map for limit maps.
        sqrts: 0 for 8 TeV, 1 for 13 TeV.
        coefficient: factor of its cross sections in the map's constraint.
        is_limit: whether its map holds limits.
    """

    group: IntArray
    sqrts: IntArray
    coefficient: FloatArray
    is_limit: NDArray[np.bool_]


class Hits(NamedTuple):
    """Contributions that count, sorted by group and falling weight.

    Attributes:
        groups: numbers of the populated groups, ascending, shape (num_groups,).
        start: first hit of each group, shape (num_groups + 1,).
        xsec_fb: Σ coefficient · weight per group [fb], shape (num_groups,).
        topology: topology of each hit.
        source: its entry in the look-up's values.
        weight_fb: σ·BR·ε, or σ·BR for limits [fb].
    """

    groups: IntArray
    start: IntArray
    xsec_fb: FloatArray
    topology: IntArray
    source: IntArray
    weight_fb: FloatArray


@njit(cache=True)
def _sort_segment(first: int, last: int, weight: FloatArray, atom: IntArray, topology: IntArray, source: IntArray) -> None:
    """Insertion sort of one group: weight downwards, then atom, then topology."""
    for i in range(first + 1, last):
        w, a, t, s = weight[i], atom[i], topology[i], source[i]
        j = i - 1
        while j >= first and (weight[j] < w or (weight[j] == w and (atom[j] > a or (atom[j] == a and topology[j] > t)))):
            weight[j + 1], atom[j + 1], topology[j + 1], source[j + 1] = weight[j], atom[j], topology[j], source[j]
            j -= 1
        weight[j + 1], atom[j + 1], topology[j + 1], source[j + 1] = w, a, t, s


@njit(cache=True)
def assemble(
    ranges: NDArray[np.int64],
    weights: FloatArray,
    origins: NDArray[np.uint64],
    value_atom: IntArray,
    value: FloatArray,
    factor: FloatArray,
    atoms: AtomArrays,
    num_groups: int,
) -> Hits:
    """Weights of all populated regions and limit maps.

    Args:
        ranges: entries of each topology in the values, shape (num_topologies, 2).
        weights: σ·BR per topology at 8 and 13 TeV [fb], shape (num_topologies, 2).
        origins: bit set over original topologies, shape (num_topologies, num_words).
        value_atom: map atom per value.
        value: efficiency or limit per value.
        factor: lifetime factor per value.
        atoms: the map atoms.
        num_groups: number of regions plus number of maps.
    """
    total = 0
    for t in range(ranges.shape[0]):
        total += ranges[t, 1] - ranges[t, 0]
    count = np.zeros(num_groups + 1, dtype=np.int32)
    found_weight, found_source = np.empty(total), np.empty(total, dtype=np.int32)
    found_topology = np.empty(total, dtype=np.int32)
    n = 0
    for t in range(ranges.shape[0]):
        for h in range(ranges[t, 0], ranges[t, 1]):
            a = value_atom[h]
            efficiency = (1.0 if factor[h] > 0.0 else 0.0) if atoms.is_limit[a] else value[h] * factor[h]
            weight = weights[t, atoms.sqrts[a]] * efficiency
            if weight > 0.0 and efficiency >= MIN_EFFICIENCY:
                found_weight[n], found_source[n], found_topology[n] = weight, h, t
                count[atoms.group[a] + 1] += 1
                n += 1
    populated = 0
    for g in range(num_groups):
        if count[g + 1] > 0:
            populated += 1
        count[g + 1] += count[g]
    position = count[:-1].copy()
    weight_out, source_out = np.empty(n), np.empty(n, dtype=np.int32)
    topology_out, atom_out = np.empty(n, dtype=np.int32), np.empty(n, dtype=np.int32)
    for i in range(n):
        a = value_atom[found_source[i]]
        p = position[atoms.group[a]]
        position[atoms.group[a]] += 1
        weight_out[p], source_out[p], topology_out[p], atom_out[p] = found_weight[i], found_source[i], found_topology[i], a
    groups, start = np.empty(populated, dtype=np.int32), np.empty(populated + 1, dtype=np.int32)
    xsec = np.zeros(populated)
    taken = np.empty(origins.shape[1], dtype=np.uint64)
    kept, entry = 0, 0
    for g in range(num_groups):
        first, last = count[g], count[g + 1]
        if first == last:
            continue
        if last - first > 1:
            _sort_segment(first, last, weight_out, atom_out, topology_out, source_out)
        groups[entry], start[entry] = g, kept
        taken[:] = 0
        for i in range(first, last):
            row = origins[topology_out[i]]
            is_free = True
            for k in range(row.size):
                if row[k] & taken[k]:
                    is_free = False
            if is_free:
                for k in range(row.size):
                    taken[k] |= row[k]
                xsec[entry] += weight_out[i] * atoms.coefficient[atom_out[i]]
                weight_out[kept], source_out[kept], topology_out[kept] = weight_out[i], source_out[i], topology_out[i]
                kept += 1
        entry += 1
    start[populated] = kept
    return Hits(groups, start, xsec, topology_out[:kept], source_out[:kept], weight_out[:kept])
