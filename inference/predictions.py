"""Predictions of a model for every published result, in one pass.

Walk: topologies ──▶ matching ──▶ interpolation ──▶ **predictions** ──▶ likelihoods, critics. All maps on one grid share one simplex
look-up; all regions of an analysis come out together. Score and critics read the same `Predictions`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from database.results.constraints import Template
from database.results.store import ResultsStore
from inference.clustering import Cluster, LimitHit, cluster_hits
from inference.conditions import Condition, parse_condition, violation
from inference.interpolation import MAX_FULL, GridArrays, build_grid_arrays, evaluate_columns, rescale_width
from inference.lifetime import is_prompt, lifetime_factor
from inference.matching import DataMap, Matching, TemplateMatcher
from inference.settings import Conventions, PredictionSettings
from inference.spectrum import Spectrum
from inference.topologies import SQRTS_TEV, State, Topology, TopologyList, build_topologies
from inference.types import FloatArray, IntArray, PredictionKind, Predictions

MIN_XSEC_FB = 1e-6
"""Predictions below this effective cross section [fb] are dropped (SModelS 3.0)."""
MIN_EFFICIENCY = 1e-14
CONDITION_ROUNDING = 0.005
"""Violations are compared with their limit to two digits (SModelS 3.0)."""


class _Slots(NamedTuple):
    """Maps by slot: slot → grids → (column, atom) entries, in compressed sparse rows."""

    slots: tuple[tuple[int, DataMap], ...]
    grid_start: IntArray
    grid: IntArray
    entry_start: IntArray
    column: IntArray
    atom: IntArray


class _Task(NamedTuple):
    """One topology to be looked up in the maps of one slot."""

    topology: int
    slot: int
    coordinates: tuple[float, ...]


@njit(cache=True)
def _collect_hits(
    task_slot: IntArray,
    task_x: FloatArray,
    grid_start: IntArray,
    grid: IntArray,
    entry_start: IntArray,
    column: IntArray,
    atom: IntArray,
    arrays: GridArrays,
    hit_task: IntArray,
    hit_atom: IntArray,
    hit_value: FloatArray,
) -> int:
    """Look all tasks up in all their maps; returns the number of hits written."""
    count = 0
    out = np.empty(4096)
    for task in range(task_slot.size):
        slot = task_slot[task]
        for block in range(grid_start[slot], grid_start[slot + 1]):
            first, last = entry_start[block], entry_start[block + 1]
            if out.size < last - first:
                out = np.empty(last - first)
            if not evaluate_columns(grid[block], task_x[task], column[first:last], arrays, out):
                continue
            for k in range(last - first):
                if not math.isnan(out[k]):
                    hit_task[count] = task
                    hit_atom[count] = atom[first + k]
                    hit_value[count] = out[k]
                    count += 1
    return count


@njit(cache=True)
def _keep_unrelated(group: IntArray, topology: IntArray, origins: NDArray[np.uint64], kept: NDArray[np.bool_]) -> None:
    """Within each group (sorted by falling weight), keep hits whose origins are disjoint from those kept before."""
    taken = np.zeros(origins.shape[1], dtype=np.uint64)
    for i in range(group.size):
        if i == 0 or group[i] != group[i - 1]:
            taken[:] = 0
        row = origins[topology[i]]
        is_free = True
        for k in range(row.size):
            if row[k] & taken[k]:
                is_free = False
                break
        kept[i] = is_free
        if is_free:
            for k in range(row.size):
                taken[k] |= row[k]


class Predictor:
    """Predicts what published results say of a model.

    Args:
        store: compiled results.
        settings: cuts and conventions.
    """

    def __init__(self, store: ResultsStore, settings: PredictionSettings) -> None:
        self.store = store
        self.settings = settings
        self.arrays = build_grid_arrays(store)
        self._slots = _build_slots(store)
        self.matching = Matching(store.templates, self._slots.slots)
        results = store.results
        self._sqrts_index = np.array([SQRTS_TEV.index(result.sqrts_tev) for result in results], dtype=np.int32)
        self._lumi_ifb = np.array([result.lumi_ifb for result in results])
        is_limit = np.array([result.kind == "upperLimit" for result in results])
        self._atom_map = np.asarray(store.atom_map)
        self._atom_coefficient = np.asarray(store.atom_coefficient)
        self._atom_dataset = np.asarray(store.map_dataset)[self._atom_map]
        self._atom_result = np.asarray(store.dataset_result)[self._atom_dataset]
        self._atom_is_limit = is_limit[self._atom_result]
        # signal regions are groups of their own, upper limits are treated map by map
        self._atom_group = np.where(self._atom_is_limit, len(store.dataset_ids) + self._atom_map, self._atom_dataset).astype(np.int32)
        self._conditions = _ConditionsOfMaps(store)
        self._has_model = tuple(result.stat_model != "none" for result in results)

    def topologies(self, spectrum: Spectrum) -> TopologyList:
        """Topologies of a spectrum under this predictor's settings."""
        return build_topologies(spectrum, self.settings)

    def predict(self, spectrum: Spectrum) -> Predictions:
        """All predictions of a spectrum.

        Args:
            spectrum: masses [GeV], decays, production cross sections [fb].

        Returns:
            Predictions, ordered by result and data set; empty if no published result sees the model.

        Raises:
            ModelFormatError: the spectrum names a particle whose quantum numbers are not known.
        """
        return self.predict_topologies(self.topologies(spectrum))

    def predict_topologies(self, topologies: TopologyList) -> Predictions:
        """All predictions of already decomposed topologies."""
        tasks = self._tasks(topologies)
        if not tasks:
            return _collect([], {}, topologies)
        hits = self._hits(topologies, tasks)
        return self._assemble(topologies, tasks, hits)

    def _tasks(self, topologies: TopologyList) -> list[_Task]:
        tasks: list[_Task] = []
        for number, topology in enumerate(topologies.topologies):
            matches = self.matching.slots(topology)
            if not matches:
                continue
            states = topology.states
            for slot, assignments in matches:
                data_map = self._slots.slots[slot][1]
                tasks.append(_Task(number, slot, max(_coordinates(states, assignment, data_map) for assignment in assignments)))
        return tasks

    def _hits(self, topologies: TopologyList, tasks: Sequence[_Task]) -> _Hits:
        slots = self._slots
        task_slot = np.array([task.slot for task in tasks], dtype=np.int32)
        task_x = np.zeros((len(tasks), MAX_FULL))
        for i, task in enumerate(tasks):
            task_x[i, : len(task.coordinates)] = self._map_coordinates(task.coordinates, slots.slots[task.slot][1])
        capacity = int(sum(slots.entry_start[slots.grid_start[s + 1]] - slots.entry_start[slots.grid_start[s]] for s in task_slot))
        hit_task, hit_atom = np.empty(capacity, dtype=np.int32), np.empty(capacity, dtype=np.int32)
        hit_value = np.empty(capacity)
        count = _collect_hits(
            task_slot,
            task_x,
            slots.grid_start,
            slots.grid,
            slots.entry_start,
            slots.column,
            slots.atom,
            self.arrays,
            hit_task,
            hit_atom,
            hit_value,
        )
        hit_task, hit_atom, hit_value = hit_task[:count], hit_atom[:count], hit_value[:count]
        topology = np.array([task.topology for task in tasks], dtype=np.int32)[hit_task]
        weights = np.array([t.weight_fb for t in topologies.topologies])
        weight = weights[topology, self._sqrts_index[self._atom_result[hit_atom]]]
        is_limit = self._atom_is_limit[hit_atom]
        factor = self._lifetime_factors(topologies, topology, hit_atom)
        is_limit = self._atom_is_limit[hit_atom]
        with np.errstate(divide="ignore"):
            limit = np.where(factor > 0.0, hit_value / factor, np.inf)
        efficiency = np.where(is_limit, np.where(factor > 0.0, 1.0, 0.0), hit_value * factor)
        weight = weight * efficiency
        usable = (weight > 0.0) & (efficiency >= MIN_EFFICIENCY)
        group = self._atom_group[hit_atom]
        order = np.lexsort((topology, hit_atom, -weight, group))
        order = order[usable[order]]
        group, topology = group[order], topology[order]
        kept = np.empty(order.size, dtype=np.bool_)
        _keep_unrelated(group, topology, _origin_words(topologies), kept)
        order = order[kept]
        return _Hits(group[kept], topology[kept], hit_task[order], hit_atom[order], weight[order], limit[order], factor[order])

    def _lifetime_factors(self, topologies: TopologyList, topology: IntArray, atom: IntArray) -> FloatArray:
        """Fraction of decays each search sees, per hit; 1 for prompt models."""
        factors = np.ones(atom.size)
        delayed = [not is_prompt(t.states) for t in topologies.topologies]
        if any(delayed):
            for i, (number, a) in enumerate(zip(topology.tolist(), atom.tolist(), strict=True)):
                if delayed[number]:
                    factors[i] = self._lifetime_factor(topologies.topologies[number], a)
        return factors

    def _lifetime_factor(self, topology: Topology, atom: int) -> float:
        data_map = self.store.data_maps[int(self.store.map_data_map[self._atom_map[atom]])]
        widths_in_map = frozenset(node for node, kind in data_map if kind == "totalwidth")
        handled = self.matching.nodes_of(topology, int(self.store.atom_template[atom]), widths_in_map)
        result = self.store.results[int(self._atom_result[atom])]
        return lifetime_factor(topology, handled, result.leff_inner_m, result.leff_outer_m)

    @staticmethod
    def _map_coordinates(coordinates: tuple[float, ...], data_map: DataMap) -> list[float]:
        return [rescale_width(value) if kind == "totalwidth" else value for value, (_, kind) in zip(coordinates, data_map, strict=True)]

    def _assemble(self, topologies: TopologyList, tasks: Sequence[_Task], hits: _Hits) -> Predictions:
        entries: list[_Entry] = []
        yields: dict[int, FloatArray] = {}
        num_datasets = len(self.store.dataset_ids)
        if hits.group.size == 0:
            return _collect([], {}, topologies)
        starts = np.flatnonzero(np.r_[True, hits.group[1:] != hits.group[:-1]])
        stops = np.r_[starts[1:], hits.group.size]
        xsec = np.add.reduceat(hits.weight * self._atom_coefficient[hits.atom], starts)
        for start, stop, total in zip(starts.tolist(), stops.tolist(), xsec.tolist(), strict=True):
            group = int(hits.group[start])
            if group >= num_datasets:
                entries.extend(self._limit_entries(group - num_datasets, start, stop, topologies, tasks, hits))
            elif total >= MIN_XSEC_FB:
                entries.append(self._region_entry(group, start, stop, total, topologies, hits, yields))
        if self.settings.conventions is Conventions.DEFAULT:
            entries = [entry for entry in entries if self._is_condition_met(entry, yields)]
        entries.extend(self._combined_entries(entries, yields))
        entries.sort(key=lambda entry: (entry.result, entry.kind, entry.dataset, entry.map_ids, -entry.xsec_fb))
        return _collect(entries, yields, topologies)

    def _is_condition_met(self, entry: _Entry, yields: dict[int, FloatArray]) -> bool:
        """Whether the published conditions hold well enough; the yields of a region where they do not are dropped."""
        limit = self.settings.max_condition_violation
        if entry.violation <= limit * (1.0 + CONDITION_ROUNDING):
            return True
        if entry.result in yields:
            yields[entry.result][entry.dataset - self.store.results[entry.result].dataset_start] = 0.0
        return False

    def _region_entry(
        self, dataset: int, start: int, stop: int, xsec: float, topologies: TopologyList, hits: _Hits, yields: dict[int, FloatArray]
    ) -> _Entry:
        store = self.store
        result = int(store.dataset_result[dataset])
        if self._has_model[result]:
            record = store.results[result]
            regions = yields.setdefault(result, np.zeros(record.dataset_stop - record.dataset_start))
            regions[dataset - record.dataset_start] = xsec * self._lumi_ifb[result]
        numbers = range(start, stop)
        return _Entry(
            result, dataset, int(PredictionKind.EFFICIENCY_MAP), xsec, float(store.ul_obs_fb[dataset]), float(store.ul_exp_fb[dataset]),
            *self._contributors(numbers, topologies, hits),
        )  # fmt: skip

    def _contributors(
        self, numbers: Sequence[int], topologies: TopologyList, hits: _Hits
    ) -> tuple[tuple[int, ...], tuple[int, ...], int, float]:
        """Maps, topologies and particles behind a prediction, and how badly it violates the maps' conditions."""
        maps = tuple(sorted({int(self._atom_map[hits.atom[n]]) for n in numbers}))
        found = tuple(sorted({int(hits.topology[n]) for n in numbers}))
        mask = 0
        for number in found:
            mask |= topologies.topologies[number].pids
        violated = 0.0
        if self._conditions.any_in(maps):
            weights = [(topologies.topologies[hits.topology[n]], float(hits.weight[n])) for n in numbers]
            violated = self._conditions.violation(maps, weights)
        return maps, found, mask, violated

    def _limit_entries(
        self, map_id: int, start: int, stop: int, topologies: TopologyList, tasks: Sequence[_Task], hits: _Hits
    ) -> list[_Entry]:
        store = self.store
        dataset = int(store.map_dataset[map_id])
        result = int(store.dataset_result[dataset])
        data_map = store.data_maps[int(store.map_data_map[map_id])]
        found = [
            LimitHit(
                n,
                float(hits.weight[n]),
                float(hits.limit[n]),
                tasks[hits.task[n]].coordinates,
                tuple(value for state in topologies.topologies[hits.topology[n]].states for value in (state.mass, state.width)),
                float(hits.factor[n]),
            )
            for n in range(start, stop)
        ]
        if len(found) == 1:
            clusters = [Cluster((found[0],), found[0].coordinates, found[0].limit_fb)]
        else:
            column, grid = int(store.map_column[map_id]), int(store.map_grid[map_id])
            clusters = cluster_hits(found, lambda x: self._value(grid, column, x, data_map), self.settings.conventions)
        entries = []
        for cluster in clusters:
            numbers = [hit.number for hit in cluster.hits]
            xsec = float(sum(hit.weight_fb * self._atom_coefficient[hits.atom[hit.number]] for hit in cluster.hits))
            if xsec < MIN_XSEC_FB:
                continue
            expected = math.nan
            if store.map_grid_exp[map_id] >= 0:
                expected = self._value(int(store.map_grid_exp[map_id]), int(store.map_column_exp[map_id]), cluster.coordinates, data_map)
                expected /= cluster.lifetime_factor
            entries.append(
                _Entry(
                    result, dataset, int(PredictionKind.UPPER_LIMIT), xsec, cluster.limit_fb, expected,
                    *self._contributors(numbers, topologies, hits),
                )
            )  # fmt: skip
        return entries

    def _value(self, grid: int, column: int, coordinates: tuple[float, ...], data_map: DataMap) -> float:
        x = np.zeros(MAX_FULL)
        x[: len(coordinates)] = self._map_coordinates(coordinates, data_map)
        out = np.empty(1)
        evaluate_columns(grid, x, np.array([column], dtype=np.int32), self.arrays, out)
        return float(out[0])

    def _combined_entries(self, entries: Sequence[_Entry], yields: dict[int, FloatArray]) -> list[_Entry]:
        """One entry per analysis with a statistical model that sees a signal."""
        combined = []
        for result in sorted(yields):
            regions = [entry for entry in entries if entry.result == result]
            if len(regions) == 1 and self.settings.conventions is Conventions.SMODELS:
                continue
            mask = 0
            for entry in regions:
                mask |= entry.pids
            combined.append(
                _Entry(
                    result, -1, int(PredictionKind.COMBINED), sum(entry.xsec_fb for entry in regions), math.nan, math.nan,
                    tuple(sorted({number for entry in regions for number in entry.map_ids})),
                    tuple(sorted({number for entry in regions for number in entry.topology_ids})),
                    mask,
                )
            )  # fmt: skip
        return combined


class _Hits(NamedTuple):
    """Kept (topology, map atom) pairs, sorted by group."""

    group: IntArray
    topology: IntArray
    task: IntArray
    atom: IntArray
    weight: FloatArray
    limit: FloatArray
    factor: FloatArray


class _Entry(NamedTuple):
    """One prediction before the arrays are made."""

    result: int
    dataset: int
    kind: int
    xsec_fb: float
    ul_obs_fb: float
    ul_exp_fb: float
    map_ids: tuple[int, ...]
    topology_ids: tuple[int, ...]
    pids: int
    violation: float = 0.0


class _ConditionsOfMaps:
    """Published conditions of the maps that have any; parsed once, matched once per signature."""

    def __init__(self, store: ResultsStore) -> None:
        self._conditions: dict[int, tuple[Condition, ...]] = {
            map_id: tuple(parse_condition(text) for text in texts) for map_id, texts in enumerate(store.map_conditions) if texts
        }
        self._matchers: dict[Template, TemplateMatcher] = {}
        self._known: dict[tuple[str, Template], bool] = {}

    def any_in(self, maps: Sequence[int]) -> bool:
        return any(map_id in self._conditions for map_id in maps)

    def violation(self, maps: Sequence[int], weights: Sequence[tuple[Topology, float]]) -> float:
        """Largest violation over the maps, given (topology, weight [fb]) of the signal."""

        def weight_of(template: Template) -> float:
            return sum(weight for topology, weight in weights if self._fits(topology, template))

        return max(violation(self._conditions.get(map_id, ()), weight_of) for map_id in maps)

    def _fits(self, topology: Topology, template: Template) -> bool:
        key = (topology.signature, template)
        if key not in self._known:
            matcher = self._matchers.setdefault(template, TemplateMatcher(template))
            self._known[key] = any(True for _ in matcher.match(topology.branches))
        return self._known[key]


def _coordinates(states: Sequence[State], assignment: tuple[int, ...], data_map: DataMap) -> tuple[float, ...]:
    return tuple(
        states[node].width if kind == "totalwidth" else states[node].mass for node, (_, kind) in zip(assignment, data_map, strict=True)
    )


def _origin_words(topologies: TopologyList) -> NDArray[np.uint64]:
    words = max(1, -(-topologies.num_origins // 64))
    out = np.zeros((len(topologies.topologies), words), dtype=np.uint64)
    mask = (1 << 64) - 1
    for i, topology in enumerate(topologies.topologies):
        for k in range(words):
            out[i, k] = topology.origins >> (64 * k) & mask
    return out


def _collect(entries: Sequence[_Entry], yields: dict[int, FloatArray], topologies: TopologyList) -> Predictions:
    return Predictions(
        result=np.array([entry.result for entry in entries], dtype=np.int32),
        dataset=np.array([entry.dataset for entry in entries], dtype=np.int32),
        kind=np.array([entry.kind for entry in entries], dtype=np.int8),
        xsec_fb=np.array([entry.xsec_fb for entry in entries], dtype=np.float64),
        ul_obs_fb=np.array([entry.ul_obs_fb for entry in entries], dtype=np.float64),
        ul_exp_fb=np.array([entry.ul_exp_fb for entry in entries], dtype=np.float64),
        map_ids=tuple(entry.map_ids for entry in entries),
        topology_ids=tuple(entry.topology_ids for entry in entries),
        pids=tuple(topologies.pids_of(entry.pids) for entry in entries),
        region_yields=yields,
        condition_violation=np.array([entry.violation for entry in entries], dtype=np.float64),
    )


def _build_slots(store: ResultsStore) -> _Slots:
    """Group all (map, atom) pairs by template and data map, then by grid."""
    grouped: dict[tuple[int, int], dict[int, list[tuple[int, int]]]] = {}
    for atom, (map_id, template) in enumerate(zip(store.atom_map.tolist(), store.atom_template.tolist(), strict=True)):
        data_map, grid = int(store.map_data_map[map_id]), int(store.map_grid[map_id])
        grouped.setdefault((template, data_map), {}).setdefault(grid, []).append((int(store.map_column[map_id]), atom))
    slots: list[tuple[int, DataMap]] = []
    grids: list[int] = []
    columns: list[int] = []
    atoms: list[int] = []
    grid_start, entry_start = [0], [0]
    for (template, data_map), blocks in sorted(grouped.items()):
        slots.append((template, store.data_maps[data_map]))
        for grid, pairs in sorted(blocks.items()):
            grids.append(grid)
            columns.extend(column for column, _ in pairs)
            atoms.extend(atom for _, atom in pairs)
            entry_start.append(len(columns))
        grid_start.append(len(grids))

    def ints(values: Sequence[int]) -> IntArray:
        return np.array(values, dtype=np.int32)

    return _Slots(tuple(slots), ints(grid_start), ints(grids), ints(entry_start), ints(columns), ints(atoms))
