"""Statistical models of efficiency-map results: covariances and HistFactory workspaces, as published.

Whatever cannot be used becomes a note on the result, so that nothing is dropped silently.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

from database.results.covariances import read_covariance
from database.results.literals import LiteralError, Value
from database.results.maps import FloatArray
from database.results.model_files import is_inside, is_workspace, stored_path
from database.results.records import RegionRecord, StatModel, StatPayload, WorkspaceRecord
from database.results.set_models import read_set_models
from database.results.smodels_text import TextResult
from database.results.text_files import TextFile


class Notes:
    """Notes of a result: one line per reason, with the txnames it concerns."""

    def __init__(self, start: tuple[str, ...]) -> None:
        self._plain = list(start)
        self._reasons: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def add(self, text: str) -> None:
        """Adds a sentence on the whole result."""
        self._plain.append(text)

    def add_map(self, reason: str, txname: str) -> None:
        """Adds a map to those that a reason concerns."""
        self._reasons[reason][txname] += 1

    def texts(self) -> tuple[str, ...]:
        """Returns one text per sentence and per reason."""
        grouped = [f"{reason}: {', '.join(sorted(names))} ({names.total()} maps)" for reason, names in self._reasons.items()]
        return (*dict.fromkeys(self._plain), *sorted(grouped))


def read_stat_model(text: TextResult, root: Path, notes: Notes) -> tuple[StatModel, StatPayload, tuple[FloatArray, ...]]:
    """Returns the kind of statistical model of a result, what it needs, and its covariances [events²], the evaluated one first.

    Covariance offsets count from the result's first one.

    Raises:
        ResultsFormatError: a covariance or list of workspaces is malformed; names file and line.
    """
    file = TextFile(text.folder / "globalInfo.txt", root)
    info = text.info
    if text.region_sets:
        models = read_set_models(text, root)
        for note in models.notes:
            notes.add(note)
        return models.stat_model, models.payload, models.covariances
    if "covariance" in info:
        covariance = _covariance(file, text)
        moments = [dataset.numbers.get("thirdMoment") for dataset in text.datasets]
        is_skewed = all(moment is not None for moment in moments) and any(abs(moment or 0.0) > 1e-20 for moment in moments)
        return "sl_v2" if is_skewed else "sl_v1", StatPayload(covariance_offset=0, covariance_size=len(covariance)), (covariance,)
    if "jsonFiles" not in info:
        return "none", StatPayload(), ()
    missing: list[str] = []
    workspaces = _workspaces(file, text, root, "jsonFiles", missing)
    for name in missing:
        notes.add(f"the workspace {name} is missing or broken: the statistical model of its regions is not usable")
    missing_full: list[str] = []
    full = _workspaces(file, text, root, "jsonFiles_FullLikelihood", missing_full)
    for name in missing_full:
        notes.add(f"the full workspace {name} is missing or broken; the simplified one is used")
    uncertainty = info.get("signalUncertainty")
    payload = StatPayload(
        workspaces=workspaces,
        full_workspaces=full,
        missing_files=(*missing, *missing_full),
        includes_crs=info.get("includeCRs") is True,
        signal_uncertainty=float(uncertainty) if isinstance(uncertainty, int | float) else None,
    )
    return "pyhf" if workspaces else "none", payload, ()


def _covariance(file: TextFile, text: TextResult) -> FloatArray:
    size = len(text.datasets)
    try:
        return read_covariance(text.info["covariance"], size, "'covariance'", f"there are {size} data sets")
    except LiteralError as error:
        raise file.error(text.info_lines["covariance"], str(error)) from None


def _workspaces(file: TextFile, text: TextResult, root: Path, tag: str, missing: list[str]) -> tuple[WorkspaceRecord, ...]:
    """Workspaces of a tag in their published order; names of absent or broken ones go to `missing`."""
    if tag not in text.info:
        return ()
    line, declared = text.info_lines[tag], text.info[tag]
    if not isinstance(declared, dict):
        raise file.error(line, f"{tag!r} must map file names to lists of regions")
    records: list[WorkspaceRecord] = []
    for name, regions in declared.items():
        if not isinstance(name, str) or not isinstance(regions, list):
            raise file.error(line, f"{tag!r} must map file names to lists of regions")
        canonical = tuple(_region(file, line, tag, region) for region in regions)
        path = text.folder / name
        if not is_inside(text.folder, name) or not is_workspace(path):
            missing.append(name)
            continue
        records.append(WorkspaceRecord(name, stored_path(text.folder, root, name), canonical))
    return tuple(records)


def _region(file: TextFile, line: int, tag: str, region: Value) -> RegionRecord:
    if isinstance(region, str):
        return RegionRecord(region, None, "SR")
    if isinstance(region, dict):
        smodels, pyhf, kind = region.get("smodels"), region.get("pyhf"), region.get("type", "SR")
        if (smodels is None or isinstance(smodels, str)) and (pyhf is None or isinstance(pyhf, str)) and kind in ("SR", "CR", "VR"):
            return RegionRecord(smodels, pyhf, str(kind))
    raise file.error(line, f"{tag!r} has a region that is neither a name nor {{'smodels', 'pyhf', 'type'}}")
