"""Writes the embedded excerpt: low-order fits of published maps, beside the published facts of each analysis.

Takes a compiled full store and nothing else (`protomodels results fit-excerpt`). Observed counts, background estimates,
luminosities, limits per signal region, covariances and references are copied as published; efficiencies and limits as
functions of the masses are replaced by the fits of fitting.py, whose coefficients and errors stand in each file. The
result has the text format of the full database and is read by the same code.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from database.errors import StoreError
from database.results.embedded.fitting import Fit, FitError, MassGrid, fit_map, grid_masses, written_error
from database.results.embedded.selection import SELECTION, Selection

if TYPE_CHECKING:
    from database.results.records import ResultRecord
    from database.results.store import ResultsStore

log = logging.getLogger(__name__)

LABEL = "approximate: for demonstration and tests"
MAX_MEDIAN_ERROR = 0.35
"""Maps of single signal regions whose fit is worse are left out; regions of a covariance always stay, with their error."""
SAME_MASS_GEV = 0.05
"""Branches whose masses differ by less count as alike."""


class WrittenMap(NamedTuple):
    """What was made of one published map."""

    folder: str
    dataset: str
    txname: str
    error: FitError
    is_kept: bool


def write_excerpt(store: ResultsStore, target: Path, selection: Sequence[Selection] = SELECTION) -> tuple[WrittenMap, ...]:
    """Writes the excerpt of `store` to the folder `target` (replaced if it exists) and says what became of each map.

    Raises:
        StoreError: the store holds fits already, or lacks a result of the selection.
    """
    by_folder = {record.folder: record for record in store.results}
    written: list[WrittenMap] = []
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".excerpt-") as scratch:
        root = Path(scratch) / "text"
        for choice in selection:
            record = by_folder.get(choice.folder)
            if record is None:
                raise StoreError(f"The store has no result {choice.folder}; the excerpt is fitted to a full results database.")
            if record.is_approximate:
                raise StoreError(f"{choice.folder} of this store is a fit already; the excerpt is fitted to a full results database.")
            written += _write_result(store, record, choice.txnames, root / choice.folder)
        (root / "version").write_text(f"{store.text_version}-approximate\n", encoding="utf-8")
        (root / "README.txt").write_text(_readme(store, selection), encoding="utf-8")
        if target.exists():
            shutil.rmtree(target)
        root.rename(target)
    return tuple(written)


def _write_result(store: ResultsStore, record: ResultRecord, txnames: Sequence[str], folder: Path) -> Iterator[WrittenMap]:
    has_covariance = record.stat_payload.covariance_size > 0
    errors: list[FitError] = []
    dataset_ids: list[str] = []
    for dataset in range(record.dataset_start, record.dataset_stop):
        name = store.dataset_ids[dataset] or "data"
        maps = _fitted_maps(store, record, dataset, txnames)
        kept = {txname: item for txname, item in maps.items() if has_covariance or item[1].median <= MAX_MEDIAN_ERROR}
        for txname, item in maps.items():
            yield WrittenMap(record.folder, name, txname, item[1], txname in kept)
        if not kept and not has_covariance:
            continue
        dataset_ids.append(name)
        subfolder = folder / name.replace("/", "_")
        subfolder.mkdir(parents=True, exist_ok=True)
        (subfolder / "dataInfo.txt").write_text(_data_info(store, record, dataset), encoding="utf-8")
        for txname, (text, error) in kept.items():
            (subfolder / f"{txname}.txt").write_text(text, encoding="utf-8")
            errors.append(error)
    (folder / "globalInfo.txt").write_text(_global_info(store, record, dataset_ids, errors), encoding="utf-8")


def _fitted_maps(store: ResultsStore, record: ResultRecord, dataset: int, txnames: Sequence[str]) -> dict[str, tuple[str, FitError]]:
    is_limit = record.kind == "upperLimit"
    maps: dict[str, tuple[str, FitError]] = {}
    for index in range(int(store.dataset_map_start[dataset]), int(store.dataset_map_stop[dataset])):
        txname = store.map_txnames[index]
        if txname not in txnames:
            continue
        published = read_mass_grid(store, index)
        fit, masses = (fit_map(published, is_limit), grid_masses(published, is_limit)) if published is not None else (None, None)
        if published is None or fit is None or masses is None:
            log.info("%s %s %s: not a map in two masses, or too few points", record.folder, store.dataset_ids[dataset], txname)
            continue
        values = fit.evaluate(masses)
        error = written_error(published, masses, values, is_limit)
        expected_text = ""
        if is_limit and store.map_grid_exp[index] >= 0:
            expected = read_mass_grid(store, index, is_expected=True)
            expected_fit = None if expected is None else fit_map(expected, is_limit)
            if expected is not None and expected_fit is not None:
                expected_values = expected_fit.evaluate(masses)
                worse = written_error(expected, masses, expected_values, is_limit)
                error = FitError(max(error.median, worse.median), max(error.largest, worse.largest), error.num_points)
                expected_text = _coefficients("expected", expected_fit) + _rows("expectedUpperLimits", masses, expected_values, "*fb")
        maps[txname] = _map_text(store, record, index, fit, error, masses, values, expected_text), error
    return maps


def read_mass_grid(store: ResultsStore, index: int, is_expected: bool = False) -> MassGrid | None:
    """A stored map in (mother, daughter) masses; None if it is not one (unlike branches, widths, chains)."""
    grid = int((store.map_grid_exp if is_expected else store.map_grid)[index])
    full, dim = int(store.grid_full[grid]), int(store.grid_dim[grid])
    if full != 4 or dim != 2:
        return None
    masses = store.grid_points(grid)
    if np.abs(masses[:, :2] - masses[:, 2:]).max() > SAME_MASS_GEV:
        return None
    return MassGrid(np.round(masses[:, :2], 4), np.array(store.map_values(index, is_expected)))


# ----------------------------------------------------------------------------------------------------------- text files


def _map_text(
    store: ResultsStore,
    record: ResultRecord,
    index: int,
    fit: Fit,
    error: FitError,
    masses: NDArray[np.float64],
    values: NDArray[np.float64],
    expected_text: str,
) -> str:
    is_limit = record.kind == "upperLimit"
    conditions = ";".join(store.map_conditions[index]) or "None"
    grid = _rows("upperLimits", masses, values, "*fb") if is_limit else _rows("efficiencyMap", masses, values, "")
    return (
        f"txName: {store.map_txnames[index]}\n"
        f"constraint: {store.map_constraints[index]}\n"
        f"condition: {conditions}\n"
        "finalState: ['MET','MET']\n"
        "validated: N/A\n"
        f"source: {LABEL}, fitted by this project to the map published in {record.arxiv or record.url or record.analysis_id}\n"
        "approximate: True\n"
        f"fitError: {error.median:.4f}\n"
        f"fitErrorMax: {error.largest:.4f}\n"
        f"fitErrorPoints: {error.num_points}\n"
        f"{_coefficients('', fit)}{grid}{expected_text}"
    )


def _coefficients(prefix: str, fit: Fit) -> str:
    """The fit as tags: ln f = Σ c xⁱ yʲ, rows (i, j, c)."""
    name = (lambda tag: f"{prefix}{tag[0].upper()}{tag[1:]}") if prefix else str
    rows = ", ".join(f"[{i},{j},{c:g}]" for (i, j), c in zip(fit.exponents.tolist(), fit.coefficients.tolist(), strict=True))
    return (
        f"{name('fitFunction')}: ln f = sum of c x^i y^j with x = (ln m - x0)/sx and y = (ln(m - m0) - y0)/sy\n"
        f"{name('fitOrigin')}: [{fit.centre[0]:g}, {fit.centre[1]:g}]\n"
        f"{name('fitScale')}: [{fit.scale[0]:g}, {fit.scale[1]:g}]\n"
        f"{name('fitCoefficients')}: [{rows}]\n"
    )


def _rows(tag: str, masses: NDArray[np.float64], values: NDArray[np.float64], unit: str) -> str:
    rows = []
    for (mother, daughter), value in zip(masses.tolist(), values.tolist(), strict=True):
        branch = f"[{mother:g}*GeV,{daughter:g}*GeV]"
        rows.append(f"[[{branch},{branch}],{value:.4g}{unit}]")
    return f"{tag}: [{(',' + chr(10)).join(rows)}]\n"


def _data_info(store: ResultsStore, record: ResultRecord, dataset: int) -> str:
    if record.kind == "upperLimit":
        return "dataType: upperLimit\ndataId: None\n"
    lines = [f"dataId: {store.dataset_ids[dataset]}", "dataType: efficiencyMap"]
    for tag, array, unit in (
        ("observedN", store.observed_n, ""),
        ("expectedBG", store.expected_bg, ""),
        ("bgError", store.bg_error, ""),
        ("thirdMoment", store.third_moment, ""),
        ("upperLimit", store.ul_obs_fb, "*fb"),
        ("expectedUpperLimit", store.ul_exp_fb, "*fb"),
    ):
        value = float(array[dataset])
        if np.isfinite(value):
            lines.append(f"{tag}: {_number(value)}{unit}")
    return "\n".join(lines) + "\n"


def _global_info(store: ResultsStore, record: ResultRecord, dataset_ids: Sequence[str], errors: Sequence[FitError]) -> str:
    lines = [f"id: {record.analysis_id}", f"sqrts: {record.sqrts_tev}*TeV", f"lumi: {_number(record.lumi_ifb)}/fb"]
    for tag, value in (
        ("url", record.url),
        ("arxiv", record.arxiv),
        ("publication", record.publication),
        ("publicationDOI", record.doi),
        ("contact", record.contact),
        ("supersedes", "; ".join(record.supersedes)),
        ("supersededBy", "; ".join(record.superseded_by)),
    ):
        if value:
            lines.append(f"{tag}: {value}")
    lines += [
        "approximate: True",
        f"comment: {LABEL}. Counts, backgrounds, limits per region and covariance are as published; maps are fits (see each file)",
        f"fitError: {float(np.median([error.median for error in errors])):.4f}",
        f"fitErrorMax: {max(error.largest for error in errors):.4f}",
    ]
    payload = record.stat_payload
    if payload.covariance_size > 0:
        rows = ", ".join("[" + ", ".join(_number(value) for value in row) + "]" for row in store.covariance(record.index).tolist())
        lines.append("datasetOrder: " + ", ".join(f'"{name}"' for name in dataset_ids))
        lines.append(f"covariance: [{rows}]")
    return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)


def _readme(store: ResultsStore, selection: Sequence[Selection]) -> str:
    return (
        f"Excerpt of published LHC results, {LABEL}.\n\n"
        f"{len(selection)} results of ATLAS and CMS in the text format of the SModelS database (arXiv:2306.17676; release\n"
        f"{store.text_version}). Observed counts, background estimates, luminosities, limits per signal region and covariances\n"
        "are the published ones, with links. Efficiencies and limits as functions of the masses are low-order fits made for\n"
        "this project; coefficients and errors stand in each file. fitError (median) and fitErrorMax (largest) compare what is read from\n"
        "the file with the published values (efficiencies: above a tenth of the largest one). Not for physics: use the full\n"
        "database (`protomodels results fetch`, `protomodels results import`).\n"
    )
