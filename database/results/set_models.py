"""Statistical models of the region sets of release 3.2: which are there, and which one a result is evaluated with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from database.results.covariances import read_covariance
from database.results.literals import LiteralError, parse_literal
from database.results.maps import FloatArray
from database.results.model_files import is_inside, is_workspace, stored_path
from database.results.records import ModelFileRecord, RegionSetRecord, StatModel, StatPayload, WorkspaceRecord
from database.results.region_sets import TextRegionSet
from database.results.smodels_text import TextResult
from database.results.text_files import TextFile


class SetModels(NamedTuple):
    """What the sets of a result come to.

    Attributes:
        stat_model: model that the result is evaluated with.
        payload: what it needs, and everything that was published; covariance offsets count from the result's first one.
        covariances: covariances [events²] of the sets that have one, in their order.
        notes: what is not used, and why.
    """

    stat_model: StatModel
    payload: StatPayload
    covariances: tuple[FloatArray, ...]
    notes: tuple[str, ...]


class _Set(NamedTuple):
    """A set and the model that speaks for it: the first of its list that is there and can be evaluated."""

    record: RegionSetRecord
    model: ModelFileRecord | None


def read_set_models(text: TextResult, root: Path) -> SetModels:
    """Returns the statistical models of a result in the format of release 3.2.

    Of several sets the first decides: workspaces are evaluated together with those of other sets, a covariance alone.

    Raises:
        ResultsFormatError: a covariance is malformed; names file and line.
    """
    covariances: list[FloatArray] = []
    notes: list[str] = []
    sets = [_read_set(text, root, region_set, covariances, notes) for region_set in text.region_sets]
    uncertainty = text.info.get("signalUncertainty")
    payload = StatPayload(
        missing_files=tuple(dict.fromkeys(model.file for entry in sets for model in entry.record.models if model.is_missing)),
        includes_crs=text.info.get("includeCRs") is True,
        signal_uncertainty=float(uncertainty) if isinstance(uncertainty, int | float) else None,
        region_sets=tuple(entry.record for entry in sets),
    )
    stat_model: StatModel = "none"
    usable = [entry for entry in sets if entry.model is not None]
    used: list[_Set] = []
    if usable and _is_covariance(usable[0]):
        used = usable[:1]
        record = used[0].record
        stat_model = _covariance_kind(text, record.covariance_size)
        payload = replace(payload, covariance_offset=record.covariance_offset, covariance_size=record.covariance_size)
    elif usable:
        used = [entry for entry in usable if not _is_covariance(entry)]
        stat_model = "pyhf"
        payload = replace(payload, workspaces=_workspaces(used, ("pyhf",)), full_workspaces=_workspaces(used, ("full_pyhf",)))
        if not payload.workspaces:
            payload = replace(payload, workspaces=payload.full_workspaces, full_workspaces=())
    notes.extend(
        f"the region set {entry.record.name!r} is not evaluated, another one of the analysis is" for entry in usable if entry not in used
    )
    return SetModels(stat_model, payload, tuple(covariances), tuple(notes))


def _is_covariance(entry: _Set) -> bool:
    return entry.model is not None and entry.model.kind == "sl"


def _read_set(text: TextResult, root: Path, region_set: TextRegionSet, covariances: list[FloatArray], notes: list[str]) -> _Set:
    models: list[ModelFileRecord] = []
    offset, size = -1, 0
    for kind, name in region_set.models:
        is_there = is_inside(text.folder, name) and (kind in ("sl", "onnx") or is_workspace(text.folder / name))
        if not is_there:
            notes.append(
                f"the file {name} of the region set {region_set.name!r} is missing or broken: that statistical model is not usable"
            )
            models.append(ModelFileRecord(kind, name, is_missing=True))
        elif kind == "sl":
            if offset < 0:
                offset = sum(covariance.size for covariance in covariances)
                covariances.append(_read_covariance(TextFile(text.folder / name, root), region_set))
                size = len(covariances[-1])
            models.append(ModelFileRecord(kind, name))
        else:
            models.append(ModelFileRecord(kind, name, stored_path(text.folder, root, name)))
    record = RegionSetRecord(
        name=region_set.name,
        regions=tuple(region.record for region in region_set.regions),
        networks=tuple(region.network for region in region_set.regions) if any(model.kind == "onnx" for model in models) else (),
        models=tuple(models),
        covariance_offset=offset,
        covariance_size=size,
    )
    chosen = next((model for model in models if model.kind != "onnx" and not model.is_missing), None)
    if any(model.kind == "onnx" and not model.is_missing for model in models):
        instead = "its regions enter one by one" if chosen is None else f"{chosen.file} is"
        notes.append(f"the neural network of the region set {region_set.name!r} is not evaluated, {instead}")
    return _Set(record, chosen)


def _read_covariance(file: TextFile, region_set: TextRegionSet) -> FloatArray:
    size = len(region_set.regions)
    content = "".join(line.partition("#")[0] + "\n" for line in file.text.splitlines())
    try:
        rows = parse_literal(content)
    except LiteralError as error:
        raise file.error(1, f"cannot read the covariance: {error}") from None
    try:
        return read_covariance(rows, size, "the covariance", f"the set {region_set.name!r} has {size} regions")
    except LiteralError as error:
        raise file.error(1, str(error)) from None


def _covariance_kind(text: TextResult, size: int) -> StatModel:
    moments = [dataset.numbers.get("thirdMoment") for dataset in text.datasets[:size]]
    is_skewed = all(moment is not None for moment in moments) and any(abs(moment or 0.0) > 1e-20 for moment in moments)
    return "sl_v2" if is_skewed else "sl_v1"


def _workspaces(used: list[_Set], kinds: tuple[str, ...]) -> tuple[WorkspaceRecord, ...]:
    return tuple(
        WorkspaceRecord(model.file, model.path, entry.record.regions)
        for entry in used
        for model in entry.record.models
        if model.kind in kinds and not model.is_missing
    )
