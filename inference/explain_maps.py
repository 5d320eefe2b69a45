"""Looks every topology up in every map whose diagram it fits, and says where a map gives no value and why.

The same matching, interpolation and lifetime weighting as the predictions use; kept apart from them because here nothing
is dropped on the way.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from database.results.store import ResultsStore
from inference.branches import Branch, State
from inference.explanation import Axis, Node
from inference.fates import Fate
from inference.interpolation import MAX_FULL, WIDTH_UNIT_GEV, build_grid_arrays, evaluate_columns, locate, rescale_width
from inference.lifetime import LifetimeFactors, is_prompt, node_widths
from inference.lookup import nodes_with_width
from inference.matching import Assignment, DataMap, Matching
from inference.quantum_numbers import bsm_quantum_numbers
from inference.spectrum import Spectrum
from inference.topologies import Topology, TopologyList
from inference.types import FloatArray, IntArray


class Hit(NamedTuple):
    """A topology that a map gives a value for.

    Attributes:
        topology: its number.
        atom: index of the map's atom.
        value: limit [fb] or efficiency as published.
        factor: fraction of its decays the search sees.
    """

    topology: int
    atom: int
    value: float
    factor: float


class Miss(NamedTuple):
    """A topology that some maps on one grid give no value for.

    Attributes:
        topology: its number.
        atoms: indices of the maps' atoms.
        fate: OUTSIDE, OFF_PLANE or SINGLE_POINT.
        axes: the grid's coordinates, with the model's and the published values.
        distance: to the nearest published point, in units of the grid's extent.
    """

    topology: int
    atoms: IntArray
    fate: Fate
    axes: tuple[Axis, ...]
    distance: float


class _Block(NamedTuple):
    """Atoms of one slot on one grid."""

    grid: int
    columns: IntArray
    atoms: IntArray


class NodeNames:
    """Which particles of the model the nodes of its topologies can be."""

    def __init__(self, spectrum: Spectrum, topologies: TopologyList) -> None:
        self._topologies = topologies
        self._states = {pid: (rounded_mass(spectrum.masses[pid]), bsm_quantum_numbers(pid)) for pid in spectrum.masses}

    def pids(self, topology: Topology, state: State) -> tuple[int, ...]:
        """Positive PDG ids of the topology's particles with the state's mass, and charge, colour and spin where it has them."""
        found = []
        for pid in sorted(self._topologies.pids_of(topology.pids)):
            mass, numbers = self._states[pid]
            is_same = (abs(state.charge3), state.colour, state.spin2) == (abs(numbers.charge3), numbers.colour, numbers.spin2)
            if mass == state.mass and (is_same or state.spin2 < 0):
                found.append(pid)
        return tuple(found)

    def node(self, topology: Topology, branch: Branch) -> Node:
        """A branch with its particles."""
        state = branch.state
        daughters = tuple(self.node(topology, daughter) for daughter in branch.daughters)
        signed = tuple(-pid if self._is_conjugate(pid, state) else pid for pid in self.pids(topology, state))
        return Node(signed, state.mass, state.width, branch.sm, daughters)

    def _is_conjugate(self, pid: int, state: State) -> bool:
        return state.charge3 * self._states[pid][1].charge3 < 0


@lru_cache(maxsize=1)
def build_map_look_up(store: ResultsStore) -> MapLookUp:
    """The look-up of a store, kept for the next explanation."""
    return MapLookUp(store)


class MapLookUp:
    """Looks topologies up in the maps of a store."""

    def __init__(self, store: ResultsStore) -> None:
        self._store = store
        self._arrays = build_grid_arrays(store)
        self._lifetimes = LifetimeFactors(store)
        blocks: dict[tuple[int, int], dict[int, list[int]]] = {}
        for atom, (map_id, template) in enumerate(zip(store.atom_map.tolist(), store.atom_template.tolist(), strict=True)):
            slot = (template, int(store.map_data_map[map_id]))
            blocks.setdefault(slot, {}).setdefault(int(store.map_grid[map_id]), []).append(atom)
        slots = sorted(blocks)
        self._data_maps = [store.data_maps[data_map] for _, data_map in slots]
        self._blocks = [[self._block(grid, atoms) for grid, atoms in sorted(blocks[slot].items())] for slot in slots]
        self._matching = Matching(store.templates, [(template, store.data_maps[data_map]) for template, data_map in slots])
        self._points: dict[int, FloatArray] = {}

    def _block(self, grid: int, atoms: Sequence[int]) -> _Block:
        numbers = np.array(atoms, dtype=np.int32)
        return _Block(grid, np.asarray(self._store.map_column)[np.asarray(self._store.atom_map)[numbers]].astype(np.int32), numbers)

    def search(self, number: int, topology: Topology, names: NodeNames) -> Iterator[Hit | Miss]:
        """Everything the maps say of one topology."""
        widths = () if is_prompt(topology.states) else node_widths(topology)
        for slot, assignments in self._matching.slots(topology):
            data_map = self._data_maps[slot]
            coordinates, assignment = max((_coordinates(topology.states, nodes, data_map), nodes) for nodes in assignments)
            x = np.zeros(MAX_FULL)
            x[: len(coordinates)] = [
                rescale_width(value) if kind == "totalwidth" else value for value, (_, kind) in zip(coordinates, data_map, strict=True)
            ]
            chosen = [nodes for nodes in assignments if _coordinates(topology.states, nodes, data_map) == coordinates]
            handled = [nodes_with_width(nodes, data_map) for nodes in chosen]
            for block in self._blocks[slot]:
                out = np.empty(block.columns.size)
                evaluate_columns(block.grid, x, block.columns, self._arrays, out)
                has_value = ~np.isnan(out)
                seen = block.atoms[has_value]
                factors = self._lifetimes.of(widths, handled, seen) if widths else np.ones(seen.size)
                for atom, value, factor in zip(seen.tolist(), out[has_value].tolist(), factors.tolist(), strict=True):
                    yield Hit(number, atom, value, factor)
                if not has_value.all():
                    nodes = _nodes(topology, names)
                    axes, distance = self._compare(block.grid, x, coordinates, data_map, [nodes[node] for node in assignment])
                    yield Miss(number, block.atoms[~has_value], self._reason(block.grid, x), axes, distance)

    def _reason(self, grid: int, x: FloatArray) -> Fate:
        store = self._store
        if store.grid_num_simplices[grid] == 0:
            return Fate.SINGLE_POINT
        projected = (x - store.grid_delta[grid]) @ store.grid_rotation[grid]
        is_inside = locate(grid, projected, self._arrays, np.zeros(4)) >= 0
        return Fate.OFF_PLANE if is_inside else Fate.OUTSIDE

    def _compare(
        self, grid: int, x: FloatArray, coordinates: Sequence[float], data_map: DataMap, nodes: Sequence[_NodeInfo]
    ) -> tuple[tuple[Axis, ...], float]:
        """The coordinates beside the published ones, and the distance to the nearest published point."""
        if grid not in self._points:
            self._points[grid] = self._store.grid_points(grid)
        points = self._points[grid]
        low, high = points.min(axis=0), points.max(axis=0)
        extent = np.where(high > low, high - low, 1.0)
        distances = np.sqrt((((points - x[: len(data_map)]) / extent) ** 2).sum(axis=1))
        nearest = int(np.argmin(distances))
        axes = []
        for i, ((_, kind), node) in enumerate(zip(data_map, nodes, strict=True)):
            shown = [_published(float(values[i]), kind) for values in (low, high, points[nearest])]
            quantity = "width" if kind == "totalwidth" else "mass"
            axes.append(Axis(quantity, node.branch, node.depth, node.pids, coordinates[i], *shown))
        return tuple(axes), float(distances[nearest])


class _NodeInfo(NamedTuple):
    branch: int
    depth: int
    pids: tuple[int, ...]


def _nodes(topology: Topology, names: NodeNames) -> list[_NodeInfo]:
    """Branch, depth and particles of each BSM node, in preorder."""
    found: list[_NodeInfo] = []

    def walk(branch: Branch, number: int, depth: int) -> None:
        found.append(_NodeInfo(number, depth, names.pids(topology, branch.state)))
        for daughter in branch.daughters:
            walk(daughter, number, depth + 1)

    for number, branch in enumerate(topology.branches):
        walk(branch, number + 1, 0)
    return found


def rounded_mass(mass: float) -> float:
    """A mass [GeV] as topologies have it."""
    return max(round(abs(mass), 1), 1.0)


def _coordinates(states: Sequence[State], assignment: Assignment, data_map: DataMap) -> tuple[float, ...]:
    return tuple(
        states[node].width if kind == "totalwidth" else states[node].mass for node, (_, kind) in zip(assignment, data_map, strict=True)
    )


def _published(value: float, kind: str) -> float:
    """A published coordinate in GeV; what the rotation into the plane and back added is rounded away."""
    if kind == "totalwidth":
        return WIDTH_UNIT_GEV * math.expm1(value)
    return round(value, 3)
