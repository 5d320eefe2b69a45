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
from inference.collect import MIN_XSEC_FB, ClusterRows, HitValues, ResultArrays, Rows, collect_rows, find_special
from inference.conditions import ConditionsOfMaps
from inference.lookup import Coordinates, LookUp
from inference.settings import Conventions, PredictionSettings
from inference.spectrum import Spectrum
from inference.topologies import SQRTS_TEV, TopologyList, build_topologies
from inference.types import FloatArray, IntArray, PredictionKind, Predictions

CONDITION_ROUNDING = 0.005
"""Violations are compared with their limit to two digits (SModelS 3.0)."""

__all__ = ["MIN_XSEC_FB", "Populated", "Predictor"]

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
        is_combined = np.zeros(self.num_regions, dtype=np.bool_)  # regions that enter a statistical model
        num_combined = np.zeros(len(store.results), dtype=np.int32)
        for record in store.results:
            if record.stat_model != "none":
                is_combined[record.dataset_start : record.dataset_start + record.num_combined] = True
                num_combined[record.index] = record.num_combined
        self._conditions = ConditionsOfMaps(store)
        self.results = ResultArrays(
            np.asarray(store.dataset_result),
            np.asarray(store.map_dataset),
            np.asarray(store.ul_obs_fb),
            np.asarray(store.ul_exp_fb),
            is_combined,
            np.array([record.dataset_start for record in store.results], dtype=np.int32),
            num_combined,
            np.array([record.lumi_ifb for record in store.results], dtype=np.float64),
            self._conditions.groups(group, self.atom_map, self._num_groups),
        )

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
        places = _Places(self.look_up.places, values.place, source)
        return Populated(hits, values.atom[source], values.value[source], values.expected[source], values.factor[source], places)

    def predict_topologies(self, topologies: TopologyList) -> Predictions:
        """All predictions of already decomposed topologies."""
        return self.predict_populated(topologies, self.populate(topologies))

    def predict_populated(self, topologies: TopologyList, populated: Populated) -> Predictions:
        """All predictions of topologies that are looked up and added up."""
        hits, conventions = populated.hits, self.settings.conventions
        values = HitValues(populated.value, populated.expected, populated.factor)
        degeneracy = np.array([topology.degeneracy for topology in topologies.topologies], dtype=np.int64)
        conditioned, special = find_special(hits, values, degeneracy, self.results.has_condition, self.num_regions)
        violations = np.zeros(hits.groups.size)
        for row in conditioned.tolist():
            violations[row] = self._violation(range(hits.start[row], hits.start[row + 1]), populated, topologies)
        order = np.arange(hits.topology.size, dtype=np.int32) if special.size else None
        clusters = [cluster for row in special.tolist() for cluster in self._cluster_rows(row, populated, topologies, order)]
        rows, seen, events, used = collect_rows(
            hits,
            values,
            violations,
            self._max_violation,
            special,
            _cluster_arrays(clusters),
            self.results,
            self.num_regions,
            2 if conventions.has(Conventions.SINGLE_POPULATED_REGION) else 1,
        )
        yields, position = {}, 0
        for number, size in zip(seen.tolist(), self.results.num_combined[seen].tolist(), strict=True):
            yields[number] = events[position : position + size]
            position += size
        contributions = _Contributions(topologies, hits.topology, populated.atom, self.atom_map, order, used)
        return _make_predictions(rows, yields, contributions)

    @property
    def _max_violation(self) -> float:
        """Largest tolerated violation; inf if none is too large."""
        is_lenient = self.settings.conventions.has(Conventions.KEPT_CONDITIONS)
        return math.inf if is_lenient else self.settings.max_condition_violation * (1.0 + CONDITION_ROUNDING)

    def _violation(self, numbers: Sequence[int], populated: Populated, topologies: TopologyList) -> float:
        hits = populated.hits
        maps = sorted({int(self.atom_map[populated.atom[n]]) for n in numbers})
        return self._conditions.violation(maps, [(topologies.topologies[hits.topology[n]], float(hits.weight_fb[n])) for n in numbers])

    def _cluster_rows(
        self, row: int, populated: Populated, topologies: TopologyList, order: IntArray | None
    ) -> list[tuple[int, int, int, float, float, float, float]]:
        """(group, first hit, last hit, σ, observed, expected limit, violation) per cluster; `order` is updated."""
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
            violated = self._violation(numbers, populated, topologies) if self.results.has_condition[hits.groups[row]] else 0.0
            if order is not None:
                order[position : position + len(numbers)] = numbers
            if violated <= self._max_violation:
                rows.append((row, position, position + len(numbers), xsec, cluster.limit_fb, expected, violated))
            position += len(numbers)
        return rows


def _cluster_arrays(clusters: Sequence[tuple[int, int, int, float, float, float, float]]) -> ClusterRows:
    if not clusters:
        return _NO_CLUSTERS
    columns = list(zip(*clusters, strict=True))
    group, start, stop = (np.array(column, dtype=np.int32) for column in columns[:3])
    xsec, observed, expected, violated = (np.array(column, dtype=np.float64) for column in columns[3:])
    return ClusterRows(group, start, stop, xsec, observed, expected, violated)


def _alone(hit: LimitHit) -> Cluster:
    return Cluster((hit,), hit.coordinates, hit.limit_fb, hit.lifetime_factor)


_NO_CLUSTERS = ClusterRows(
    np.empty(0, dtype=np.int32),
    np.empty(0, dtype=np.int32),
    np.empty(0, dtype=np.int32),
    np.empty(0),
    np.empty(0),
    np.empty(0),
    np.empty(0),
)


class _Places(Sequence[Coordinates]):
    """Coordinates per hit, read through the number of their place."""

    def __init__(self, places: list[Coordinates], place: IntArray, source: IntArray) -> None:
        self._places = places
        self._place = place
        self._source = source

    def __len__(self) -> int:
        return len(self._source)

    @overload
    def __getitem__(self, index: int) -> Coordinates: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Coordinates]: ...
    def __getitem__(self, index: int | slice) -> Coordinates | Sequence[Coordinates]:
        numbers = self._place[self._source[index]]
        return [self._places[number] for number in numbers.tolist()] if isinstance(index, slice) else self._places[int(numbers)]


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
    """Who contributes: topology and map atom per hit, order of the hits in clusters, and whether a hit is behind a region."""

    topologies: TopologyList
    topology: IntArray
    atom: IntArray
    atom_map: IntArray
    order: IntArray | None
    used: NDArray[np.bool_]

    def numbers(self, rows: Rows, i: int) -> NDArray[np.int64]:
        """Hits behind row i."""
        start, stop = int(rows.start[i]), int(rows.stop[i])
        if rows.kind[i] == PredictionKind.COMBINED:
            return np.flatnonzero(self.used[start:stop]) + start
        return np.arange(start, stop) if self.order is None else self.order[start:stop].astype(np.int64)

    def maps(self, rows: Rows, i: int) -> tuple[int, ...]:
        return tuple(sorted(set(self.atom_map[self.atom[self.numbers(rows, i)]].tolist())))

    def topology_ids(self, rows: Rows, i: int) -> tuple[int, ...]:
        return tuple(sorted(set(self.topology[self.numbers(rows, i)].tolist())))

    def pids(self, rows: Rows, i: int) -> frozenset[int]:
        mask = 0
        for number in self.topology_ids(rows, i):
            mask |= self.topologies.topologies[number].pids
        return self.topologies.pids_of(mask)


def _make_predictions(rows: Rows, yields: dict[int, FloatArray], contributions: _Contributions) -> Predictions:
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
    if topologies.num_origins <= 64:
        return np.array([topology.origins for topology in topologies.topologies], dtype=np.uint64).reshape(-1, 1)
    words = -(-topologies.num_origins // 64)
    mask = (1 << 64) - 1
    rows = [[topology.origins >> (64 * k) & mask for k in range(words)] for topology in topologies.topologies]
    return np.array(rows, dtype=np.uint64).reshape(-1, words)
