"""Why a model has the predictions it has: which topologies exist, which maps they fit, what those say, what is missing.

Walk: topologies ──▶ predictions, and beside them **explain**, which keeps what the predictions leave out. Made from the model's
predictions and from one look-up of every topology in every map; meant for people, not for the walk.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import NamedTuple

from database.results.store import ResultsStore
from inference.assembly import MIN_EFFICIENCY
from inference.branches import PROMPT_WIDTH_GEV, STABLE_WIDTH_GEV
from inference.explain_maps import Hit, Miss, NodeNames, build_map_look_up
from inference.explanation import (
    Axis,
    Coverage,
    Explanation,
    MapReport,
    MissingTopology,
    ProductionReport,
    ResultReport,
    TopologyReport,
)
from inference.fates import CLOSENESS, Fate
from inference.predictions import Predictor
from inference.quantum_numbers import sm_label
from inference.rows import describe_branches
from inference.settings import Conventions
from inference.spectrum import PidPair, Spectrum
from inference.topologies import DEFAULT_PROMPT_WIDTH_GEV, SQRTS_TEV, TopologyList, build_topologies
from inference.types import PredictionKind, Predictions

ROUNDING = 1e-9
"""Cut-away cross sections below this fraction of the production are rounding."""


class _Judged(NamedTuple):
    """A topology in one map, with its fate."""

    topology: int
    map_id: int
    fate: Fate
    value: float
    related_to: int
    violation: float


def explain(predictor: Predictor, spectrum: Spectrum) -> Explanation:
    """Why the published results say what they say of a model.

    Args:
        predictor: makes the predictions that are explained.
        spectrum: the model.

    Returns:
        Every topology with its fate in every map that has its diagram, coverage of the produced cross section, and what is missing.

    Raises:
        ModelFormatError: the spectrum names a particle whose quantum numbers are not known.
    """
    topologies = predictor.topologies(spectrum)
    predictions = predictor.predict_topologies(topologies)
    names = NodeNames(spectrum, topologies)
    look_up = build_map_look_up(predictor.store)
    hits: list[Hit] = []
    misses: list[Miss] = []
    for number, topology in enumerate(topologies.topologies):
        for found in look_up.search(number, topology, names):
            if isinstance(found, Hit):
                hits.append(found)
            else:
                misses.append(found)
    judged = _judge(predictor, topologies, predictions, hits)
    reports = _map_reports(predictor.store, topologies, judged, misses)
    originals = build_topologies(spectrum, predictor.settings.model_copy(update={"compress_mass": False, "compress_invisible": False}))
    index_of = _indices_of_originals(topologies, originals)
    topology_reports = tuple(
        TopologyReport(
            index=number,
            diagram=describe_branches(topology.branches),
            branches=tuple(names.node(topology, branch) for branch in topology.branches),
            weight_fb=topology.weight_fb,
            is_compressed=number not in index_of,
            origins=tuple(index for bit, index in enumerate(index_of) if topology.origins >> bit & 1),
            maps=reports.get(number, ()),
        )
        for number, topology in enumerate(topologies.topologies)
    )
    production = _production(spectrum, predictor)
    return Explanation(
        sigma_cut_fb=predictor.settings.sigma_cut_fb,
        coverage=_coverage(topologies, originals, topology_reports, production),
        topologies=topology_reports,
        missing=_missing(topologies, originals, topology_reports, index_of),
        production=production,
        results=_result_reports(predictor.store, topology_reports),
    )


def _judge(predictor: Predictor, topologies: TopologyList, predictions: Predictions, hits: Sequence[Hit]) -> list[_Judged]:
    """Fates of all topologies that maps have a value for; the rules of the predictions, with the losers kept."""
    store = predictor.store
    num_datasets = len(store.dataset_ids)
    judged: list[_Judged] = []
    groups: dict[int, list[tuple[float, int, int, float]]] = defaultdict(list)
    for hit in hits:
        map_id = int(store.atom_map[hit.atom])
        dataset = int(store.map_dataset[map_id])
        record = store.results[int(store.dataset_result[dataset])]
        is_limit = record.kind == "upperLimit"
        weight = topologies.topologies[hit.topology].weight_fb[SQRTS_TEV.index(record.sqrts_tev)]
        if is_limit:
            efficiency = 1.0 if hit.factor > 0.0 else 0.0
            value = hit.value / hit.factor if hit.factor > 0.0 else math.nan
        else:
            efficiency = value = hit.value * hit.factor
        fate = None
        if weight <= 0.0:
            fate = Fate.NO_PRODUCTION
        elif weight * efficiency <= 0.0 or efficiency < MIN_EFFICIENCY:
            fate = Fate.LIFETIME if hit.factor == 0.0 else Fate.NO_EFFICIENCY
        if fate is not None:
            judged.append(_Judged(hit.topology, map_id, fate, value, -1, math.nan))
        else:
            # regions are groups of their own, limits are treated map by map
            group = num_datasets + map_id if is_limit else dataset
            groups[group].append((-weight * efficiency, hit.atom, hit.topology, value))
    in_prediction = _contributions(predictions)
    dropped: Mapping[tuple[int, int], float] | None = None
    for _, members in sorted(groups.items()):
        kept: list[tuple[int, int]] = []
        for _, atom, number, value in sorted(members):
            map_id = int(store.atom_map[atom])
            origins = topologies.topologies[number].origins
            winner = next((other for other, taken in kept if taken & origins), None)
            if winner is not None:
                judged.append(_Judged(number, map_id, Fate.RELATED, value, winner, math.nan))
                continue
            kept.append((number, origins))
            if (map_id, number) in in_prediction:
                judged.append(_Judged(number, map_id, Fate.COUNTED, value, -1, math.nan))
                continue
            if dropped is None:
                dropped = _dropped_by_conditions(predictor, topologies)
            violation = dropped.get((map_id, number), math.nan)
            fate = Fate.NEGLIGIBLE if math.isnan(violation) else Fate.CONDITION
            judged.append(_Judged(number, map_id, fate, value, -1, violation))
    return judged


def _contributions(predictions: Predictions) -> dict[tuple[int, int], float]:
    """(map, topology) of all predictions of regions and limits → violation of their conditions."""
    return {
        (map_id, number): float(predictions.condition_violation[i])
        for i in range(predictions.result.size)
        if predictions.kind[i] != PredictionKind.COMBINED
        for map_id in predictions.map_ids[i]
        for number in predictions.topology_ids[i]
    }


def _dropped_by_conditions(predictor: Predictor, topologies: TopologyList) -> Mapping[tuple[int, int], float]:
    """What would be in a prediction if conditions did not matter."""
    if predictor.settings.conventions.has(Conventions.KEPT_CONDITIONS):
        return {}
    lenient = copy(predictor)  # shares what was looked up
    lenient.settings = predictor.settings.model_copy(update={"max_condition_violation": 1.0})
    return _contributions(lenient.predict_topologies(topologies))


@dataclass(slots=True)
class _Gathered:
    """What is known of one topology in the maps of one txname of one result with one fate."""

    maps: set[int] = field(default_factory=set)
    value: float = math.nan
    related_to: set[int] = field(default_factory=set)
    violation: float = math.nan
    axes: tuple[Axis, ...] = ()
    distance: float = math.nan


def _map_reports(
    store: ResultsStore, topologies: TopologyList, judged: Sequence[_Judged], misses: Sequence[Miss]
) -> dict[int, tuple[MapReport, ...]]:
    """Per topology: one report per result, txname and fate, closest to a prediction first."""
    gathered: dict[tuple[int, int, str, Fate], _Gathered] = defaultdict(_Gathered)
    for case in judged:
        key = case.topology, _result_of(store, case.map_id), store.map_txnames[case.map_id], case.fate
        entry = gathered[key]
        entry.maps.add(case.map_id)
        entry.value = _larger(entry.value, case.value)
        entry.violation = _larger(entry.violation, case.violation)
        if case.related_to >= 0:
            entry.related_to.add(case.related_to)
    for miss in misses:
        weight_fb = topologies.topologies[miss.topology].weight_fb
        for map_id in sorted({int(store.atom_map[atom]) for atom in miss.atoms}):
            result = _result_of(store, map_id)
            is_produced = weight_fb[_sqrts_index(store, result)] > 0.0
            entry = gathered[miss.topology, result, store.map_txnames[map_id], miss.fate if is_produced else Fate.NO_PRODUCTION]
            entry.maps.add(map_id)
            if is_produced and not miss.distance >= entry.distance:
                entry.axes, entry.distance = miss.axes, miss.distance
    found: dict[int, list[MapReport]] = defaultdict(list)
    for (number, result, txname, fate), entry in gathered.items():
        record = store.results[result]
        maps = tuple(sorted(entry.maps))
        report = MapReport(
            result=result,
            analysis_id=record.analysis_id,
            folder=record.folder,
            sqrts_tev=record.sqrts_tev,
            kind=record.kind,
            txname=txname,
            fate=fate,
            map_ids=maps,
            dataset_ids=tuple(store.dataset_ids[int(store.map_dataset[map_id])] for map_id in maps),
            value=entry.value,
            weight_fb=topologies.topologies[number].weight_fb[_sqrts_index(store, result)],
            axes=entry.axes,
            distance=entry.distance,
            related_to=tuple(sorted(entry.related_to)),
            violation=entry.violation,
        )
        found[number].append(report)
    return {number: tuple(sorted(reports, key=_report_order)) for number, reports in found.items()}


def _result_of(store: ResultsStore, map_id: int) -> int:
    return int(store.dataset_result[store.map_dataset[map_id]])


def _sqrts_index(store: ResultsStore, result: int) -> int:
    return SQRTS_TEV.index(store.results[result].sqrts_tev)


def _larger(first: float, second: float) -> float:
    """The larger number; nan counts as none."""
    return second if math.isnan(first) or second > first else first


def _report_order(report: MapReport) -> tuple[int, int, str]:
    return CLOSENESS[report.fate], report.result, report.txname


def _indices_of_originals(topologies: TopologyList, originals: TopologyList) -> tuple[int, ...]:
    """Per origin bit, the number of the uncompressed topology behind it."""
    index = {(topology.signature, topology.states): number for number, topology in enumerate(topologies.topologies)}
    return tuple(index[topology.signature, topology.states] for topology in originals.topologies)


def _seen_origins(topologies: TopologyList, reports: Sequence[TopologyReport], sqrts: Iterable[int]) -> int:
    """Bit mask over the uncompressed topologies that some result of the given √s sees, compressed or not."""
    wanted = frozenset(sqrts)
    mask = 0
    for report in reports:
        if any(entry.fate is Fate.COUNTED and entry.sqrts_tev in wanted for entry in report.maps):
            mask |= topologies.topologies[report.index].origins
    return mask


def _coverage(
    topologies: TopologyList, originals: TopologyList, reports: Sequence[TopologyReport], production: Sequence[ProductionReport]
) -> tuple[Coverage, ...]:
    found = []
    for i, sqrts in enumerate(SQRTS_TEV):
        seen = _seen_origins(topologies, reports, (sqrts,))
        weights = [(bool(seen >> bit & 1), topology.weight_fb[i]) for bit, topology in enumerate(originals.topologies)]
        covered = math.fsum(weight for is_seen, weight in weights if is_seen)
        missing = math.fsum(weight for is_seen, weight in weights if not is_seen)
        cut = math.fsum(pair.cut_fb[i] for pair in production)
        counted = {entry.result for report in reports for entry in report.maps if entry.fate is Fate.COUNTED and entry.sqrts_tev == sqrts}
        found.append(Coverage(sqrts, covered + missing + cut, covered, missing, cut, len(counted)))
    return tuple(found)


def _missing(
    topologies: TopologyList, originals: TopologyList, reports: Sequence[TopologyReport], index_of: Sequence[int]
) -> tuple[MissingTopology, ...]:
    """Uncompressed topologies that no result sees, in any form; largest σ·BR first."""
    seen = _seen_origins(topologies, reports, SQRTS_TEV)
    found = []
    for bit, topology in enumerate(originals.topologies):
        if seen >> bit & 1:
            continue
        forms = (report for report in reports if topologies.topologies[report.index].origins >> bit & 1)
        candidates = [(CLOSENESS[entry.fate], _or_zero(entry.distance), report.index, entry) for report in forms for entry in report.maps]
        closest = min(candidates, key=lambda candidate: candidate[:3], default=None)
        entry, index = (None, index_of[bit]) if closest is None else (closest[3], closest[2])
        found.append(MissingTopology(index_of[bit], topology.weight_fb, entry, index))
    return tuple(sorted(found, key=lambda missing: (-max(missing.weight_fb), missing.index)))


def _or_zero(distance: float) -> float:
    return 0.0 if math.isnan(distance) else distance


def _production(spectrum: Spectrum, predictor: Predictor) -> tuple[ProductionReport, ...]:
    """What is produced, and what of it the σ·BR cut takes away."""
    xsecs: dict[PidPair, list[float]] = {}
    for i, sqrts in enumerate(SQRTS_TEV):
        for (first, second), xsec in spectrum.xsecs_fb.get(sqrts, {}).items():
            if abs(first) in spectrum.masses and abs(second) in spectrum.masses and xsec > 0.0:
                pair = (first, second) if first <= second else (second, first)
                known = xsecs.setdefault(pair, [0.0, 0.0])
                known[i] = max(known[i], xsec)
    settings = predictor.settings.model_copy(update={"compress_mass": False, "compress_invisible": False})
    weights: dict[int, float] = {}
    found = []
    for pair, (at_8, at_13) in sorted(xsecs.items()):
        alone = Spectrum(spectrum.masses, spectrum.decays, {8: {pair: at_8}, 13: {pair: at_13}}, spectrum.widths)
        kept = build_topologies(alone, settings).topologies
        ways = _summed_ways(spectrum, pair[0], weights) * _summed_ways(spectrum, pair[1], weights)
        cut = [xsec * ways - math.fsum(topology.weight_fb[i] for topology in kept) for i, xsec in enumerate((at_8, at_13))]
        cut = [value if value > ROUNDING * xsec else 0.0 for value, xsec in zip(cut, (at_8, at_13), strict=True)]
        found.append(ProductionReport(pair, (at_8, at_13), (cut[0], cut[1])))
    return tuple(sorted(found, key=lambda report: (-max(report.xsec_fb), report.pids)))


def _summed_ways(spectrum: Spectrum, pid: int, known: dict[int, float]) -> float:
    """Summed weight of all ways a particle can end: 1, except where it may both decay and leave the detector, or channels are missing."""
    positive = abs(pid)
    if positive not in known:
        channels = spectrum.decays.get(positive, ())
        width = spectrum.widths.get(positive, DEFAULT_PROMPT_WIDTH_GEV) if channels else 0.0
        total = 0.0 if width > PROMPT_WIDTH_GEV else 1.0
        if width >= STABLE_WIDTH_GEV:
            for daughters, br in channels:
                bsm = [daughter for daughter in daughters if sm_label(daughter) is None]
                if all(abs(daughter) in spectrum.masses for daughter in bsm):
                    total += br * math.prod(_summed_ways(spectrum, daughter, known) for daughter in bsm)
        known[positive] = total
    return known[positive]


def _result_reports(store: ResultsStore, reports: Sequence[TopologyReport]) -> tuple[ResultReport, ...]:
    best: dict[int, Fate] = {}
    for report in reports:
        for entry in report.maps:
            known = best.get(entry.result)
            if known is None or CLOSENESS[entry.fate] < CLOSENESS[known]:
                best[entry.result] = entry.fate
    return tuple(
        ResultReport(record.index, record.analysis_id, record.folder, record.sqrts_tev, record.kind, best.get(record.index))
        for record in store.results
    )
