"""One text result made ready for the store: constraints as templates, points as triangulated grids.

Runs in worker processes; what it returns is plain data. Whatever is not usable becomes a note.
"""

from __future__ import annotations

from enum import IntFlag
from pathlib import Path
from typing import NamedTuple

import numpy as np

from database.errors import ResultsFormatError
from database.results.constraints import INCLUSIVE_NODE, Constraint, ConstraintError, Template, parse_constraint
from database.results.grid_text import Axis, GridText, transform_width
from database.results.literals import Quantity, Value, as_number
from database.results.maps import FloatArray, Grid, GridError, build_grid, points_digest
from database.results.particle_labels import PARTICLE_LABELS, STABLE_CHARGED_LABELS
from database.results.records import Kind, ResultRecord, StatModel, StatPayload
from database.results.smodels_text import TextMap, TextResult, read_result
from database.results.statistical_models import Notes, read_stat_model

DataMap = tuple[tuple[int, str], ...]
MASS, WIDTH = "mass", "totalwidth"


class MapFlag(IntFlag):
    """What keeps promptly decaying, pair-produced particles with an invisible end from populating a map."""

    WIDTH_AXES = 1
    """The grid depends on decay widths."""
    SINGLE_MEDIATOR = 2
    """One particle is produced alone; Z2-odd particles come in pairs."""
    CHARGED_FINAL_STATE = 4
    """The chain ends in a charged or coloured long-lived particle."""
    R_PARITY_VIOLATION = 8
    """A BSM particle decays to Standard Model particles only."""
    SINGLE_POINT = 16
    """The grid is one point: nothing to interpolate."""


FLAG_NOTES = {
    MapFlag.WIDTH_AXES: "maps with decay widths as axes (long-lived particles) do not apply to prompt models",
    MapFlag.SINGLE_MEDIATOR: "topologies of a single mediator are not reached by pairs of Z2-odd particles",
    MapFlag.CHARGED_FINAL_STATE: "topologies that end in charged or coloured long-lived particles are not reached with an invisible LBP",
    MapFlag.R_PARITY_VIOLATION: "topologies in which a BSM particle decays to Standard Model particles only are not reached with Z2 parity",
    MapFlag.SINGLE_POINT: "single-point maps cannot be interpolated",
}


class CompiledMap(NamedTuple):
    """One map: its topologies, and values on one or two grids.

    Attributes:
        dataset: position of the data set in the result.
        txname: name of the topology.
        constraint: expression as published.
        conditions: as published.
        data_map: (node number, "mass" | "totalwidth") per coordinate.
        atoms: (template text, coefficient).
        digest: identity of the grid.
        values: efficiencies or limits [fb], in the order of the grid's points.
        expected_digest: identity of the grid of expected limits, "" without.
        expected_values: expected limits [fb], empty without.
        flags: see MapFlag.
    """

    dataset: int
    txname: str
    constraint: str
    conditions: tuple[str, ...]
    data_map: DataMap
    atoms: tuple[tuple[str, float], ...]
    digest: str
    values: FloatArray
    expected_digest: str
    expected_values: FloatArray
    flags: MapFlag


class CompiledResult(NamedTuple):
    """One result.

    Attributes:
        record: with index 0 and data sets counted from 0; covariance offsets count from its first covariance.
        dataset_ids: names of the signal regions, None for limits.
        dataset_numbers: per data set observedN, expectedBG, bgError, thirdMoment [events], upperLimit,
            expectedUpperLimit [fb]; nan where not given; shape (num_datasets, 6).
        maps: in the order of data sets and txnames.
        grids: the grids of the maps, by digest.
        covariances: covariances of the backgrounds [events²].
    """

    record: ResultRecord
    dataset_ids: tuple[str | None, ...]
    dataset_numbers: FloatArray
    maps: tuple[CompiledMap, ...]
    grids: dict[str, Grid]
    covariances: tuple[FloatArray, ...]


DATASET_NUMBERS = ("observedN", "expectedBG", "bgError", "thirdMoment", "upperLimit", "expectedUpperLimit")


def compile_result(folder: Path, root: Path) -> CompiledResult:
    """Returns one result of the text database, read and triangulated.

    Raises:
        ResultsFormatError: a file cannot be read; names file and line.
    """
    text = read_result(folder, root)
    notes = Notes(text.notes)
    stat_model, payload, covariances = read_stat_model(text, root, notes)
    grids: dict[str, Grid] = {}
    failures: dict[str, str] = {}
    maps: list[CompiledMap] = []
    dataset_ids: list[str | None] = []
    numbers: list[list[float]] = []
    for dataset in text.datasets:
        compiled = [
            result for text_map in dataset.maps if (result := _compile_map(text_map, len(dataset_ids), grids, failures, notes)) is not None
        ]
        if not compiled and stat_model == "none":
            notes.add(f"data set {dataset.dataset_id or dataset.folder.name} has no usable map and is left out")
            continue
        maps.extend(compiled)
        dataset_ids.append(dataset.dataset_id)
        numbers.append([dataset.numbers.get(tag, float("nan")) for tag in DATASET_NUMBERS])
    kind: Kind = "efficiencyMap" if any(dataset.kind == "efficiencyMap" for dataset in text.datasets) else "upperLimit"
    if kind == "upperLimit" and maps and not all(compiled_map.expected_digest for compiled_map in maps):
        for compiled_map in maps:
            if not compiled_map.expected_digest:
                notes.add_map("no expected limits are published, so these maps give no likelihood", compiled_map.txname)
    if not maps:
        notes.add("no usable map: the result enters nothing")
    record = _record(text, root, kind, len(dataset_ids), stat_model, payload, notes)
    used = {digest for compiled_map in maps for digest in (compiled_map.digest, compiled_map.expected_digest)}
    return CompiledResult(
        record,
        tuple(dataset_ids),
        np.array(numbers, dtype=np.float64).reshape(-1, len(DATASET_NUMBERS)),
        tuple(maps),
        {digest: grid for digest, grid in grids.items() if digest in used},
        covariances,
    )


# ----------------------------------------------------------------------------------------------------------- maps


def _compile_map(text_map: TextMap, dataset: int, grids: dict[str, Grid], failures: dict[str, str], notes: Notes) -> CompiledMap | None:
    if not text_map.is_validated:
        notes.add_map("not validated by the publishers", text_map.txname)
        return None
    is_expected_zero = text_map.expected is None or not np.any(text_map.expected.values)
    if not np.any(text_map.observed.values) and is_expected_zero:
        notes.add_map("maps that are zero everywhere are left out", text_map.txname)
        return None
    try:
        constraint = parse_constraint(text_map.constraint, text_map.final_state, text_map.intermediate_state)
        data_map = _data_map(text_map, constraint)
        digest, values = _add_grid(text_map.observed, data_map, grids, failures)
    except (ConstraintError, GridError) as error:
        notes.add_map(f"not usable, {error}", text_map.txname)
        return None
    expected_digest, expected_values = "", np.empty(0)
    if text_map.expected is not None:
        try:
            if text_map.expected.axes != text_map.observed.axes:
                raise GridError("its points differ in shape")
            expected_digest, expected_values = _add_grid(text_map.expected, data_map, grids, failures)
        except GridError as error:
            notes.add_map(f"expected limits not usable, {error}", text_map.txname)
    flags = _flags(constraint, data_map)
    if grids[digest].dim == 0:
        flags |= MapFlag.SINGLE_POINT
    for flag in flags:
        notes.add_map(FLAG_NOTES[flag], text_map.txname)
    atoms = tuple((atom.template.text(), atom.coefficient) for atom in constraint.atoms)
    return CompiledMap(
        dataset,
        text_map.txname,
        text_map.constraint,
        text_map.conditions,
        data_map,
        atoms,
        digest,
        values,
        expected_digest,
        expected_values,
        flags,
    )


def _data_map(text_map: TextMap, constraint: Constraint) -> DataMap:
    """Which node each coordinate belongs to; from the shape of the first point in the bracket notation."""
    if text_map.data_map is not None:
        numbers = {node.number for atom in constraint.atoms for node in atom.template.nodes}
        missing = [number for number, _ in text_map.data_map if number not in numbers or number == 0]
        if missing:
            raise ConstraintError(f"dataMap names node {missing[0]}, which the constraint does not have")
        return text_map.data_map
    chains = constraint.atoms[0].bsm_numbers
    num_branches = 1 + max(axis.branch for axis in text_map.observed.axes)
    if num_branches == 0 or num_branches > len(chains):
        raise ConstraintError("the points do not fit the branches of the constraint")

    def entry(axis: Axis) -> tuple[int, str]:
        if axis.position >= len(chains[axis.branch]):
            raise ConstraintError("a point has more masses than the constraint has particles")
        return chains[axis.branch][axis.position], WIDTH if axis.is_width else MASS

    return tuple(entry(axis) for axis in text_map.observed.axes)


def _add_grid(text: GridText, data_map: DataMap, grids: dict[str, Grid], failures: dict[str, str]) -> tuple[str, FloatArray]:
    points = text.points
    for column, (_, quantity) in enumerate(data_map):
        if quantity == WIDTH:
            widths, inverse = np.unique(points[:, column], return_inverse=True)
            points[:, column] = np.array([transform_width(width) for width in widths.tolist()])[inverse]
    digest = points_digest(points)
    if digest in failures:
        raise GridError(failures[digest])
    if digest not in grids:
        try:
            grids[digest] = build_grid(points)
        except GridError as error:
            failures[digest] = str(error)
            raise
    return digest, text.values


def _flags(constraint: Constraint, data_map: DataMap) -> MapFlag:
    flags = MapFlag(0)
    if any(quantity == WIDTH for _, quantity in data_map):
        flags |= MapFlag.WIDTH_AXES
    templates = [atom.template for atom in constraint.atoms]
    if all(len(template.primaries) < 2 for template in templates):
        flags |= MapFlag.SINGLE_MEDIATOR
    if all(any(node.label in STABLE_CHARGED_LABELS for node in template.nodes) for template in templates):
        flags |= MapFlag.CHARGED_FINAL_STATE
    if all(_ends_in_sm(template) for template in templates):
        flags |= MapFlag.R_PARITY_VIOLATION
    return flags


def _ends_in_sm(template: Template) -> bool:
    def is_bsm(label: str) -> bool:
        return label == INCLUSIVE_NODE or (label in PARTICLE_LABELS and not PARTICLE_LABELS[label].is_sm)

    return any(
        node.daughters and node.number and not any(is_bsm(template.nodes[index].label) for index in node.daughters)
        for node in template.nodes
    )


# ---------------------------------------------------------------------------------------------------------- record


def _record(
    text: TextResult, root: Path, kind: Kind, num_datasets: int, stat_model: StatModel, payload: StatPayload, notes: Notes
) -> ResultRecord:
    info = text.info
    analysis_id = _text(info.get("id"))
    folder = text.folder.relative_to(root).as_posix()
    experiment = next((name for name in ("ATLAS", "CMS") if analysis_id.startswith(name)), "")
    if not experiment:
        raise ResultsFormatError(
            f"{folder}/globalInfo.txt, line {text.info_lines['id']}: {analysis_id!r} belongs to neither ATLAS nor CMS."
        )
    lifetime = _text(info.get("type"))
    return ResultRecord(
        index=0,
        analysis_id=analysis_id,
        folder=folder,
        experiment=experiment,
        sqrts_tev=round(as_number(info["sqrts"], energy=1) / 1000),
        lumi_ifb=as_number(info["lumi"], cross_section=-1),
        kind=kind,
        dataset_start=0,
        dataset_stop=num_datasets,
        stat_model=stat_model,
        stat_payload=payload,
        lifetime=lifetime if lifetime in ("prompt", "displaced") else "prompt",
        leff_inner_m=_number(info.get("Leff_inner")),
        leff_outer_m=_number(info.get("Leff_outer")),
        url=_text(info.get("url")),
        arxiv=_text(info.get("arxiv")),
        publication=_text(info.get("publication")),
        doi=_text(info.get("publicationDOI")),
        supersedes=_names(info.get("supersedes")),
        superseded_by=_names(info.get("supersededBy")),
        contact=_text(info.get("contact")),
        is_approximate=info.get("approximate") is True,
        fit_error=_number(info.get("fitError")),
        notes=notes.texts(),
    )


def _text(value: Value) -> str:
    return "" if value is None else str(value)


def _names(value: Value) -> tuple[str, ...]:
    if isinstance(value, list | tuple) and not isinstance(value, Quantity):
        return tuple(str(name) for name in value)
    return tuple(name.strip() for name in _text(value).replace(";", ",").split(",") if name.strip())


def _number(value: Value) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else float("nan")
