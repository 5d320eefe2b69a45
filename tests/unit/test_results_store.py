"""Import and store: what arrives from small text databases, notes, atomic writing, versions."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from database.errors import ResultsFormatError, StoreError
from database.results.compiler import MapFlag
from database.results.importer import import_text_database
from database.results.info import describe, read_bibtex
from database.results.records import RegionRecord
from database.results.store import ResultsStore, default_store_path, open_store
from tests.text_database import GRID_MASSES, TextDatabase, mass_rows, write_map

WORKSPACE = json.dumps({"channels": [], "observations": [], "measurements": [], "version": "1.0.0"})


def load(database: TextDatabase, name: str = "store") -> ResultsStore:
    return import_text_database(database.root, database.root.parent / name, num_workers=0)


@pytest.fixture
def database(tmp_path: Path) -> TextDatabase:
    return TextDatabase(tmp_path / "text")


# ------------------------------------------------------------------------------------------------------------ content


def test_limits_and_efficiencies(database: TextDatabase) -> None:
    expected = {"expectedUpperLimits": mass_rows([f"{2 * k + 1}*fb" for k in range(len(GRID_MASSES))])}
    database.limits(database.result("13TeV/CMS/CMS-SUS-00-001", "url: http://x", "arxiv: http://y"), **expected)
    efficiencies = database.result("13TeV/CMS/CMS-SUS-00-001-eff", "supersedes: CMS-A, CMS-B")
    for k, name in enumerate(["SR2", "SR10"]):
        region = database.region(efficiencies, name, observed=k)
        database.efficiencies(region, scale=0.001 * (k + 1))
        database.efficiencies(region, "T1tttt", "[[['t','t']],[['t','t']]]", scale=0.01 * (k + 1))
    store = load(database)

    assert [record.folder for record in store.results] == ["13TeV/CMS/CMS-SUS-00-001", "13TeV/CMS/CMS-SUS-00-001-eff"]
    limits, efficiency = store.results
    assert (limits.analysis_id, limits.kind, limits.sqrts_tev, limits.lumi_ifb, limits.experiment) == (
        "CMS-SUS-00-001",
        "upperLimit",
        13,
        137.0,
        "CMS",
    )
    assert (efficiency.dataset_start, efficiency.dataset_stop, efficiency.supersedes) == (1, 3, ("CMS-A", "CMS-B"))
    assert store.dataset_ids == (None, "SR10", "SR2")
    np.testing.assert_array_equal(store.observed_n, [np.nan, 1, 0])
    np.testing.assert_array_equal(store.ul_exp_fb, [np.nan, 0.04, 0.04])
    assert store.map_txnames == ("T2tt", "T1tttt", "T2tt", "T1tttt", "T2tt")
    assert store.map_constraints[1] == "[[['t','t']],[['t','t']]]"
    assert len(store.grid_dim) == 1, "one grid for all maps, the expected limits included"
    assert store.grid_num_columns[0] == 6
    np.testing.assert_array_equal(store.map_values(0), np.arange(7) + 1.5)
    np.testing.assert_array_equal(store.map_values(0, is_expected=True), 2 * np.arange(7) + 1)
    np.testing.assert_array_equal(store.map_values(4), 0.001 * np.arange(1, 8))
    assert store.map_values(4, is_expected=True).size == 0
    np.testing.assert_allclose(store.grid_points(0)[:, :2], GRID_MASSES, atol=1e-9)
    assert store.data_maps[store.map_data_map[0]] == ((1, "mass"), (3, "mass"), (2, "mass"), (5, "mass"))
    assert store.data_maps[store.map_data_map[1]] == ((1, "mass"), (3, "mass"), (2, "mass"), (6, "mass"))
    assert store.templates[store.atom_template[0]] == "(PV(0) > anyBSM(1),anyBSM(2)), (anyBSM(1) > MET(3),t(4)), (anyBSM(2) > MET(5),t(6))"
    assert store.template_trees[0].text() == store.templates[0]


def test_constraints_become_atoms(database: TextDatabase) -> None:
    database.limits(
        database.result("8TeV/ATLAS/ATLAS-1"), constraint="2.5*([[['e+']],[['e-']]]+[[['mu+']],[['mu-']]])", condition="Cgtr(a,b);c"
    )
    store = load(database)
    assert store.atom_map.tolist() == [0, 0]
    assert store.atom_coefficient.tolist() == [2.5, 2.5]
    assert store.map_conditions == (("Cgtr(a,b)", "c"),)


def test_widths_are_axes_of_their_own(database: TextDatabase) -> None:
    masses = [(m, w) for m in (100.0, 200.0, 300.0) for w in (0.0, 1e-15, 1.0)]
    rows = ",\n".join(f"[[[({m}*GeV,{w}*GeV)],[({m}*GeV,{w}*GeV)]],{k + 1}*fb]" for k, (m, w) in enumerate(masses))
    result = database.result("13TeV/CMS/CMS-EXO-1", "type: displaced", "Leff_inner: 0.001")
    database.limits(result, "THSCPM1b", "[[],[]]", finalState="['HSCP', 'HSCP']", upperLimits=f"[{rows}]")
    store = load(database)
    assert store.data_maps == (((1, "mass"), (2, "mass"), (1, "totalwidth"), (2, "totalwidth")),)
    assert store.grid_dim.tolist() == [2]
    np.testing.assert_allclose(store.grid_points(0)[1], [100, 100, np.log(1 + 1e15), np.log(1 + 1e15)])
    assert store.map_flags.tolist() == [MapFlag.WIDTH_AXES | MapFlag.CHARGED_FINAL_STATE]
    (record,) = store.results
    assert (record.lifetime, record.leff_inner_m) == ("displaced", 0.001)
    assert np.isnan(record.leff_outer_m)


def test_graph_notation_with_data_map(database: TextDatabase) -> None:
    rows = ",\n".join(f"[[{m}.,{d},{d}],{(m + d) / 1e4}]" for m in (500, 700, 900) for d in (0, 50, 100))
    region = database.region(database.result("13TeV/CMS/CMS-EXO-2-eff"), "SR")
    database.efficiencies(
        region,
        "TRV1",
        "{(PV > Zprime(1)), (Zprime(1) > MET(2),MET(3))}",
        dataMap="{0: (1, 'mass', GeV), 1: (2, 'mass', GeV), 2: (3, 'mass', GeV)}",
        efficiencyMap=f"[{rows}]",
    )
    store = load(database)
    assert store.data_maps == (((1, "mass"), (2, "mass"), (3, "mass")),)
    assert (store.grid_full[0], store.grid_dim[0]) == (3, 2)
    assert store.map_flags.tolist() == [MapFlag.SINGLE_MEDIATOR]
    assert any("single mediator" in note for note in store.results[0].notes)


def test_inclusive_branches(database: TextDatabase) -> None:
    rows = ",\n".join(f"[['*',[{m}*GeV,{d}*GeV]],0.{m}]" for m in (300, 500, 700) for d in (100, 200))
    region = database.region(database.result("8TeV/CMS/CMS-EXO-3-eff"), "SR")
    database.efficiencies(region, "THSCPM4", "[[*],[['*']]]", finalState="['MET', 'HSCP']", efficiencyMap=f"[{rows}]")
    store = load(database)
    assert store.data_maps == (((2, "mass"), (5, "mass")),)
    assert store.templates == (
        "(PV(0) > InclusiveNode(1),anyBSM(2)), (InclusiveNode(1) > MET(3),*anySM(4)), (anyBSM(2) > HSCP(5),anySM(6))",
    )


# -------------------------------------------------------------------------------------------------------------- notes


def test_unusable_maps_are_noted_and_the_rest_is_kept(database: TextDatabase) -> None:
    result = database.result("13TeV/CMS/CMS-SUS-00-002-eff")
    region = database.region(result, "SR1")
    database.efficiencies(region)
    database.efficiencies(region, "TZero", scale=0.0)
    database.efficiencies(region, "TOdd", "[[['graviton']],[['t']]]")
    database.efficiencies(region, "TSquare", "[[['t']],[['t']]]*[[['b']],[['b']]]")
    database.efficiencies(region, "TRefused", validated="False")
    database.efficiencies(region, "TLong", "[[],[]]")
    database.efficiencies(region, "TLine", efficiencyMap=mass_rows(["0.1"], [(300.0, 100.0)]))
    database.efficiencies(database.region(result, "SR0"), scale=0.0)
    store = load(database)
    assert store.map_txnames == ("T2tt", "TLine")
    assert store.dataset_ids == ("SR1",)
    assert store.map_flags.tolist() == [0, MapFlag.SINGLE_POINT]
    notes = "\n".join(store.results[0].notes)
    for text in (
        "zero everywhere are left out: T2tt, TZero (2 maps)",
        "unknown particle label 'graviton': TOdd",
        "not linear in its topologies: TSquare",
        "not validated by the publishers: TRefused",
        "a point has more masses than the constraint has particles: TLong",
        "single-point maps cannot be interpolated: TLine",
        "data set SR0 has no usable map and is left out",
    ):
        assert text in notes


def test_result_without_maps_is_still_accounted_for(database: TextDatabase) -> None:
    database.limits(database.result("13TeV/CMS/CMS-1"))
    database.limits(database.result("13TeV/CMS/CMS-2"), validated="False")
    rows = describe(load(database))
    assert [(row.analysis_id, row.num_maps, row.num_usable_maps) for row in rows] == [("CMS-1", 1, 1), ("CMS-2", 0, 0)]
    assert "no usable map: the result enters nothing" in rows[1].notes
    assert "no expected limits are published, so these maps give no likelihood: T2tt (1 maps)" in rows[0].notes


def test_citations_are_kept(database: TextDatabase) -> None:
    database.limits(database.result("13TeV/CMS/CMS-1"))
    assert read_bibtex(load(database, "without")) == {}
    (database.root / "database.bib").write_text(
        '% x\n@article{A:1,\n  label = "CMS-1",\n title={{Search} for x}\n}\n\n@misc{B:2,\n label={CMS-2}}\n@misc{C}\n'
    )
    entries = read_bibtex(load(database))
    assert entries == {"CMS-1": '@article{A:1,\n  label = "CMS-1",\n title={{Search} for x}\n}', "CMS-2": "@misc{B:2,\n label={CMS-2}}"}


# -------------------------------------------------------------------------------------------------- statistical models


def covariance_result(database: TextDatabase, *extra: str, moment: str | None = None) -> Path:
    result = database.result("13TeV/CMS/CMS-SUS-00-003-eff", "datasetOrder: 'SR2', 'SR1'", *extra)
    for name in ("SR1", "SR2"):
        database.efficiencies(database.region(result, name, *([f"thirdMoment: {moment}"] if moment else [])))
    return result


def test_covariance(database: TextDatabase) -> None:
    covariance_result(database, "covariance: [[4., 1.],\n [1., 9.]]")
    store = load(database)
    assert store.results[0].stat_model == "sl_v1"
    np.testing.assert_array_equal(store.covariance(0), [[4, 1], [1, 9]])
    assert store.dataset_ids == ("SR2", "SR1")


def test_region_without_maps_stays_in_a_covariance(database: TextDatabase) -> None:
    result = covariance_result(database, "covariance: [[4., 1.], [1., 9.]]")
    (result / "SR1" / "T2tt.txt").unlink()
    store = load(database)
    assert store.dataset_ids == ("SR2", "SR1")
    assert store.dataset_map_start.tolist() == [0, 1]
    assert store.dataset_map_stop.tolist() == [1, 1]


@pytest.mark.parametrize(("moment", "model"), [("0.3", "sl_v2"), ("0.0", "sl_v1")])
def test_third_moments(database: TextDatabase, moment: str, model: str) -> None:
    covariance_result(database, "covariance: [[4., 1.], [1., 9.]]", moment=moment)
    assert load(database).results[0].stat_model == model


@pytest.mark.parametrize(
    ("covariance", "problem"),
    [
        ("[[4.]]", "'covariance' is 1×1, but there are 2 data sets"),
        ("[[4., 1.], [1.", "cannot read 'covariance': it is not a list of rows"),
        ("[[4., 1.], [1.]]", "cannot read 'covariance': its rows have different lengths"),
        ("[[4., 1.], [1., -9.]]", "'covariance' has a variance that is not positive: -9 in row 2"),
        ("[[4., 1.], [2., 9.]]", "'covariance' is not symmetric"),
        ("[[4., 'a'], [1., 2.]]", "cannot read 'covariance': not a number"),
    ],
)
def test_broken_covariance_names_file_and_line(database: TextDatabase, covariance: str, problem: str) -> None:
    covariance_result(database, f"covariance: {covariance}")
    with pytest.raises(ResultsFormatError, match="13TeV/CMS/CMS-SUS-00-003-eff/globalInfo.txt, line 5: " + problem):
        load(database)


def test_workspaces(database: TextDatabase) -> None:
    regions = (
        "{'a.json': ['SR1', {'pyhf': 'CR', 'type': 'CR'}, {'smodels': 'SR2', 'pyhf': 'SR[1]'}], 'gone.json': ['SR2'], 'bad.json': ['SR1']}"
    )
    result = covariance_result(
        database, f"jsonFiles: {regions}", "jsonFiles_FullLikelihood: {'full.json': ['SR1']}", "includeCRs: True", "signalUncertainty: 0.22"
    )
    (result / "a.json").write_text(WORKSPACE)
    (result / "full.json").write_text(WORKSPACE)
    (result / "bad.json").write_text(WORKSPACE[:20])
    (result / "notnamed.json").write_text(WORKSPACE)
    store = load(database)
    (record,) = store.results
    payload = record.stat_payload
    assert record.stat_model == "pyhf"
    assert [workspace.file for workspace in payload.workspaces] == ["a.json"]
    assert payload.workspaces[0].regions == (
        RegionRecord("SR1", None, "SR"),
        RegionRecord(None, "CR", "CR"),
        RegionRecord("SR2", "SR[1]", "SR"),
    )
    assert (payload.missing_files, payload.includes_crs, payload.signal_uncertainty) == (("gone.json", "bad.json"), True, 0.22)
    copied = sorted(path.relative_to(store.path).as_posix() for path in (store.path / "workspaces").rglob("*.json"))
    assert copied == sorted([payload.workspaces[0].path, payload.full_workspaces[0].path])
    assert (store.path / copied[0]).read_text() == WORKSPACE
    assert sum("is missing or broken" in note for note in record.notes) == 2


def test_only_missing_workspaces_leave_no_model(database: TextDatabase) -> None:
    covariance_result(database, "jsonFiles: {'../../../../../etc/passwd': ['SR1'], 'gone.json': ['SR1']}")
    (record,) = load(database).results
    assert record.stat_model == "none"
    assert len(record.stat_payload.missing_files) == 2


# ------------------------------------------------------------------------------------------------------------ archives


def archive_of(database: TextDatabase, path: Path) -> Path:
    files = [file for file in database.root.rglob("*") if file.is_file()]
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as package:
            for file in files:
                package.write(file, f"db-3.0.0/{file.relative_to(database.root)}")
    else:
        with tarfile.open(path, "w:" + path.suffix[1:]) as tar:  # type: ignore[call-overload]  # mode computed
            tar.add(database.root, "db-3.0.0")
    return path


@pytest.mark.parametrize("name", ["db.tar.xz", "db.tar.gz", "db.zip"])
def test_archives(database: TextDatabase, tmp_path: Path, name: str) -> None:
    database.limits(database.result("13TeV/CMS/CMS-1"))
    from_folder = load(database)
    store = import_text_database(archive_of(database, tmp_path / name), tmp_path / "other", num_workers=0)
    assert store.content_hash == from_folder.content_hash
    assert store.source == name


def test_damaged_archive(database: TextDatabase, tmp_path: Path) -> None:
    database.limits(database.result("13TeV/CMS/CMS-1"))
    archive = archive_of(database, tmp_path / "db.tar.xz")
    archive.write_bytes(archive.read_bytes()[:-200])
    with pytest.raises(ResultsFormatError, match=r"^db\.tar\.xz cannot be unpacked"):
        import_text_database(archive, tmp_path / "store", num_workers=0)
    assert not (tmp_path / "store").exists()


def test_file_that_is_no_archive_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "db.tar.gz").write_text("hello")
    with pytest.raises(ResultsFormatError, match=r"^db\.tar\.gz cannot be unpacked, it is damaged or not an archive \([^\n]*\)\.\Z"):
        import_text_database(tmp_path / "db.tar.gz", tmp_path / "store", num_workers=0)


def test_archive_cannot_write_elsewhere(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "evil.tar.gz", "w:gz") as tar:
        member = tarfile.TarInfo("../outside.txt")
        member.size = 1
        tar.addfile(member, io.BytesIO(b"x"))
    with pytest.raises(ResultsFormatError, match="would write outside"):
        import_text_database(tmp_path / "evil.tar.gz", tmp_path / "store", num_workers=0)
    assert not (tmp_path / "outside.txt").exists()


@pytest.mark.parametrize(("name", "problem"), [("nothing", "There is no text database"), ("empty", "has no file 'version'")])
def test_no_database(tmp_path: Path, name: str, problem: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ResultsFormatError, match=problem):
        import_text_database(tmp_path / name, tmp_path / "store", num_workers=0)


def test_database_without_results(database: TextDatabase) -> None:
    with pytest.raises(ResultsFormatError, match=r"no globalInfo\.txt"):
        load(database)


# --------------------------------------------------------------------------------------------------------------- store


def test_hash_depends_on_published_content_only(database: TextDatabase) -> None:
    result = database.result("13TeV/CMS/CMS-1")
    path = database.limits(result)
    first = load(database, "a").content_hash
    path.write_text(path.read_text().replace("source: test\n", "source: somebody else\n"))
    assert load(database, "b").content_hash == first
    path.write_text(path.read_text().replace("7.5*fb", "7.51*fb"))
    assert load(database, "c").content_hash != first


def test_store_is_written_completely_or_not_at_all(database: TextDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    result = database.result("13TeV/CMS/CMS-1")
    path = database.limits(result)
    before = load(database)
    hash_before = before.content_hash

    path.write_text(path.read_text()[:-30])
    with pytest.raises(ResultsFormatError, match=r"T2tt\.txt, line \d+"):
        load(database)
    database.limits(result, "T2bb", "[[['b']],[['b']]]")
    path.unlink()

    def fail(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("database.results.store.np.save", fail)
        with pytest.raises(StoreError, match="No space left on device"):
            load(database)
    assert open_store(before.path).content_hash == hash_before
    assert sorted(file.name for file in before.path.parent.iterdir()) == ["store", "text"], "nothing half-written is left"
    assert load(database).map_txnames == ("T2bb",)
    assert sorted(file.name for file in before.path.parent.iterdir()) == ["store", "text"]


def test_other_folders_are_not_overwritten(database: TextDatabase, tmp_path: Path) -> None:
    database.limits(database.result("13TeV/CMS/CMS-1"))
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.tex").write_text("x")
    with pytest.raises(StoreError, match="is not a results store"):
        import_text_database(database.root, tmp_path / "precious", num_workers=0)
    assert (tmp_path / "precious" / "thesis.tex").exists()
    (tmp_path / "empty").mkdir()
    assert import_text_database(database.root, tmp_path / "empty", num_workers=0).map_txnames == ("T2tt",)


def test_incompatible_version_says_how_to_rebuild(database: TextDatabase) -> None:
    database.limits(database.result("13TeV/CMS/CMS-1"))
    path = load(database).path
    meta = json.loads((path / "meta.json").read_text())
    (path / "meta.json").write_text(json.dumps({**meta, "format": 0}))
    with pytest.raises(
        StoreError, match=r"has format 0, this version reads format \d+; rebuild it with 'protomodels results import PATH'\.$"
    ):
        open_store(path)


def test_damaged_store_says_how_to_rebuild(database: TextDatabase) -> None:
    database.limits(database.result("13TeV/CMS/CMS-1"))
    path = load(database).path
    data = (path / "values.npy").read_bytes()
    for damage in (data[:-8], b"", None):
        if damage is None:
            (path / "values.npy").unlink()
        else:
            (path / "values.npy").write_bytes(damage)
        with pytest.raises(StoreError, match=r"is damaged; rebuild it with 'protomodels results import PATH'\.$"):
            open_store(path)
    (path / "meta.json").write_text("{")
    with pytest.raises(StoreError, match="is damaged"):
        open_store(path)
    with pytest.raises(StoreError, match="There is no results store at"):
        open_store(path / "elsewhere")


def test_arrays_are_mapped_read_only_and_shared(database: TextDatabase) -> None:
    database.limits(database.result("13TeV/CMS/CMS-1"))
    store = load(database)
    with pytest.raises(ValueError, match="read-only"):
        store.values[0] = 1.0
    base = store.values
    while not isinstance(base, np.memmap):
        assert base.base is not None
        base = base.base
    pickled = pickle.dumps(store)
    assert len(pickled) < 500, "a pickled store carries its path only"
    assert pickle.loads(pickled).content_hash == store.content_hash  # noqa: S301


def test_workers_give_the_same_content(database: TextDatabase, tmp_path: Path) -> None:
    for k in range(3):
        database.limits(database.result(f"13TeV/CMS/CMS-{k}"), upperLimits=mass_rows([f"{k + j + 1}*fb" for j in range(7)]))
    here = load(database)
    seen: list[tuple[int, int, str]] = []
    there = import_text_database(database.root, tmp_path / "workers", 2, lambda done, total, folder: seen.append((done, total, folder)))
    assert there.content_hash == here.content_hash
    np.testing.assert_array_equal(there.values, here.values)
    assert [entry[:2] for entry in seen] == [(1, 3), (2, 3), (3, 3)]
    assert {entry[2] for entry in seen} == {f"13TeV/CMS/CMS-{k}" for k in range(3)}


def test_error_in_a_worker_is_the_same_sentence(database: TextDatabase, tmp_path: Path) -> None:
    for k in range(3):
        database.limits(database.result(f"13TeV/CMS/CMS-{k}"))
    broken = database.root / "13TeV/CMS/CMS-1/data/T2tt.txt"
    write_map(broken, "T2tt", "[[['t']],[['t']]]", {"upperLimits": "[[[[1*GeV],[1*GeV]],1*pb"})
    with pytest.raises(ResultsFormatError, match=r"^13TeV/CMS/CMS-1/data/T2tt\.txt, line 6: cannot read 'upperLimits'"):
        import_text_database(database.root, tmp_path / "workers", 2)
    assert not (tmp_path / "workers").exists()


def test_default_places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PROTOMODELS_STORE", str(tmp_path / "mine"))
    assert default_store_path() == tmp_path / "mine"
    monkeypatch.delenv("PROTOMODELS_STORE")
    monkeypatch.setenv("PROTOMODELS_CACHE", str(tmp_path / "cache"))
    assert default_store_path() == tmp_path / "cache" / "results" / "3.0.0"
    monkeypatch.delenv("PROTOMODELS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_store_path() == tmp_path / "xdg" / "protomodels" / "results" / "3.0.0"


def test_a_place_that_cannot_be_written_is_named_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StoreError, match="Cannot write a results store at"):
        import_text_database(tmp_path / "absent", tmp_path / "file" / "store", num_workers=0)
