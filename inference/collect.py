"""From weights per signal region and limit map to prediction rows, compiled.

One row per signal region, one per cluster of topologies in a limit map, one per analysis with a statistical model; ordered by
result, then kind, then data set. Most limit maps see one topology, or topologies that look the same; the others come clustered
from `inference.predictions`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from inference.assembly import Hits
from inference.types import FloatArray, IntArray, PredictionKind

MIN_XSEC_FB = 1e-6
"""Predictions below this effective cross section [fb] are dropped (SModelS 3.0)."""

_LIMIT, _REGION, _COMBINED = int(PredictionKind.UPPER_LIMIT), int(PredictionKind.EFFICIENCY_MAP), int(PredictionKind.COMBINED)


class ResultArrays(NamedTuple):
    """What the collection needs to know of the results.

    Attributes:
        dataset_result: result of each data set.
        map_dataset: data set of each map.
        ul_obs_fb, ul_exp_fb: limits of each data set [fb].
        is_combined: whether a data set enters its result's statistical model.
        dataset_start: first data set of each result.
        num_combined: number of regions in each result's statistical model.
        lumi_ifb: luminosity of each result [fb⁻¹].
        has_condition: whether any map of a group has a published condition.
    """

    dataset_result: IntArray
    map_dataset: IntArray
    ul_obs_fb: FloatArray
    ul_exp_fb: FloatArray
    is_combined: NDArray[np.bool_]
    dataset_start: IntArray
    num_combined: IntArray
    lumi_ifb: FloatArray
    has_condition: NDArray[np.bool_]


class HitValues(NamedTuple):
    """What each hit was looked up as: efficiency or observed limit, expected limit [fb], lifetime factor."""

    value: FloatArray
    expected: FloatArray
    factor: FloatArray


class ClusterRows(NamedTuple):
    """Rows of limit maps that were clustered, in the order of their groups.

    Attributes:
        group: position in `Hits.groups`.
        start, stop: their hits.
        xsec_fb: Σ σ·BR [fb].
        ul_obs_fb, ul_exp_fb: limits [fb].
        violation: of published conditions.
    """

    group: IntArray
    start: IntArray
    stop: IntArray
    xsec_fb: FloatArray
    ul_obs_fb: FloatArray
    ul_exp_fb: FloatArray
    violation: FloatArray


class Rows(NamedTuple):
    """Predictions, struct of arrays; hits start … stop contribute."""

    result: IntArray
    dataset: IntArray
    kind: NDArray[np.int8]
    xsec_fb: FloatArray
    ul_obs_fb: FloatArray
    ul_exp_fb: FloatArray
    start: IntArray
    stop: IntArray
    violation: FloatArray


@njit(cache=True)
def find_special(
    hits: Hits, values: HitValues, degeneracy: NDArray[np.int64], has_condition: NDArray[np.bool_], num_regions: int
) -> tuple[IntArray, IntArray]:
    """Groups that need a closer look.

    Args:
        hits: contributions per group.
        values: of the hits.
        degeneracy: number of each topology's masses and widths.
        has_condition: per group number.
        num_regions: groups from here on are limit maps.

    Returns:
        Positions of signal regions with a condition, and of limit maps with one or with topologies that differ.
    """
    size = hits.groups.shape[0]
    regions, limits = np.empty(size, dtype=np.int32), np.empty(size, dtype=np.int32)
    num_region, num_limit = 0, 0
    for g in range(size):
        group = hits.groups[g]
        if group < num_regions:
            if has_condition[group]:
                regions[num_region] = g
                num_region += 1
            continue
        first = hits.start[g]
        is_special = has_condition[group]
        for n in range(first + 1, hits.start[g + 1]):
            if (
                values.factor[n] != 1.0
                or values.factor[first] != 1.0
                or values.value[n] != values.value[first]
                or degeneracy[hits.topology[n]] != degeneracy[hits.topology[first]]
            ):
                is_special = True
        if is_special:
            limits[num_limit] = g
            num_limit += 1
    return regions[:num_region], limits[:num_limit]


@njit(cache=True)
def collect_rows(
    hits: Hits,
    values: HitValues,
    violation: FloatArray,
    max_violation: float,
    special: IntArray,
    clusters: ClusterRows,
    results: ResultArrays,
    num_regions: int,
    min_populated: int,
) -> tuple[Rows, IntArray, FloatArray, NDArray[np.bool_]]:
    """All predictions.

    Args:
        hits: contributions per group.
        values: of the hits.
        violation: of published conditions, per group.
        max_violation: signal regions with a larger one are dropped.
        special: positions of the limit maps whose rows are the clusters.
        clusters: their rows.
        results: see there.
        num_regions: groups from here on are limit maps.
        min_populated: signal regions that a statistical model must see.

    Returns:
        The rows; results with yields; their expected events, one result after the other; which hits are behind a signal region.
    """
    num_groups = hits.groups.shape[0]
    size = num_groups + clusters.group.shape[0] + results.dataset_start.shape[0]
    result, dataset = np.empty(size, dtype=np.int32), np.empty(size, dtype=np.int32)
    kind, xsec = np.empty(size, dtype=np.int8), np.empty(size)
    ul_obs, ul_exp = np.empty(size), np.empty(size)
    start, stop, violated = np.empty(size, dtype=np.int32), np.empty(size, dtype=np.int32), np.zeros(size)
    used = np.zeros(hits.topology.shape[0], dtype=np.bool_)
    first_limit = 0
    while first_limit < num_groups and hits.groups[first_limit] < num_regions:
        first_limit += 1
    yields_of, num_yields = np.empty(results.dataset_start.shape[0], dtype=np.int32), 0
    total = 0
    for g in range(first_limit):
        r = results.dataset_result[hits.groups[g]]
        if num_yields == 0 or yields_of[num_yields - 1] != r:
            yields_of[num_yields] = r
            num_yields += 1
            total += results.num_combined[r]
    events = np.zeros(total)
    num_yields, filled = 0, 0
    row, region, limit, s, c = 0, 0, first_limit, 0, 0
    while region < first_limit or limit < num_groups:
        at_region = results.dataset_result[hits.groups[region]] if region < first_limit else np.int32(2**31 - 1)
        at_limit = np.int32(2**31 - 1)
        if limit < num_groups:
            at_limit = results.dataset_result[results.map_dataset[hits.groups[limit] - num_regions]]
        if at_region < at_limit:  # all signal regions of one result, then its statistical model
            number, combined_start, combined_stop, num_populated, summed = at_region, 0, 0, 0, 0.0
            while region < first_limit and results.dataset_result[hits.groups[region]] == number:
                d = hits.groups[region]
                if hits.xsec_fb[region] >= MIN_XSEC_FB and violation[region] <= max_violation:
                    result[row], dataset[row], kind[row], xsec[row] = number, d, _REGION, hits.xsec_fb[region]
                    ul_obs[row], ul_exp[row] = results.ul_obs_fb[d], results.ul_exp_fb[d]
                    start[row], stop[row], violated[row] = hits.start[region], hits.start[region + 1], violation[region]
                    used[start[row] : stop[row]] = True
                    if results.is_combined[d]:
                        if num_populated == 0:
                            combined_start = start[row]
                        combined_stop = stop[row]
                        num_populated += 1
                        summed += xsec[row]
                        events[filled + d - results.dataset_start[number]] = xsec[row] * results.lumi_ifb[number]
                    row += 1
                region += 1
            if num_populated > 0:
                yields_of[num_yields] = number
                num_yields += 1
                filled += results.num_combined[number]
                if num_populated >= min_populated:
                    result[row], dataset[row], kind[row], xsec[row] = number, -1, _COMBINED, summed
                    ul_obs[row], ul_exp[row] = np.nan, np.nan
                    start[row], stop[row] = combined_start, combined_stop
                    row += 1
            continue
        d = results.map_dataset[hits.groups[limit] - num_regions]
        if s < special.shape[0] and special[s] == limit:
            s += 1
            while c < clusters.group.shape[0] and clusters.group[c] == limit:
                if clusters.xsec_fb[c] >= MIN_XSEC_FB:
                    result[row], dataset[row], kind[row], xsec[row] = at_limit, d, _LIMIT, clusters.xsec_fb[c]
                    ul_obs[row], ul_exp[row] = clusters.ul_obs_fb[c], clusters.ul_exp_fb[c]
                    start[row], stop[row], violated[row] = clusters.start[c], clusters.stop[c], clusters.violation[c]
                    row += 1
                c += 1
        elif hits.xsec_fb[limit] >= MIN_XSEC_FB:
            first = hits.start[limit]
            result[row], dataset[row], kind[row], xsec[row] = at_limit, d, _LIMIT, hits.xsec_fb[limit]
            ul_obs[row], ul_exp[row] = values.value[first] / values.factor[first], values.expected[first] / values.factor[first]
            start[row], stop[row] = first, hits.start[limit + 1]
            row += 1
        limit += 1
    rows = Rows(result[:row], dataset[:row], kind[:row], xsec[:row], ul_obs[:row], ul_exp[:row], start[:row], stop[:row], violated[:row])
    return rows, yields_of[:num_yields], events, used
