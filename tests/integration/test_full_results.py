"""The full text database 3.0.0: everything in it is accounted for, and worked examples interpolate to published numbers."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from database.results.compiler import MapFlag
from database.results.info import describe, read_bibtex
from database.results.store import ResultsStore, open_store

pytestmark = pytest.mark.full_database


def find_map(store: ResultsStore, folder: str, dataset_id: str | None, txname: str) -> int:
    (record,) = [record for record in store.results if record.folder == folder]
    (dataset,) = [d for d in range(record.dataset_start, record.dataset_stop) if store.dataset_ids[d] == dataset_id]
    (found,) = [m for m in range(store.dataset_map_start[dataset], store.dataset_map_stop[dataset]) if store.map_txnames[m] == txname]
    return found


def interpolate(store: ResultsStore, map_index: int, point: list[float], is_expected: bool = False) -> float:
    """Barycentric interpolation in the simplex that holds the point, found by trying all."""
    grid = int((store.map_grid_exp if is_expected else store.map_grid)[map_index])
    full, dim = int(store.grid_full[grid]), int(store.grid_dim[grid])
    position = ((np.array(point) - store.grid_delta[grid, :full]) @ store.grid_rotation[grid, :full, :full])[:dim]
    start, first = int(store.grid_point_offset[grid]), int(store.grid_simplex_offset[grid])
    simplices = store.simplices[first : first + int(store.grid_num_simplices[grid]), : dim + 1]
    vertices = store.points[start + simplices.astype(np.int64), :dim]
    matrices = np.concatenate([np.swapaxes(vertices, 1, 2), np.ones((len(simplices), 1, dim + 1))], axis=1)
    regular = np.abs(np.linalg.det(matrices)) > 1e-9
    weights = np.linalg.solve(matrices[regular], np.append(position, 1.0)[None, :, None])[..., 0]
    best = int(np.argmax(weights.min(axis=1)))
    assert weights[best].min() > -1e-6, "outside of the grid"
    return float(weights[best] @ store.map_values(map_index, is_expected)[simplices[regular][best]])


def test_every_result_is_accounted_for(full_store: ResultsStore) -> None:
    assert full_store.text_version == "3.0.0"
    assert len(full_store.results) == 204
    assert Counter((record.kind, record.sqrts_tev) for record in full_store.results) == {
        ("upperLimit", 13): 91,
        ("upperLimit", 8): 51,
        ("efficiencyMap", 13): 42,
        ("efficiencyMap", 8): 20,
    }
    assert Counter(record.experiment for record in full_store.results) == {"ATLAS": 112, "CMS": 92}
    rows = describe(full_store)
    assert len(rows) == 204
    assert all(row.num_maps > 0 for row in rows)
    for row in rows:
        if row.num_usable_maps < row.num_maps:
            assert row.notes, f"{row.folder} does not say what is not usable"
    assert len(full_store.dataset_ids) == 142 + 973
    assert sum(row.num_regions for row in rows) == 973


def test_every_map_is_there(full_store: ResultsStore) -> None:
    kinds = np.array([record.kind for record in full_store.results])[full_store.dataset_result[full_store.map_dataset]]
    assert Counter(kinds.tolist()) == {"upperLimit": 431, "efficiencyMap": 3552}
    has_expected = full_store.map_grid_exp >= 0
    assert has_expected.sum() == 179
    assert (full_store.map_grid_exp == full_store.map_grid).sum() == 156
    grids = np.concatenate([full_store.map_grid, full_store.map_grid_exp[has_expected]])
    assert Counter(full_store.grid_dim[grids].tolist()) == {1: 44, 2: 2835, 3: 1283}
    full_and_dim = Counter(
        zip(full_store.grid_full[full_store.map_grid].tolist(), full_store.grid_dim[full_store.map_grid].tolist(), strict=True)
    )
    assert full_and_dim == {
        (2, 1): 11, (2, 2): 15, (3, 2): 305, (3, 3): 24, (4, 1): 3, (4, 2): 2123, (4, 3): 164, (5, 3): 240, (6, 1): 24,
        (6, 2): 229, (6, 3): 845,
    }  # fmt: skip
    assert full_store.grid_num_points[full_store.map_grid[kinds == "efficiencyMap"]].sum() == 2_705_400
    assert full_store.grid_num_points[full_store.map_grid[kinds == "upperLimit"]].sum() == 921_367
    assert full_store.grid_num_points[full_store.map_grid_exp[has_expected]].sum() == 562_425
    assert len(full_store.templates) == 223
    assert len(set(full_store.map_txnames)) == 117
    prefactor = np.unique(full_store.atom_map[full_store.atom_coefficient != 1.0])
    assert Counter(kinds[prefactor].tolist()) == {"upperLimit": 59}
    with_conditions = Counter(kinds[[m for m, entries in enumerate(full_store.map_conditions) if entries]].tolist())
    assert with_conditions == {"upperLimit": 43, "efficiencyMap": 36}


def test_grids_are_shared(full_store: ResultsStore) -> None:
    pairs = {
        (int(full_store.dataset_result[dataset]), int(grid))
        for dataset, grid in zip(full_store.map_dataset, full_store.map_grid, strict=True)
        if full_store.results[full_store.dataset_result[dataset]].kind == "efficiencyMap"
    }
    assert len(pairs) == 783
    assert len(full_store.grid_dim) < 1250
    assert full_store.grid_num_columns.sum() == len(full_store.map_grid) + (full_store.map_grid_exp >= 0).sum()


def test_statistical_models(full_store: ResultsStore) -> None:
    models = Counter(record.stat_model for record in full_store.results)
    assert models == {"none": 185, "sl_v1": 10, "sl_v2": 1, "pyhf": 8}
    assert sum(record.num_datasets for record in full_store.results if record.stat_model.startswith("sl")) == 280
    for record in full_store.results:
        if record.stat_model.startswith("sl"):
            covariance = full_store.covariance(record.index)
            assert len(covariance) == record.num_datasets
            np.testing.assert_allclose(covariance, covariance.T, rtol=1e-3)
            assert np.all(np.diag(covariance) > 0)
        for workspace in record.stat_payload.workspaces:
            content = json.loads((full_store.path / workspace.path).read_text())
            known = {channel["name"] for channel in content["channels"]}
            named = {region.pyhf.split("[")[0] for region in workspace.regions if region.pyhf}
            assert named <= known
            smodels = {region.smodels for region in workspace.regions if region.smodels}
            assert smodels <= set(full_store.dataset_ids[record.dataset_start : record.dataset_stop])
    (skewed,) = [record for record in full_store.results if record.stat_model == "sl_v2"]
    assert skewed.analysis_id == "CMS-SUS-20-004"
    by_folder = {record.folder: record for record in full_store.results}
    gap = by_folder["13TeV/ATLAS/ATLAS-SUSY-2019-08-eff"]
    assert gap.stat_payload.missing_files == ("BkgOnly.json",)
    assert any("BkgOnly.json is missing" in note for note in gap.notes)
    trimmed = by_folder["13TeV/ATLAS/ATLAS-SUSY-2019-02-eff"]
    assert trimmed.num_datasets == 24
    assert any(note.startswith("34 data sets") for note in trimmed.notes)
    flavours = by_folder["13TeV/ATLAS/ATLAS-SUSY-2018-16-eff"].stat_payload
    assert (flavours.signal_uncertainty, flavours.includes_crs) == (0.22, True)
    assert [len(workspace.regions) for workspace in flavours.workspaces] == [44, 38]


def test_citations(full_store: ResultsStore) -> None:
    entries = read_bibtex(full_store)
    analyses = {record.analysis_id for record in full_store.results}
    assert len(entries) > 120
    assert len(set(entries) & analyses) > 110
    assert entries["ATLAS-SUSY-2015-01"].startswith("@article{Aaboud:2016nwl,")
    assert all(entry.count("{") == entry.count("}") for entry in entries.values())


def test_regions_have_numbers(full_store: ResultsStore) -> None:
    is_region = np.array([name is not None for name in full_store.dataset_ids])
    for values in (full_store.observed_n, full_store.expected_bg, full_store.bg_error, full_store.ul_obs_fb, full_store.ul_exp_fb):
        assert np.all(np.isfinite(values) == is_region)
    assert np.all(full_store.observed_n[is_region] % 1 == 0)
    assert (full_store.observed_n == 0).sum() == 59
    assert np.isfinite(full_store.third_moment).sum() == 22


def test_flags(full_store: ResultsStore) -> None:
    flags = full_store.map_flags
    assert not np.any(flags & MapFlag.SINGLE_POINT)
    long_lived = {full_store.map_txnames[m] for m in np.flatnonzero(flags & MapFlag.WIDTH_AXES)}
    assert {"T1Disp", "TDTM1F", "THSCPM1b"} <= long_lived
    mediators = {full_store.map_txnames[m] for m in np.flatnonzero(flags & MapFlag.SINGLE_MEDIATOR)}
    assert mediators == {"TRV1", "TRS1", "TRV1tt", "TRV1jj", "TRV1bb", "TRV1qq"}
    assert not np.any(flags[[m for m, name in enumerate(full_store.map_txnames) if name in ("T2tt", "TChiWZ", "T5WW", "T2cc")]])


def test_open_is_fast_and_maps_memory(full_store: ResultsStore) -> None:
    start = time.perf_counter()
    store = open_store(full_store.path)
    assert time.perf_counter() - start < 1.0
    assert store.content_hash == full_store.content_hash
    size = sum(file.stat().st_size for file in full_store.path.rglob("*") if file.is_file())
    assert size < 400e6
    status = Path("/proc/self/smaps_rollup")
    if status.exists():
        assert store.values.flags.owndata is False


def test_published_limits_of_a_hadronic_search(full_store: ResultsStore) -> None:
    folder = "13TeV/CMS/CMS-SUS-19-006"
    for txname, mass, observed, expected in (("T2", 735.0, 18.45, 21.57), ("T2tt", 1166.0, 2.04, 2.08)):
        found = find_map(full_store, folder, None, txname)
        assert interpolate(full_store, found, [mass, 163.0] * 2) == pytest.approx(observed, abs=0.01)
        assert interpolate(full_store, found, [mass, 163.0] * 2, is_expected=True) == pytest.approx(expected, abs=0.01)


def test_worked_example(full_store: ResultsStore, reference_kernels: None) -> None:
    """Charginos of 464.2 GeV to W and an LBP of 227.1 GeV in CMS-SUS-21-002, as the reference gives them (6 digits)."""
    point = [464.2, 227.1, 464.2, 227.1]
    efficiency = interpolate(full_store, find_map(full_store, "13TeV/CMS/CMS-SUS-21-002-eff", "b_veto_SR0", "TChiWW"), point)
    assert efficiency == pytest.approx(0.00139753, abs=6e-9)
    limits = find_map(full_store, "13TeV/CMS/CMS-SUS-21-002", None, "TChiWW")
    assert interpolate(full_store, limits, point) == pytest.approx(99.2786, abs=6e-5)
    assert interpolate(full_store, limits, point, is_expected=True) == pytest.approx(117.619, abs=6e-4)
