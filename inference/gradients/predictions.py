"""Derivatives of all predictions: cross sections, yields and limits.

With c the coefficient of a map's constraint, w the weight σ·BR, ε the efficiency and ξ the lifetime factor of each contribution,

    signal region:   dσ = Σ c ξ (ε dw + w Σ_i ∂ε/∂x_i dx_i)
    limit map:       dσ = Σ c dw;   UL = L(x̄)/ξ̄,   x̄ = Σ w x/Σ w,   dx̄ = Σ (w/W) dx + Σ (x - x̄)/W dw,   ξ̄ likewise

dx is 1 for the mass of the particle that stands at that coordinate. Values behind the derivatives are not rounded to six digits, nor
average masses to five. What selects (σ cut, relatives, clusters, off-plane test, conditions) is taken as it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from inference.gradients.accumulate import Places, add_limits, add_regions
from inference.gradients.parameters import Parameters
from inference.gradients.weights import WeightRecorder, topology_slopes
from inference.interpolation import MAX_FULL
from inference.lookup import map_coordinates
from inference.predictions import Populated, Predictor
from inference.topologies import Topology, TopologyList
from inference.types import FloatArray, IntArray, PredictionKind, Predictions


class PredictionGradients(NamedTuple):
    """Derivatives of predictions, one row per prediction, one column per parameter.

    Attributes:
        parameters: the columns.
        xsec_fb: d(theory cross section)/dθ [fb per parameter], shape (num_predictions, num_parameters).
        ul_obs_fb: d(observed limit)/dθ; 0 for signal regions, whose limits are constants.
        ul_exp_fb: d(expected limit)/dθ; nan where there is none.
        region_yields: per result with a statistical model d(expected events)/dθ, shape (num_datasets, num_parameters).
        smooth: the predictions themselves without the rounding to six digits: the functions whose derivatives these are.
    """

    parameters: Parameters
    xsec_fb: FloatArray
    ul_obs_fb: FloatArray
    ul_exp_fb: FloatArray
    region_yields: Mapping[int, FloatArray]
    smooth: Predictions


class _Members(NamedTuple):
    """Hits behind each prediction.

    Attributes:
        region_row: prediction per hit, -1 where the hit is part of no signal region that became one.
        limit_rows: predictions of limit maps.
        limit_start: first member of each in `limit_hits`, shape (num_limit_rows + 1,).
        limit_hits: their hits.
    """

    region_row: IntArray
    limit_rows: IntArray
    limit_start: IntArray
    limit_hits: IntArray


class PredictionDifferentiator:
    """Differentiates the predictions of one predictor.

    Args:
        predictor: makes the predictions.
    """

    def __init__(self, predictor: Predictor) -> None:
        store = predictor.store
        self._store, self._atoms, self._num_regions = store, predictor.atoms, predictor.num_regions
        self._arrays = predictor.look_up.arrays
        self._atom_map: IntArray = np.asarray(store.atom_map)
        data_map = np.asarray(store.map_data_map)[self._atom_map]
        pairs = np.stack([np.asarray(store.atom_template), data_map], axis=1)
        self._atom_slot = np.unique(pairs, axis=0, return_inverse=True)[1].astype(np.int64).reshape(-1)
        self._num_slots = int(self._atom_slot.max(initial=-1)) + 1
        self._grid: IntArray = np.asarray(store.map_grid)[self._atom_map].astype(np.int32)
        self._column: IntArray = np.asarray(store.map_column)[self._atom_map].astype(np.int32)
        self._grid_exp: IntArray = np.asarray(store.map_grid_exp)[self._atom_map].astype(np.int32)
        self._column_exp: IntArray = np.asarray(store.map_column_exp)[self._atom_map].astype(np.int32)
        self._num_grids = len(self._arrays.full)

    def differentiate(
        self,
        topologies: TopologyList,
        populated: Populated,
        predictions: Predictions,
        masses: Mapping[int, float],
        recorder: WeightRecorder,
        *,
        is_smooth: bool = False,
    ) -> PredictionGradients:
        """Derivatives of the predictions of one model.

        Args:
            topologies: of the model.
            populated: what the predictor looked up for them.
            predictions: made from them.
            masses: of the spectrum [GeV].
            recorder: was present when the topologies were made.
            is_smooth: whether maps are read at the masses as they are; else rounded to 0.1 GeV, as the predictions read them.
        """
        parameters = recorder.slopes.parameters
        size = int(predictions.result.size)
        xsec, xsec_slopes = np.zeros(size), np.zeros((size, parameters.size))
        limits, limit_slopes = np.full((2, size), math.nan), np.zeros((2, size, parameters.size))
        if size:
            members = self._members(populated, predictions)
            used, inverse = np.unique(populated.hits.topology, return_inverse=True)
            position = inverse.astype(np.int32).reshape(-1)
            weight_slopes = topology_slopes(topologies, used.tolist(), recorder)
            weights = np.array([topologies.topologies[number].weight_fb for number in used.tolist()])
            places = self._places(populated, topologies, _Columns(masses, topologies, recorder, is_smooth=is_smooth))
            sqrts, coefficient = self._atoms.sqrts[populated.atom], self._atoms.coefficient[populated.atom]
            grid = self._grid[populated.atom]
            in_region = np.flatnonzero(members.region_row >= 0)
            # hits with one place and grid in a row share the look-up
            order = in_region[np.argsort(places.of_hit[in_region] * np.int64(self._num_grids) + grid[in_region], kind="stable")]
            add_regions(
                order, members.region_row, grid, self._column[populated.atom], sqrts, coefficient * populated.factor, position,
                weights, weight_slopes, places, self._arrays, xsec, xsec_slopes,
            )  # fmt: skip
            add_limits(
                members.limit_rows, members.limit_start, members.limit_hits, populated.atom, self._grid, self._column, self._grid_exp,
                self._column_exp, sqrts, coefficient, populated.factor, position, weights, weight_slopes, places, self._arrays,
                xsec, xsec_slopes, limits, limit_slopes,
            )  # fmt: skip
        return self._collect(parameters, predictions, xsec, xsec_slopes, limits, limit_slopes)

    def _members(self, populated: Populated, predictions: Predictions) -> _Members:
        hits = populated.hits
        num_regions = self._num_regions
        row_of_region = np.full(num_regions + 1, -1, dtype=np.int32)
        regions = np.flatnonzero(predictions.kind == PredictionKind.EFFICIENCY_MAP)
        row_of_region[predictions.dataset[regions]] = regions
        group = np.repeat(hits.groups, np.diff(hits.start))
        region_row = row_of_region[np.minimum(group, num_regions)]
        rows = np.flatnonzero(predictions.kind == PredictionKind.UPPER_LIMIT).astype(np.int32)
        limit_hits: list[int] = []
        start = [0]
        for row in rows.tolist():
            (map_id,) = predictions.map_ids[row]
            entry = int(np.searchsorted(hits.groups, num_regions + map_id))
            first, last = int(hits.start[entry]), int(hits.start[entry + 1])
            if last - first == 1:
                limit_hits.append(first)
            else:
                cluster = set(predictions.topology_ids[row])
                limit_hits.extend(n for n in range(first, last) if int(hits.topology[n]) in cluster)
            start.append(len(limit_hits))
        return _Members(region_row, rows, np.array(start, dtype=np.int32), np.array(limit_hits, dtype=np.int32))

    def _places(self, populated: Populated, topologies: TopologyList, columns: _Columns) -> Places:
        """Coordinates of each topology in each kind of map, and the parameters they are."""
        store = self._store
        code = populated.hits.topology * np.int64(self._num_slots) + self._atom_slot[populated.atom]
        _, first, of_hit = np.unique(code, return_index=True, return_inverse=True)
        x, raw = np.zeros((first.size, MAX_FULL)), np.zeros((first.size, MAX_FULL))
        is_width = np.zeros((first.size, MAX_FULL), dtype=np.bool_)
        start, column, share = [0], [], []
        for i, n in enumerate(first.tolist()):
            data_map = store.data_maps[int(store.map_data_map[self._atom_map[populated.atom[n]]])]
            coordinates = populated.coordinates[n]
            x[i] = map_coordinates(coordinates, data_map)
            number = int(populated.hits.topology[n])
            raw[i, : len(coordinates)] = coordinates
            for k, (value, (_, kind)) in enumerate(zip(coordinates, data_map, strict=True)):
                is_width[i, k] = kind == "totalwidth"
                if kind == "mass":
                    for of_mass, part in columns.of_mass(value, number):
                        column.append(of_mass)
                        share.append(part)
                        x[i, k] += part * columns.offset[of_mass]
                        raw[i, k] += part * columns.offset[of_mass]
                start.append(len(column))
            start.extend([len(column)] * (MAX_FULL - len(data_map)))
        starts, columns_of = np.array(start, dtype=np.int32), np.array(column, dtype=np.int32)
        return Places(of_hit.astype(np.int32).reshape(-1), x, raw, is_width, starts, columns_of, np.array(share, dtype=np.float64))

    def _collect(
        self, parameters: Parameters, predictions: Predictions, xsec: FloatArray, xsec_slopes: FloatArray, limits: FloatArray,
        limit_slopes: FloatArray,
    ) -> PredictionGradients:  # fmt: skip
        """Put the rows together: combined results, limits of signal regions, yields."""
        is_limit = predictions.kind == PredictionKind.UPPER_LIMIT
        observed, expected = (
            np.where(is_limit, smooth, given) for smooth, given in zip(limits, (predictions.ul_obs_fb, predictions.ul_exp_fb), strict=True)
        )
        yields, yield_slopes = self._yields(predictions, xsec, xsec_slopes)
        for row in np.flatnonzero(predictions.kind == PredictionKind.COMBINED).tolist():
            mine = self._combined_rows(predictions, int(predictions.result[row]))
            xsec[row], xsec_slopes[row] = xsec[mine].sum(), xsec_slopes[mine].sum(axis=0)
        for slopes, values in zip(limit_slopes, (observed, expected), strict=True):
            slopes[np.isnan(values)] = math.nan
        smooth = predictions._replace(xsec_fb=xsec, ul_obs_fb=observed, ul_exp_fb=expected, region_yields=yields)
        return PredictionGradients(parameters, xsec_slopes, limit_slopes[0], limit_slopes[1], yield_slopes, smooth)

    def _combined_rows(self, predictions: Predictions, result: int) -> NDArray[np.int64]:
        """Regions of a result that enter its statistical model."""
        record = self._store.results[result]
        is_combined = predictions.dataset < record.dataset_start + record.num_combined
        return np.flatnonzero((predictions.result == result) & (predictions.kind == PredictionKind.EFFICIENCY_MAP) & is_combined)

    def _yields(
        self, predictions: Predictions, xsec: FloatArray, xsec_slopes: FloatArray
    ) -> tuple[dict[int, FloatArray], dict[int, FloatArray]]:
        """Smooth yields and their derivatives of all results with a statistical model."""
        store = self._store
        yields, slopes = {}, {}
        for result, given in predictions.region_yields.items():
            record = store.results[result]
            rows = self._combined_rows(predictions, result)
            positions = predictions.dataset[rows] - record.dataset_start
            yields[result] = np.zeros_like(given)
            yields[result][positions] = record.lumi_ifb * xsec[rows]
            slopes[result] = np.zeros((given.size, xsec_slopes.shape[1]))
            slopes[result][positions] = record.lumi_ifb * xsec_slopes[rows]
        return yields, slopes


class _Columns:
    """Which parameters a mass in a map's coordinates stands for.

    Topologies know masses (rounded to 0.1 GeV), not particles. Where particles of one topology share a mass, each gets the share of the
    weight with which it occurs: as if every way into the topology were looked up with its own masses.

    Attributes:
        offset: mass less rounded mass [GeV] per column, to be added to coordinates; 0 where rounded masses are wanted.
    """

    def __init__(self, masses: Mapping[int, float], topologies: TopologyList, recorder: WeightRecorder, *, is_smooth: bool) -> None:
        self._topologies = topologies
        self._recorder = recorder
        self.offset = [0.0] * len(masses)
        self._pids: dict[float, list[int]] = {}
        self._column = {pid: i for i, pid in enumerate(recorder.slopes.parameters.masses)}
        for pid, mass in masses.items():
            rounded = round(abs(mass), 1)
            if rounded >= 1.0:  # lighter states count as 1 GeV whatever their mass
                self._pids.setdefault(rounded, []).append(pid)
                if is_smooth:
                    self.offset[self._column[pid]] = mass - rounded
        self._unique = {mass: ((self._column[pids[0]], 1.0),) for mass, pids in self._pids.items() if len(pids) == 1}

    def of_mass(self, mass: float, number: int) -> Sequence[tuple[int, float]]:
        """(column, share) of the particles with this mass [GeV] in a topology."""
        unique = self._unique.get(mass)
        if unique is not None:
            return unique
        topology: Topology = self._topologies.topologies[number]
        present = self._topologies.pids_of(topology.pids)
        pids = [pid for pid in self._pids.get(mass, []) if pid in present]
        if len(pids) < 2:
            return [(self._column[pid], 1.0) for pid in pids]
        shares = self._recorder.shares(self._topologies, topology, pids)
        return [(self._column[pid], share) for pid, share in zip(pids, shares, strict=True)]
