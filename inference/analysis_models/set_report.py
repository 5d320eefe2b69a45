"""Which model of which region set is used, in words: for `results info`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from inference.analysis_models.region_sets import RegionSet, find_region_sets
from inference.likelihoods.learned import LearnedModel
from inference.settings import Conventions

if TYPE_CHECKING:
    from database.results.store import ResultsStore

KIND_WORDS = {"sl": "covariance", "pyhf": "workspace", "full_pyhf": "full workspace", "onnx": "neural network"}


class SetReport(NamedTuple):
    """What the region sets of a result come to.

    Attributes:
        rows: plain values per set: name, regions, models (kind, file, status), used (file or None), kind.
        notes: one sentence on all sets, and one per model that is passed over or used with a reservation.
    """

    rows: list[dict[str, Any]]
    notes: list[str]


def report_region_sets(store: ResultsStore, result: int, conventions: Conventions = Conventions.DEFAULT) -> SetReport:
    """The sets of a result in the order of publication; empty for results without."""
    sets = find_region_sets(store, result, conventions)
    rows, notes = [_row(entry) for entry in sets], []
    used = [f"{row['name']!r} by {row['used']} ({KIND_WORDS[row['kind']]})" for row in rows if row["used"]]
    if used:
        choice = "" if len(used) == 1 else "of these region sets the one with the smallest expected limit is used per signal: "
        notes.append(f"{choice or 'region set '}{', '.join(used)}")
    unused = [repr(row["name"]) for row in rows if not row["used"]]
    if unused:
        notes.append(f"no statistical model of {', '.join(unused)} can be evaluated")
    for entry in sets:
        notes.extend(entry.problems)
        notes.extend(_reservations(entry))
    return SetReport(rows, notes)


def _row(entry: RegionSet) -> dict[str, Any]:
    file = entry.file
    models = []
    for model in entry.record.models:
        status = "missing" if model.is_missing else "used" if model == file else "in reserve"
        if any(problem.startswith(f"{model.file} of ") for problem in entry.problems):
            status = "not evaluated"
        models.append({"kind": model.kind, "file": model.file, "status": status})
    regions = [region.smodels or region.pyhf for region in entry.record.regions]
    return {
        "name": entry.record.name,
        "regions": regions,
        "models": models,
        "used": file.file if file is not None else None,
        "kind": file.kind if file is not None else None,
    }


def _reservations(entry: RegionSet) -> list[str]:
    placed = entry.placed(0)
    if placed is None or not isinstance(placed[1].model, LearnedModel) or placed[1].model.layout.has_domain:
        return []
    return [f"{placed[0].file} does not say for which yields it was trained: it is used for all"]
