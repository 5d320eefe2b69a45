"""Statistical models of the region sets of release 3.2: which files are there, and which data sets fill their regions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from database.results.covariances import read_covariance
from database.results.literals import LiteralError, parse_literal
from database.results.maps import FloatArray
from database.results.model_files import is_inside, is_workspace, stored_path
from database.results.records import ModelFileRecord, RegionSetRecord, StatModel, StatPayload
from database.results.region_sets import TextRegionSet, order_datasets
from database.results.smodels_text import TextResult
from database.results.text_files import TextFile


class SetModels(NamedTuple):
    """What the sets of a result come to.

    Attributes:
        stat_model: "region_sets", or "none" if no file of any set is usable.
        payload: everything that was published; covariance offsets count from the result's first one.
        covariances: covariances [events²] of the sets that have one, in their order.
        notes: what is not usable, and why.
    """

    stat_model: StatModel
    payload: StatPayload
    covariances: tuple[FloatArray, ...]
    notes: tuple[str, ...]


def read_set_models(text: TextResult, root: Path) -> SetModels:
    """Returns the statistical models of a result in the format of release 3.2.

    Which set and which of its models speak for a signal is decided when the signal is known.

    Raises:
        ResultsFormatError: a covariance is malformed; names file and line.
    """
    covariances: list[FloatArray] = []
    notes: list[str] = []
    positions = {dataset.dataset_id: number for number, dataset in enumerate(text.datasets) if dataset.dataset_id is not None}
    sets = tuple(_read_set(text, root, region_set, positions, covariances, notes) for region_set in text.region_sets)
    uncertainty = text.info.get("signalUncertainty")
    names = order_datasets(text.region_sets, text.folder).names
    payload = StatPayload(
        missing_files=tuple(dict.fromkeys(model.file for entry in sets for model in entry.models if model.is_missing)),
        includes_crs=text.info.get("includeCRs") is True,
        signal_uncertainty=float(uncertainty) if isinstance(uncertainty, int | float) else None,
        region_sets=sets,
        num_combined=sum(name in positions for name in names),
    )
    is_usable = payload.num_combined > 0 and any(not model.is_missing for entry in sets for model in entry.models)
    return SetModels("region_sets" if is_usable else "none", payload, tuple(covariances), tuple(notes))


def _read_set(
    text: TextResult,
    root: Path,
    region_set: TextRegionSet,
    positions: Mapping[str, int],
    covariances: list[FloatArray],
    notes: list[str],
) -> RegionSetRecord:
    models: list[ModelFileRecord] = []
    rows: tuple[int, ...] = ()
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
                rows = tuple(positions[region.covariance or ""] for region in region_set.regions)
            models.append(ModelFileRecord(kind, name))
        else:
            models.append(ModelFileRecord(kind, name, stored_path(text.folder, root, name)))
    regions = tuple(region.record for region in region_set.regions)
    notes.extend(
        f"the region set {region_set.name!r} names the data set {region.smodels}, which has no folder: no signal is expected there"
        for region in regions
        if region.smodels is not None and region.smodels not in positions
    )
    return RegionSetRecord(
        name=region_set.name,
        regions=regions,
        datasets=tuple(positions.get(region.smodels or "", -1) for region in regions),
        networks=tuple(region.network for region in region_set.regions) if any(model.kind == "onnx" for model in models) else (),
        models=tuple(models),
        rows=rows,
        covariance_offset=offset,
        covariance_size=size,
    )


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
