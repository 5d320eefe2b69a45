"""Reader of the SModelS text database, formats of releases 3.0 and 3.2 (arXiv:2306.17676; database arXiv:1811.10624).

A result is a folder with `globalInfo.txt`; its data sets are the folders below it with `dataInfo.txt`; the maps of a
data set are its other `.txt` files. A file that cannot be read stops the import with one sentence that names file
and line; what can be read but not used becomes a note on the result.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from database.errors import ResultsFormatError
from database.results.grid_text import GridText, parse_grid
from database.results.literals import LiteralError, Quantity, Value, as_number
from database.results.region_sets import DatasetOrder, TextRegionSet, order_datasets, read_region_sets
from database.results.text_files import LogicalLine, TextFile, read_tags, value_of

SUPPORTED_MAJOR_VERSION: Final = "3"
SKIPPED_FOLDERS: Final = frozenset({"validation", "orig"})
ACCEPTED_VALIDATION: Final = (True, "true", "True", "N/A", "tbd", None)


@dataclass(frozen=True, slots=True)
class TextMap:
    """One map file.

    Attributes:
        path: where it was read.
        txname: name of the topology.
        constraint: expression as published.
        conditions: conditions as published.
        final_state: label of the last BSM particle per branch, None for MET.
        intermediate_state: labels of the other BSM particles per branch, None for anyBSM.
        data_map: (node number, "mass" | "totalwidth") per column, None in the bracket notation.
        is_validated: whether the publishers' validation allows its use.
        observed: efficiencies or observed limits [fb].
        expected: expected limits [fb], or None.
    """

    path: Path
    txname: str
    constraint: str
    conditions: tuple[str, ...]
    final_state: tuple[str, ...] | None
    intermediate_state: tuple[tuple[str, ...], ...] | None
    data_map: tuple[tuple[int, str], ...] | None
    is_validated: bool
    observed: GridText
    expected: GridText | None


@dataclass(frozen=True, slots=True)
class TextDataset:
    """One data set: a signal region, or the single data set of a limit result.

    Attributes:
        folder: its folder.
        dataset_id: name of the signal region, None for limit results.
        kind: "upperLimit" or "efficiencyMap".
        numbers: observedN, expectedBG, bgError, thirdMoment [events], upperLimit, expectedUpperLimit [fb], where given.
        maps: its maps, sorted by txname.
    """

    folder: Path
    dataset_id: str | None
    kind: str
    numbers: Mapping[str, float]
    maps: tuple[TextMap, ...]


@dataclass(frozen=True, slots=True)
class TextResult:
    """One published result.

    Attributes:
        folder: its folder.
        info: values of globalInfo.txt.
        info_lines: line of each tag of globalInfo.txt.
        datasets: its data sets, in the order of the statistical model.
        notes: what was left out while reading, and why.
        region_sets: its sets of regions with statistical models, in the format of release 3.2.
    """

    folder: Path
    info: Mapping[str, Value]
    info_lines: Mapping[str, int]
    datasets: tuple[TextDataset, ...]
    notes: tuple[str, ...]
    region_sets: tuple[TextRegionSet, ...] = ()


# ----------------------------------------------------------------------------------------------------------- maps


def read_map(file: TextFile, kind: str) -> TextMap | None:
    """Returns one map, or None if the file is not a map.

    Raises:
        ResultsFormatError: the file cannot be read; names file and line.
    """
    grid_tags = ("efficiencyMap",) if kind == "efficiencyMap" else ("upperLimits", "expectedUpperLimits")
    if not file.text.strip():
        raise file.error(1, "the file is empty")
    if "txName" not in file.text:
        return None
    tags = {logical.tag: logical for logical in file.lines()}
    for needed in ("txName", "constraint", grid_tags[0]):
        if needed not in tags:
            raise file.error(1, f"the tag {needed!r} is missing")
    grids: dict[str, GridText] = {}
    for tag in grid_tags:
        logical = tags.get(tag)
        if logical is None or logical.value == "None":
            continue
        try:
            grids[tag] = parse_grid(logical.value, is_limit=kind == "upperLimit")
        except LiteralError as error:
            raise file.error(logical.line_of(error.offset), f"cannot read {tag!r}: {error}") from None
    if grid_tags[0] not in grids:
        raise file.error(tags[grid_tags[0]].line, f"{grid_tags[0]!r} is empty")
    validated = value_of(tags["validated"]) if "validated" in tags else None
    return TextMap(
        path=file.path,
        txname=tags["txName"].value,
        constraint=tags["constraint"].value,
        conditions=_conditions(tags.get("condition")),
        final_state=_final_state(file, tags.get("finalState")),
        intermediate_state=_intermediate_state(file, tags.get("intermediateState")),
        data_map=_data_map(file, tags.get("dataMap"), grids[grid_tags[0]]),
        is_validated=any(validated is accepted or validated == accepted for accepted in ACCEPTED_VALIDATION),
        observed=grids[grid_tags[0]],
        expected=grids.get("expectedUpperLimits"),
    )


def _conditions(logical: LogicalLine | None) -> tuple[str, ...]:
    if logical is None or logical.value in ("None", ""):
        return ()
    return tuple(part.strip() for part in logical.value.split(";") if part.strip())


def _final_state(file: TextFile, logical: LogicalLine | None) -> tuple[str, ...] | None:
    value = None if logical is None else value_of(logical)
    if logical is None or value is None:
        return None
    if not isinstance(value, list | tuple) or isinstance(value, Quantity) or not all(isinstance(label, str) for label in value):
        raise file.error(logical.line, "'finalState' must be a list of particle labels")
    return tuple(label for label in value if isinstance(label, str))


def _intermediate_state(file: TextFile, logical: LogicalLine | None) -> tuple[tuple[str, ...], ...] | None:
    value = None if logical is None else value_of(logical)
    if logical is None or value is None:
        return None
    if not isinstance(value, list | tuple) or isinstance(value, Quantity):
        raise file.error(logical.line, "'intermediateState' must be a list of lists of particle labels")
    branches: list[tuple[str, ...]] = []
    for branch in value:
        if not isinstance(branch, list) or not all(isinstance(label, str) for label in branch):
            raise file.error(logical.line, "'intermediateState' must be a list of lists of particle labels")
        branches.append(tuple(label for label in branch if isinstance(label, str)))
    return tuple(branches)


def _data_map(file: TextFile, logical: LogicalLine | None, grid: GridText) -> tuple[tuple[int, str], ...] | None:
    value = None if logical is None else value_of(logical)
    if logical is None or value is None:
        return None
    problem = "'dataMap' must map 0, 1, … to (node number, 'mass' | 'totalwidth', unit)"
    if not isinstance(value, dict) or set(value) != set(range(len(value))):
        raise file.error(logical.line, problem)
    entries: list[tuple[int, str]] = []
    for index in range(len(value)):
        entry = value[index]
        if not isinstance(entry, tuple) or isinstance(entry, Quantity) or len(entry) != 3:
            raise file.error(logical.line, problem)
        node, quantity, unit = entry
        if not isinstance(node, int) or quantity not in ("mass", "totalwidth") or unit != Quantity(1.0, 1, 0):
            raise file.error(logical.line, problem)
        entries.append((node, str(quantity)))
    if len(entries) != len(grid.axes):
        raise file.error(logical.line, f"'dataMap' has {len(entries)} entries, the points have {len(grid.axes)}")
    return tuple(entries)


# ------------------------------------------------------------------------------------------- data sets and results


def find_results(root: Path) -> list[Path]:
    """Returns the folders of all results below `root`, in path order.

    Raises:
        ResultsFormatError: no result is there, or a data set belongs to none.
    """
    folders = {file.parent for file in root.rglob("globalInfo.txt") if not _is_skipped(file.parent.relative_to(root))}
    if not folders:
        raise ResultsFormatError(f"{root.name} holds no results: no globalInfo.txt was found below it.")
    for dataset in sorted((file.parent for file in root.rglob("dataInfo.txt")), key=str):
        if folders.isdisjoint(dataset.parents) and not any(_is_skipped(path.relative_to(root)) for path in (dataset, dataset.parent)):
            missing = (dataset.parent / "globalInfo.txt").relative_to(root).as_posix()
            raise ResultsFormatError(f"{missing} is missing: there are data sets, but nothing says of which result.")
    return sorted(folders, key=str)


def _is_skipped(relative: Path) -> bool:
    return any(part.startswith(".") for part in relative.parts) or (bool(relative.parts) and relative.parts[-1] in SKIPPED_FOLDERS)


def read_version(root: Path) -> str:
    """Returns the release of the text database.

    Raises:
        ResultsFormatError: there is no version file, or the release is not one that this reader knows.
    """
    file = TextFile(root / "version", root.parent)
    version = file.text.strip()
    if version.partition(".")[0] != SUPPORTED_MAJOR_VERSION:
        raise file.error(1, f"release {version[:20]!r} of the text database is not supported, 3.0 is")
    return version


def read_result(folder: Path, root: Path) -> TextResult:
    """Returns one result with all its data sets and maps.

    Args:
        folder: its folder, with globalInfo.txt.
        root: folder of the database; error messages name files relative to it.

    Raises:
        ResultsFormatError: a file cannot be read; names file and line.
    """
    file = TextFile(folder / "globalInfo.txt", root)
    info, lines = read_tags(file)
    for tag in ("id", "sqrts", "lumi"):
        if tag not in info:
            raise file.error(lines.get(tag, 1), f"the tag {tag!r} is {'repeated' if tag in lines else 'missing'}")
    for tag, energy, cross_section in (("sqrts", 1, 0), ("lumi", 0, -1)):
        try:
            as_number(info[tag], energy=energy, cross_section=cross_section)
        except LiteralError as error:
            raise file.error(lines[tag], f"cannot read {tag!r}: {error}") from None
    notes: list[str] = []
    datasets = [_read_dataset(path, root, notes) for path in _dataset_folders(folder, root)]
    region_sets = read_region_sets(file, info, lines)
    if region_sets:
        datasets = _sets_first(file, lines["regionSets"], order_datasets(region_sets, folder), datasets)
    elif "datasetOrder" in info:
        datasets = _ordered(file, lines["datasetOrder"], info["datasetOrder"], datasets, notes)
    return TextResult(folder, info, lines, tuple(datasets), tuple(dict.fromkeys(notes)), region_sets)


def _dataset_folders(folder: Path, root: Path) -> list[Path]:
    found = sorted({file.parent for file in folder.rglob("*.txt")} - {folder}, key=str)
    found = [path for path in found if not _is_skipped(path.relative_to(folder))]
    for path in found:
        if not (path / "dataInfo.txt").is_file():
            missing = (path / "dataInfo.txt").relative_to(root).as_posix()
            raise ResultsFormatError(f"{missing} is missing: nothing says what the maps there are.")
    return found


def _ordered(file: TextFile, line: int, order: Value, datasets: list[TextDataset], notes: list[str]) -> list[TextDataset]:
    names = [order] if isinstance(order, str) else order
    if not isinstance(names, list | tuple) or isinstance(names, Quantity):
        raise file.error(line, "'datasetOrder' must be a list of data set names")
    by_id = {dataset.dataset_id: dataset for dataset in datasets}
    for name in names:
        if not isinstance(name, str) or name not in by_id:
            raise file.error(line, f"'datasetOrder' names {name!r}, which has no folder")
    left_out = len(datasets) - len(names)
    if left_out > 0:
        notes.append(f"{left_out} data sets outside of the published datasetOrder are left out")
    return [by_id[name] for name in names if isinstance(name, str)]


def _sets_first(file: TextFile, line: int, order: DatasetOrder, datasets: list[TextDataset]) -> list[TextDataset]:
    """The data sets that sets of regions combine, in their order, then the others."""
    by_id = {dataset.dataset_id: dataset for dataset in datasets}
    for names in order.rows:
        for number, name in enumerate(names):
            if name not in by_id:
                raise file.error(line, f"'regionSets' names {name!r}, which has no folder")
            if name in names[:number]:
                raise file.error(line, f"'regionSets' names {name!r} twice")
    combined = [by_id[name] for name in order.names if name in by_id]
    return [*combined, *(dataset for dataset in datasets if dataset.dataset_id not in order.names)]


_NUMBER_TAGS: Final = {"observedN": 0, "expectedBG": 0, "bgError": 0, "thirdMoment": 0, "upperLimit": 1, "expectedUpperLimit": 1}


def _read_dataset(folder: Path, root: Path, notes: list[str]) -> TextDataset:
    file = TextFile(folder / "dataInfo.txt", root)
    tags, lines = read_tags(file)
    kind = tags.get("dataType")
    if kind not in ("upperLimit", "efficiencyMap"):
        raise file.error(lines.get("dataType", 1), "'dataType' must be upperLimit or efficiencyMap")
    dataset_id = tags.get("dataId")
    if kind == "efficiencyMap" and not isinstance(dataset_id, str | int):
        raise file.error(lines.get("dataId", 1), "'dataId' is missing")
    numbers: dict[str, float] = {}
    for tag, cross_section in _NUMBER_TAGS.items():
        if tag in tags:
            try:
                numbers[tag] = as_number(tags[tag], cross_section=cross_section)
            except LiteralError as error:
                raise file.error(lines[tag], f"cannot read {tag!r}: {error}") from None
    if kind == "efficiencyMap":
        for tag in ("observedN", "expectedBG", "bgError"):
            if tag not in numbers:
                raise file.error(lines.get(tag, 1), f"the tag {tag!r} is {'repeated' if tag in lines else 'missing'}")
            if numbers[tag] < 0.0:
                raise file.error(lines[tag], f"{tag!r} is negative")
    maps: list[TextMap] = []
    for path in sorted(folder.glob("*.txt")):
        if path.name == "dataInfo.txt" or path.name.startswith("."):
            continue
        text_map = read_map(TextFile(path, root), str(kind))
        if text_map is None:
            notes.append(f"{path.relative_to(root).as_posix()} is not a map and is left out")
        else:
            maps.append(text_map)
    maps.sort(key=lambda text_map: text_map.txname)
    return TextDataset(folder, None if kind == "upperLimit" else str(dataset_id), str(kind), numbers, tuple(maps))
