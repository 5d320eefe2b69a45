"""Predictions of a model for every published result, in one pass.

Walk: topologies ──▶ look-up ──▶ assembly ──▶ **predictions** ──▶ likelihoods, critics. All maps on one grid share one simplex
look-up; all regions of an analysis come out together. Score and critics read the same `Predictions`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from database.results.store import ResultsStore
from inference.assembly import AtomArrays, Hits, assemble
from inference.clustering import Cluster, LimitHit, cluster_hits
from inference.conditions import ConditionsOfMaps
from inference.lookup import Coordinates, LookUp
from inference.settings import Conventions, PredictionSettings
from inference.spectrum import Spectrum
from inference.topologies import SQRTS_TEV, TopologyList, build_topologies
from inference.types import FloatArray, IntArray, PredictionKind, Predictions

MIN_XSEC_FB = 1e-6
"""Predictions below this effective cross section [fb] are dropped (SModelS 3.0)."""
CONDITION_ROUNDING = 0.005
"""Violations are compared with their limit to two digits (SModelS 3.0)."""

T = TypeVar("T")


class Populated(NamedTuple):
    """Contributions to all populated regions and limit maps, with what they were looked up as.

    Attributes:
        hits: weights, sorted by group.
        atom: map atom of each hit.
        value: efficiency, or observed limit for a prompt topology [fb], of each hit.
        expected: expected limit for a prompt topology [fb] of each hit; nan where there is none.
        factor: lifetime factor of each hit.
        coordinates: masses and widths [GeV] of each hit in the order of its map's axes.
    """

    hits: Hits
    atom: IntArray
    value: FloatArray
    expected: FloatArray
    factor: FloatArray
    coordinates: Sequence[Coordinates]


class Predictor:
    """Predicts what published results say of a model.

    Args:
        store: compiled results.
        settings: cuts and conventions.
    """

    def __init__(self, store: ResultsStore, settings: PredictionSettings) -> None:
        self.store = store
        self.settings = settings
        self.look_up = LookUp(store)
        self.num_regions = len(store.dataset_ids)
        self.atom_map: IntArray = np.asarray(store.atom_map)
        dataset = np.asarray(store.map_dataset)[self.atom_map]
        result = np.asarray(store.dataset_result)[dataset]
        sqrts = np.array([SQRTS_TEV.index(record.sqrts_tev) for record in store.results], dtype=np.int32)
        is_limit = np.array([record.kind == "upperLimit" for record in store.results])[result]
        # signal regions are groups of their own, upper limits are treated map by map
        group = np.where(is_limit, self.num_regions + self.atom_map, dataset).astype(np.int32)
        self.atoms = AtomArrays(group, sqrts[result], np.asarray(store.atom_coefficient), is_limit)
        self._num_groups = self.num_regions + len(store.map_txnames)
        self._lumi_ifb = np.array([record.lumi_ifb for record in store.results])
        self._is_combined = np.zeros(self.num_regions, dtype=np.bool_)  # regions that enter a statistical model
        for record in store.results:
            if record.stat_model != "none":
                self._is_combined[record.dataset_start : record.dataset_start + record.num_combined] = True
        self._dataset_result: IntArray = np.asarray(store.dataset_result)
        self._ul_obs_fb, self._ul_exp_fb = np.asarray(store.ul_obs_fb), np.asarray(store.ul_exp_fb)
        self._map_dataset: IntArray = np.asarray(store.map_dataset)
        self._conditions = ConditionsOfMaps(store)
        self._has_condition = self._conditions.groups(group, self.atom_map, self._num_groups)

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

    def populate(self, topologies: TopologyList) -> Populated:
        """Look all topologies up and add them up per region and limit map."""
        ranges = self.look_up.ranges(topologies.topologies)
        values = self.look_up.values
        weights = np.array([topology.weight_fb for topology in topologies.topologies]).reshape(-1, 2)
        hits = assemble(ranges, weights, _origin_words(topologies), values.atom, values.value, values.factor, self.atoms, self._num_groups)
        source = hits.source
        places = _Places(self.look_up.places, values.place[source])
        return Populated(hits, values.atom[source], values.value[source], values.expected[source], values.factor[source], places)

    def predict_topologies(self, topologies: TopologyList) -> Predictions:
        """All predictions of already decomposed topologies."""
        return self.predict_populated(topologies, self.populate(topologies))

    def predict_populated(self, topologies: TopologyList, populated: Populated) -> Predictions:
        """All predictions of topologies that are looked up and added up."""
        hits = populated.hits
        is_region = hits.groups < self.num_regions
        is_kept = is_region & (hits.xsec_fb >= MIN_XSEC_FB)
        violations = self._violations(populated, topologies)
        if not self.settings.conventions.has(Conventions.KEPT_CONDITIONS):
            is_kept &= violations <= self.settings.max_condition_violation * (1.0 + CONDITION_ROUNDING)
        rows = np.flatnonzero(is_kept)
        dataset = hits.groups[rows]
        regions = _Rows(
            result=self._dataset_result[dataset],
            dataset=dataset,
            kind=np.full(rows.size, PredictionKind.EFFICIENCY_MAP, dtype=np.int8),
            xsec_fb=hits.xsec_fb[rows],
            ul_obs_fb=self._ul_obs_fb[dataset],
            ul_exp_fb=self._ul_exp_fb[dataset],
            start=hits.start[rows],
            stop=hits.start[rows + 1],
            violation=violations[rows],
        )
        limits, order = self._limit_rows(populated, topologies)
        yields = self._yields(regions)
        combined = self._combined_rows(regions, yields)
        used = np.zeros(hits.topology.size, dtype=np.bool_)
        for start, stop in zip(regions.start.tolist(), regions.stop.tolist(), strict=True):
            used[start:stop] = True
        topology, map_id = hits.topology[order], self.atom_map[populated.atom[order]]
        return _collect((regions, limits, combined), yields, _Contributions(topologies, topology, map_id, used))

    def _violations(self, populated: Populated, topologies: TopologyList) -> FloatArray:
        """Largest violation of a published condition per populated group."""
        hits = populated.hits
        violations = np.zeros(hits.groups.size)
        for row in np.flatnonzero(self._has_condition[hits.groups]).tolist():
            if hits.groups[row] < self.num_regions:
                violations[row] = self._violation(range(hits.start[row], hits.start[row + 1]), populated, topologies)
        return violations

    def _violation(self, numbers: Sequence[int], populated: Populated, topologies: TopologyList) -> float:
        hits = populated.hits
        maps = sorted({int(self.atom_map[populated.atom[n]]) for n in numbers})
        return self._conditions.violation(maps, [(topologies.topologies[hits.topology[n]], float(hits.weight_fb[n])) for n in numbers])

    def _limit_rows(self, populated: Populated, topologies: TopologyList) -> tuple[_Rows, IntArray]:
        """One row per cluster of topologies in a limit map, and the hits in an order that keeps clusters together."""
        hits = populated.hits
        order = np.arange(hits.topology.size, dtype=np.int32)
        rows = np.flatnonzero(hits.groups >= self.num_regions)
        start, stop = hits.start[rows], hits.start[rows + 1]
        is_single = stop - start == 1
        is_simple = is_single & ~self._has_condition[hits.groups[rows]]
        first = start[is_simple]
        factor = populated.factor[first]
        maps = hits.groups[rows[is_simple]] - self.num_regions
        simple = _Rows(
            result=self._dataset_result[self._map_dataset[maps]],
            dataset=self._map_dataset[maps],
            kind=np.full(maps.size, PredictionKind.UPPER_LIMIT, dtype=np.int8),
            xsec_fb=hits.xsec_fb[rows[is_simple]],
            ul_obs_fb=populated.value[first] / factor,
            ul_exp_fb=populated.expected[first] / factor,
            start=first,
            stop=first + 1,
            violation=np.zeros(maps.size),
        )
        clusters: list[tuple[int, int, int, float, float, float, float]] = []
        for row in rows[~is_simple].tolist():
            clusters.extend(self._cluster_rows(row, populated, topologies, order))
        if clusters:
            simple = _concatenate((simple, self._rows_of_clusters(clusters)))
        return simple.select(simple.xsec_fb >= MIN_XSEC_FB), order

    def _cluster_rows(
        self, row: int, populated: Populated, topologies: TopologyList, order: IntArray
    ) -> list[tuple[int, int, int, float, float, float, float]]:
        """(map, first hit, last hit, σ, observed, expected limit, violation) per cluster; `order` is updated."""
        hits, store = populated.hits, self.store
        map_id = int(hits.groups[row]) - self.num_regions
        start, stop = int(hits.start[row]), int(hits.start[row + 1])
        data_map = store.data_maps[int(store.map_data_map[map_id])]
        grid, column = int(store.map_grid[map_id]), int(store.map_column[map_id])
        grid_exp, column_exp = int(store.map_grid_exp[map_id]), int(store.map_column_exp[map_id])
        found = [
            LimitHit(
                n,
                float(hits.weight_fb[n]),
                float(populated.value[n] / populated.factor[n]),
                populated.coordinates[n],
                tuple(value for state in topologies.topologies[hits.topology[n]].states for value in (state.mass, state.width)),
                float(populated.factor[n]),
                () if populated.factor[n] == 1.0 else self.look_up.open_widths(topologies.topologies[hits.topology[n]], populated.atom[n]),
            )
            for n in range(start, stop)
        ]
        record = store.results[int(store.dataset_result[store.map_dataset[map_id]])]
        lengths = record.leff_inner_m, record.leff_outer_m

        def limit_at(x: Coordinates) -> float:
            return self.look_up.value_at(grid, column, x, data_map)

        clusters = cluster_hits(found, limit_at, self.settings.conventions, lengths) if len(found) > 1 else [_alone(found[0])]
        rows, position = [], start
        for cluster in clusters:
            numbers = [hit.number for hit in cluster.hits]
            xsec = sum(hit.weight_fb * float(self.atoms.coefficient[populated.atom[hit.number]]) for hit in cluster.hits)
            expected = math.nan
            if grid_exp >= 0:
                expected = self.look_up.value_at(grid_exp, column_exp, cluster.coordinates, data_map) / cluster.lifetime_factor
            violated = self._violation(numbers, populated, topologies) if self._has_condition[hits.groups[row]] else 0.0
            order[position : position + len(numbers)] = numbers
            if self.settings.conventions.has(Conventions.KEPT_CONDITIONS) or self._is_tolerable(violated):
                rows.append((map_id, position, position + len(numbers), xsec, cluster.limit_fb, expected, violated))
            position += len(numbers)
        return rows

    def _is_tolerable(self, violated: float) -> bool:
        return violated <= self.settings.max_condition_violation * (1.0 + CONDITION_ROUNDING)

    def _rows_of_clusters(self, clusters: Sequence[tuple[int, int, int, float, float, float, float]]) -> _Rows:
        maps, start, stop = (np.array([cluster[k] for cluster in clusters], dtype=np.int32) for k in range(3))
        xsec, observed, expected, violated = (np.array([cluster[k] for cluster in clusters]) for k in range(3, 7))
        dataset = self._map_dataset[maps]
        kind = np.full(maps.size, PredictionKind.UPPER_LIMIT, dtype=np.int8)
        return _Rows(self._dataset_result[dataset], dataset, kind, xsec, observed, expected, start, stop, violated)

    def _yields(self, regions: _Rows) -> dict[int, FloatArray]:
        """Expected events of all regions of every populated result with a statistical model."""
        yields: dict[int, FloatArray] = {}
        rows = np.flatnonzero(self._is_combined[regions.dataset])
        if rows.size:
            result, events = regions.result[rows], regions.xsec_fb[rows] * self._lumi_ifb[regions.result[rows]]
            for number in np.unique(result).tolist():
                record = self.store.results[number]
                mine = result == number
                yields[number] = np.zeros(record.num_combined)
                yields[number][regions.dataset[rows[mine]] - record.dataset_start] = events[mine]
        return yields

    def _combined_rows(self, regions: _Rows, yields: dict[int, FloatArray]) -> _Rows:
        """One row per analysis with a statistical model that sees a signal."""
        spans = []
        for result in sorted(yields):
            rows = np.flatnonzero((regions.result == result) & self._is_combined[regions.dataset])
            if rows.size > 1 or not self.settings.conventions.has(Conventions.SINGLE_POPULATED_REGION):
                spans.append((result, int(regions.start[rows[0]]), int(regions.stop[rows[-1]]), float(regions.xsec_fb[rows].sum())))
        size = len(spans)
        results, start, stop = (np.array([span[k] for span in spans], dtype=np.int32) for k in range(3))
        xsec = np.array([span[3] for span in spans], dtype=np.float64)
        kind = np.full(size, PredictionKind.COMBINED, dtype=np.int8)
        nothing = np.full(size, math.nan)
        return _Rows(results, np.full(size, -1, dtype=np.int32), kind, xsec, nothing, nothing, start, stop, np.zeros(size))


def _alone(hit: LimitHit) -> Cluster:
    return Cluster((hit,), hit.coordinates, hit.limit_fb, hit.lifetime_factor)


class _Rows(NamedTuple):
    """Predictions of one kind, struct of arrays; hits start … stop contribute."""

    result: IntArray
    dataset: IntArray
    kind: NDArray[np.int8]
    xsec_fb: FloatArray
    ul_obs_fb: FloatArray
    ul_exp_fb: FloatArray
    start: IntArray
    stop: IntArray
    violation: FloatArray

    def select(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> _Rows:
        return _Rows._make(column[rows] for column in self)


def _concatenate(parts: Sequence[_Rows]) -> _Rows:
    return _Rows._make(np.concatenate(columns) for columns in zip(*parts, strict=True))


class _Places(Sequence[Coordinates]):
    """Coordinates per hit, read through the number of their place."""

    def __init__(self, places: list[Coordinates], numbers: IntArray) -> None:
        self._places = places
        self._numbers = numbers

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, index: int) -> Coordinates: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Coordinates]: ...
    def __getitem__(self, index: int | slice) -> Coordinates | Sequence[Coordinates]:
        if isinstance(index, slice):
            return [self._places[number] for number in self._numbers[index].tolist()]
        return self._places[int(self._numbers[index])]


class _Lazy(Sequence[T]):
    """Entries made when they are asked for: most predictions are never described."""

    def __init__(self, size: int, make: Callable[[int], T]) -> None:
        self._size = size
        self._make = make

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[T]: ...
    def __getitem__(self, index: int | slice) -> T | Sequence[T]:
        if isinstance(index, slice):
            return [self._make(i) for i in range(*index.indices(self._size))]
        if not -self._size <= index < self._size:
            raise IndexError(index)
        return self._make(index % self._size)


class _Contributions(NamedTuple):
    """Who contributes: topology and map per hit, and whether its region became a prediction."""

    topologies: TopologyList
    topology: IntArray
    map_id: IntArray
    used: NDArray[np.bool_]

    def numbers(self, row: _Rows, i: int) -> slice | NDArray[np.int64]:
        """Hits behind row i."""
        hits = slice(int(row.start[i]), int(row.stop[i]))
        return np.flatnonzero(self.used[hits]) + hits.start if row.kind[i] == PredictionKind.COMBINED else hits

    def maps(self, row: _Rows, i: int) -> tuple[int, ...]:
        return tuple(sorted(set(self.map_id[self.numbers(row, i)].tolist())))

    def topology_ids(self, row: _Rows, i: int) -> tuple[int, ...]:
        return tuple(sorted(set(self.topology[self.numbers(row, i)].tolist())))

    def pids(self, row: _Rows, i: int) -> frozenset[int]:
        mask = 0
        for number in self.topology_ids(row, i):
            mask |= self.topologies.topologies[number].pids
        return self.topologies.pids_of(mask)


def _collect(parts: Sequence[_Rows], yields: dict[int, FloatArray], contributions: _Contributions) -> Predictions:
    rows = _concatenate(parts)
    rows = rows.select(np.lexsort((-rows.xsec_fb, rows.start, rows.dataset, rows.kind, rows.result)))
    size = int(rows.result.size)
    return Predictions(
        result=rows.result,
        dataset=rows.dataset,
        kind=rows.kind,
        xsec_fb=rows.xsec_fb,
        ul_obs_fb=rows.ul_obs_fb,
        ul_exp_fb=rows.ul_exp_fb,
        map_ids=_Lazy(size, lambda i: contributions.maps(rows, i)),
        topology_ids=_Lazy(size, lambda i: contributions.topology_ids(rows, i)),
        pids=_Lazy(size, lambda i: contributions.pids(rows, i)),
        region_yields=yields,
        condition_violation=rows.violation,
    )


def _origin_words(topologies: TopologyList) -> NDArray[np.uint64]:
    words = max(1, -(-topologies.num_origins // 64))
    mask = (1 << 64) - 1
    rows = [[topology.origins >> (64 * k) & mask for k in range(words)] for topology in topologies.topologies]
    return np.array(rows, dtype=np.uint64).reshape(-1, words)
