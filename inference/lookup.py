"""Values of all published maps for one topology, remembered.

A look-up depends on the topology's signature and masses only, not on cross sections or branching ratios: a move that changes
production or decays finds all its values here. Values live in one block of memory that compiled code reads without copies;
when it is full, everything is forgotten and looked up again, so results never depend on what came before.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from database.results.store import ResultsStore
from inference.branches import State
from inference.interpolation import MAX_FULL, GridArrays, build_grid_arrays, evaluate_columns, rescale_width
from inference.lifetime import LifetimeFactors, NodeWidth, is_prompt, node_widths
from inference.matching import Assignment, DataMap, Matching, SlotMatch
from inference.slots import Slots, build_slots
from inference.topologies import Topology
from inference.types import FloatArray, IntArray

CAPACITY = 1 << 19
"""Values remembered at most; 17 MB."""
MAX_TOPOLOGIES = 10_000
"""Topologies remembered at most, those without any value included; about 10 MB."""

Coordinates = tuple[float, ...]


class Values(NamedTuple):
    """The block of remembered values; entries of one topology are contiguous.

    Attributes:
        atom: map atom.
        value: efficiency, or observed limit for a prompt topology [fb].
        expected: expected limit for a prompt topology [fb]; nan where there is none.
        factor: fraction of the topology's decays the search sees; 1 for prompt topologies.
        place: number of the coordinates in `LookUp.places`.
    """

    atom: IntArray
    value: FloatArray
    expected: FloatArray
    factor: FloatArray
    place: IntArray


@njit(cache=True)
def _fill(
    first_block: int,
    last_block: int,
    x: FloatArray,
    grid: IntArray,
    entry_start: IntArray,
    column: IntArray,
    atom: IntArray,
    atom_grid_exp: IntArray,
    atom_column_exp: IntArray,
    arrays: GridArrays,
    position: int,
    atoms: IntArray,
    values: FloatArray,
    expected: FloatArray,
) -> int:
    """Look one slot up; writes hits from `position` on and returns the position behind them."""
    one, column_exp = np.empty(1), np.empty(1, dtype=np.int32)
    for block in range(first_block, last_block):
        first, last = entry_start[block], entry_start[block + 1]
        out = np.empty(last - first)
        if not evaluate_columns(grid[block], x, column[first:last], arrays, out):
            continue
        for k in range(last - first):
            if not math.isnan(out[k]):
                a = atom[first + k]
                atoms[position] = a
                values[position] = out[k]
                expected[position] = math.nan
                if atom_grid_exp[a] >= 0:
                    column_exp[0] = atom_column_exp[a]
                    evaluate_columns(atom_grid_exp[a], x, column_exp, arrays, one)
                    expected[position] = one[0]
                position += 1
    return position


class LookUp:
    """Looks topologies up in all maps of a store.

    Args:
        store: compiled results.
        capacity: values remembered at most.
        max_topologies: topologies remembered at most.
    """

    def __init__(self, store: ResultsStore, capacity: int = CAPACITY, max_topologies: int = MAX_TOPOLOGIES) -> None:
        self.store = store
        self.arrays = build_grid_arrays(store)
        self.slots: Slots = build_slots(store)
        self.matching = Matching(store.templates, self.slots.slots)
        self._atom_map = np.asarray(store.atom_map)
        self._atom_grid_exp = np.asarray(store.map_grid_exp)[self._atom_map].astype(np.int32)
        self._atom_column_exp = np.asarray(store.map_column_exp)[self._atom_map].astype(np.int32)
        self._lifetimes = LifetimeFactors(store)
        self._max_topologies = max_topologies
        self.values = Values(
            np.empty(capacity, dtype=np.int32),
            np.empty(capacity),
            np.empty(capacity),
            np.empty(capacity),
            np.empty(capacity, dtype=np.int32),
        )
        self.places: list[Coordinates] = []
        self._known: dict[int, tuple[int, int]] = {}
        self._filled = 0
        self.num_forgotten = 0

    def ranges(self, topologies: tuple[Topology, ...]) -> NDArray[np.int64]:
        """First and one past the last entry of each topology in `values`, shape (num_topologies, 2).

        Valid until the next call.
        """
        found = np.empty((len(topologies), 2), dtype=np.int64)
        if not self._find_all(topologies, found, is_alone=False):
            self.forget()
            self._find_all(topologies, found, is_alone=True)
        return found

    def _find_all(self, topologies: tuple[Topology, ...], found: NDArray[np.int64], *, is_alone: bool) -> bool:
        """Fill in the ranges; False if there is no room. A model that is alone gets the room it needs."""
        for i, topology in enumerate(topologies):
            entry = self._known.get(topology.number)
            if entry is None:
                if not is_alone and len(self._known) >= self._max_topologies:
                    return False
                matches = self.matching.slots(topology)
                needed = self._filled + sum(self.slots.num_entries(match.slot) for match in matches)
                if needed > self.values.atom.size:
                    if not is_alone:
                        return False
                    self._grow(needed)
                entry = self._known[topology.number] = self._look_up(topology, matches)
            found[i, 0], found[i, 1] = entry
        return True

    def _grow(self, needed: int) -> None:
        size = max(needed, 2 * self.values.atom.size)
        self.values = Values(*(np.concatenate([column, np.empty(size - column.size, dtype=column.dtype)]) for column in self.values))

    def forget(self) -> None:
        """Forget all values; the next look-ups are made anew."""
        self._known.clear()
        self.places.clear()
        self._filled = 0
        self.num_forgotten += 1

    def _look_up(self, topology: Topology, matches: tuple[SlotMatch, ...]) -> tuple[int, int]:
        """Fill in the values of a new topology."""
        slots = self.slots
        start = position = self._filled
        states = topology.states
        nodes = () if is_prompt(states) else node_widths(topology)
        for slot, assignments in matches:
            data_map = slots.slots[slot][1]
            coordinates = max(_coordinates(states, assignment, data_map) for assignment in assignments)
            before = position
            position = _fill(
                slots.grid_start[slot], slots.grid_start[slot + 1], map_coordinates(coordinates, data_map), slots.grid, slots.entry_start,
                slots.column, slots.atom, self._atom_grid_exp, self._atom_column_exp, self.arrays, position,
                self.values.atom, self.values.value, self.values.expected,
            )  # fmt: skip
            self.values.place[before:position] = len(self.places)
            self.places.append(coordinates)
            self.values.factor[before:position] = 1.0
            if nodes:
                chosen = [assignment for assignment in assignments if _coordinates(states, assignment, data_map) == coordinates]
                handled = [nodes_with_width(assignment, data_map) for assignment in chosen]
                self.values.factor[before:position] = self._lifetimes.of(nodes, handled, self.values.atom[before:position])
        self._filled = position
        return start, position

    def open_widths(self, topology: Topology, atom: int) -> tuple[NodeWidth, ...]:
        """States of a topology whose width the map of an atom does not depend on, in the order of the published diagram."""
        data_map = self.store.data_maps[int(self.store.map_data_map[self._atom_map[atom]])]
        nodes, known = node_widths(topology), {number for number, kind in data_map if kind == "totalwidth"}
        laid = self.matching.lay(topology, int(self.store.atom_template[atom]))
        best = max(laid, key=lambda found: _coordinates(topology.states, tuple(found[node] for node, _ in data_map), data_map))
        return tuple(nodes[best[number]] for number in sorted(best) if number not in known)

    def value_at(self, grid: int, column: int, coordinates: Coordinates, data_map: DataMap) -> float:
        """Value of one map at given masses and widths [GeV]; nan outside."""
        out = np.empty(1)
        evaluate_columns(grid, map_coordinates(coordinates, data_map), np.array([column], dtype=np.int32), self.arrays, out)
        return float(out[0])


def map_coordinates(coordinates: Coordinates, data_map: DataMap) -> FloatArray:
    """Masses and widths [GeV] as a map's coordinates: widths transformed, padded with 0."""
    x = np.zeros(MAX_FULL)
    for i, (value, (_, kind)) in enumerate(zip(coordinates, data_map, strict=True)):
        x[i] = rescale_width(value) if kind == "totalwidth" else value
    return x


def _coordinates(states: tuple[State, ...], assignment: tuple[int, ...], data_map: DataMap) -> Coordinates:
    return tuple(
        states[node].width if kind == "totalwidth" else states[node].mass for node, (_, kind) in zip(assignment, data_map, strict=True)
    )


def nodes_with_width(assignment: Assignment, data_map: DataMap) -> frozenset[int]:
    """Preorder numbers of the nodes whose width a map depends on."""
    return frozenset(node for node, (_, kind) in zip(assignment, data_map, strict=True) if kind == "totalwidth")
