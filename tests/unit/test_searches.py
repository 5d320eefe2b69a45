"""Catalogue of searches, formats of tables and region maps, workspaces from files, archives and DOIs."""

from __future__ import annotations

import io
import json
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from database.searches import catalogue, workspaces
from database.searches.catalogue import find_search, load_catalogue
from database.searches.records import RegionMap, SearchFileError, read_region_map, read_table
from database.searches.workspaces import content_digest, fetch_doi, read_workspace_file, verify_digest
from tests.workspaces import make_workspace

SPEC = make_workspace({"SR_a": ([5.0, 3.0], [6.0, 2.0]), "CR": ([50.0], [48.0])})
DOI = "10.17182/hepdata.0.v1/r1"


def test_the_thirteen_searches_are_there() -> None:
    searches = load_catalogue()
    assert len(searches) == 13
    experiments = [search.entry.experiment for search in searches.values()]
    assert (experiments.count("ATLAS"), experiments.count("CMS")) == (9, 4)
    for search in searches.values():
        entry = search.entry
        assert entry.sources
        assert entry.result or search.table or entry.needed
        assert all(region_map.doi and region_map.member for region_map in search.maps)


@pytest.mark.parametrize("name", ["ATLAS-SUSY-2018-31", "atlas_1908_03122", "1908.03122", "arXiv:1908.03122"])
def test_searches_are_found_by_any_of_their_names(name: str) -> None:
    search = find_search(name)
    assert search is not None and search.entry.arxiv == "1908.03122"


def test_unknown_names_are_not_found() -> None:
    assert find_search("ATLAS-SUSY-1999-99") is None


def test_packaged_tables_hold_the_published_number_of_bins() -> None:
    bins = {name: len(search.table.regions) for name, search in load_catalogue().items() if search.table is not None}
    assert bins == {"ATLAS-SUSY-2018-21": 22, "ATLAS-HIGG-2018-26": 22}
    table = load_catalogue()["ATLAS-HIGG-2018-26"].table
    assert table is not None and sum(region.observed for region in table.regions) == 6339


TABLE: dict[str, Any] = {
    "analysis": "MINE",
    "experiment": "CMS",
    "sqrts_tev": 13,
    "lumi_ifb": 137,
    "source": "test",
    "regions": [{"name": name, "observed": 5, "background": 4.0, "background_error": 1.0} for name in ("A", "B")],
}
BAD_TABLES: dict[str, tuple[dict[str, Any], str]] = {
    "unknown field": ({"luminosity": 3}, "luminosity: this field is not known"),
    "negative count": ({"regions": [{**TABLE["regions"][0], "observed": -1}]}, "regions[0][observed]: input should be greater than"),
    "infinite background": (
        {"regions": [{**TABLE["regions"][0], "background": 1e400}]},
        "regions[0][background]: input should be a finite",
    ),
    "missing error": ({"regions": [{"name": "A", "observed": 1, "background": 1}]}, "regions[0][background_error]: this field is missing"),
    "region twice": ({"regions": [TABLE["regions"][0]] * 2}, "regions: A is listed twice"),
    "no regions": ({"regions": []}, "regions: tuple should have at least 1 item"),
    "unknown member": ({"sets": {"S": ["A", "C"]}}, "sets[S]: C is not one of the regions"),
    "overlapping disjoint sets": ({"sets": {"S": ["A"], "T": ["A", "B"]}, "sets_are_disjoint": True}, "sets_are_disjoint: two sets"),
    "covariance of another size": ({"covariance": [[1.0]]}, "covariance: expected 2 rows of 2 numbers"),
    "negative variance": ({"covariance": [[1.0, 0.0], [0.0, -1.0]]}, "covariance: the diagonal entry 1 is -1"),
    "lopsided covariance": ({"covariance": [[1.0, 0.5], [0.1, 1.0]]}, "covariance: entries (1, 0) and (0, 1) differ"),
    "correlation above 1": ({"correlation": [[2.0, 0.0], [0.0, 1.0]]}, "correlation: the diagonal entry 0 is 2, not 1"),
    "both": ({"covariance": [[1.0, 0.0], [0.0, 1.0]], "correlation": [[1.0, 0.0], [0.0, 1.0]]}, "covariance: give either"),
    "other experiment": ({"experiment": "LHCb"}, "experiment: input should be 'ATLAS' or 'CMS'"),
}


@pytest.mark.parametrize(("changes", "words"), BAD_TABLES.values(), ids=BAD_TABLES)
def test_bad_tables_are_refused_in_one_sentence(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    path = tmp_path / "table.json"
    path.write_text(json.dumps({**TABLE, **changes}))
    with pytest.raises(SearchFileError) as found:
        read_table(path)
    assert words in str(found.value) and str(found.value).startswith(str(path)) and "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is not valid JSON"),
        ('{"analysis": "A", "analysis": "B"}', "'analysis' is given twice"),
        ("analysis: A\nanalysis: B\n", "'analysis' is given twice at line 2"),
        ("[1, 2]", "expected a table of counts, found a list"),
        ("analysis: [\n", "is not YAML or JSON"),
    ],
)
def test_broken_files_say_where(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "table.yaml"
    path.write_text(text)
    with pytest.raises(SearchFileError) as found:
        read_table(path)
    assert words in str(found.value)
    with pytest.raises(SearchFileError, match="cannot be read"):
        read_table(tmp_path / "absent.yaml")


def test_places_in_a_region_map_are_read_in_every_form(tmp_path: Path) -> None:
    path = tmp_path / "map.yaml"
    path.write_text('analysis: A\nregions:\n  one: SR_a\n  two: "SR_a[1]"\n  three: {channel: CR, type: CR}\n')
    places = read_region_map(path).regions
    assert [(place.channel, place.bin, place.type) for place in places.values()] == [("SR_a", 0, "SR"), ("SR_a", 1, "SR"), ("CR", 0, "CR")]


@pytest.mark.parametrize(
    ("regions", "words"),
    [
        ({"one": "SR_a", "two": "SR_a[0]"}, "regions[two]: SR_a[0] is one already"),
        ({"one": {"channel": "SR_a", "bin": -1}}, "regions[one][bin]: input should be greater than or equal to 0"),
        ({"one": {"channels": "SR_a"}}, "regions[one][channel]: this field is missing"),
        ({"one": 3}, "regions[one]: input should be a valid dictionary"),
        ({}, "regions: dictionary should have at least 1 item"),
    ],
)
def test_bad_region_maps_name_the_region(tmp_path: Path, regions: dict[str, Any], words: str) -> None:
    path = tmp_path / "map.json"
    path.write_text(json.dumps({"analysis": "A", "regions": regions}))
    with pytest.raises(SearchFileError) as found:
        read_region_map(path)
    assert words in str(found.value)


# ---------------------------------------------------------------------------------------------------------- workspaces


def write_archives(folder: Path) -> tuple[Path, Path]:
    """Two archives with two workspaces and a patch set each."""
    content = {"Region/A/BkgOnly.json": json.dumps(SPEC), "Region/B/BkgOnly.json": json.dumps(SPEC), "patchset.json": '{"patches": []}'}
    tarball, zipped = folder / "workspaces.tar.gz", folder / "workspaces.zip"
    with tarfile.open(tarball, "w:gz") as tar:
        for name, text in content.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    with zipfile.ZipFile(zipped, "w") as archive:
        for name, text in content.items():
            archive.writestr(name, text)
    return tarball, zipped


def test_workspaces_come_from_files_and_archives(tmp_path: Path) -> None:
    plain = tmp_path / "BkgOnly.json"
    plain.write_text(json.dumps(SPEC, indent=3))
    first = read_workspace_file(str(plain))
    for archive in write_archives(tmp_path):
        second = read_workspace_file(f"{archive}#A/BkgOnly.json")
        assert second.member == "Region/A/BkgOnly.json"
        assert second.spec == first.spec and second.content_sha256 == first.content_sha256 == content_digest(SPEC)
        assert second.sha256 != first.sha256
        assert read_workspace_file(str(archive), "Region/B/BkgOnly.json").member == "Region/B/BkgOnly.json"


@pytest.mark.parametrize(
    ("member", "words"),
    [
        ("", "name one of its files after a #: Region/A/BkgOnly.json"),
        ("#BkgOnly.json", "holds several files named BkgOnly.json"),
        ("#C/BkgOnly.json", "holds no file named C/BkgOnly.json"),
        ("#patchset.json", "is no workspace with channels, observations and measurements (a patch set"),
    ],
)
def test_members_that_are_not_clear_are_listed(tmp_path: Path, member: str, words: str) -> None:
    for archive in write_archives(tmp_path):
        with pytest.raises(SearchFileError) as found:
            read_workspace_file(f"{archive}{member}")
        assert words in str(found.value)


def test_what_is_no_workspace_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    for text, words in (("[]", "is no workspace"), ("nonsense", "is not JSON"), ('{"channels": []}', "is no workspace")):
        path.write_text(text)
        with pytest.raises(SearchFileError, match=words):
            read_workspace_file(str(path))
    with pytest.raises(SearchFileError, match="there is no such file"):
        read_workspace_file(str(tmp_path / "absent.json"))
    with pytest.raises(SearchFileError, match="is not an archive"):
        read_workspace_file(f"{path}#member.json")


def test_digests_are_compared_where_they_are_stated(tmp_path: Path) -> None:
    path = tmp_path / "BkgOnly.json"
    path.write_text(json.dumps(SPEC))
    file = read_workspace_file(str(path))
    plain = {"analysis": "A", "regions": {"one": "SR_a"}}
    for field in ("sha256", "content_sha256"):
        good = RegionMap.model_validate({**plain, field: getattr(file, field)})
        assert "is the one that the region map states" in verify_digest(file, good)
        with pytest.raises(SearchFileError, match=f"{field} of the workspace is {getattr(file, field)}, the region map states 0000"):
            verify_digest(file, RegionMap.model_validate({**plain, field: 64 * "0"}))
    assert "no digest of it is known" in verify_digest(file, RegionMap.model_validate(plain))


# ----------------------------------------------------------------------------------------------------------- downloads


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """A resolver on this machine, and a cache of its own."""
    state: dict[str, Any] = {"status": 200, "body": json.dumps(SPEC).encode(), "requests": []}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state["requests"].append((self.path, self.headers["Accept"]))
            self.send_response(state["status"])
            self.send_header("Content-Length", str(len(state["body"])))
            self.end_headers()
            self.wfile.write(state["body"])

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        monkeypatch.setattr(workspaces, "cache_path", lambda: tmp_path / "cache")
        state["url"] = f"http://127.0.0.1:{http.server_port}/"
        yield state
        http.shutdown()


def test_a_doi_is_fetched_once(server: dict[str, Any]) -> None:
    path = fetch_doi(DOI, server["url"])
    assert fetch_doi(DOI, server["url"]) == path
    assert [request for request, _ in server["requests"]] == [f"/{DOI}"]
    assert server["requests"][0][1].startswith("application/x-tar")
    assert read_workspace_file(DOI).spec == SPEC == read_workspace_file(f"https://doi.org/{DOI}").spec


def test_downloads_that_fail_leave_nothing_behind(server: dict[str, Any], tmp_path: Path) -> None:
    for changes, words in (
        ({"status": 404}, r"\(the server answers 404\); download it by other means"),
        ({"status": 200, "body": b"<!doctype html>"}, "leads to a web page"),
    ):
        server.update(changes)
        with pytest.raises(SearchFileError, match=words):
            fetch_doi(DOI, server["url"])
    with pytest.raises(SearchFileError, match=r"cannot be fetched .*; download it by other means and name the file instead"):
        fetch_doi(DOI, "http://127.0.0.1:9/")
    assert not [file for file in (tmp_path / "cache").rglob("*") if file.is_file()]


def test_what_is_available_follows_the_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "doi_cache_path", lambda doi: tmp_path / "absent")
    rows = {row["analysis"]: row for row in catalogue.catalogue_rows({})}
    assert not rows["CMS-SUS-21-002"]["has_full"] and "results that hold CMS-SUS-21-002" in rows["CMS-SUS-21-002"]["missing"][0]
    assert rows["ATLAS-HIGG-2018-26"]["has_simple"] and not rows["ATLAS-HIGG-2018-26"]["has_full"]
    assert "10.17182/hepdata.90834" in " ".join(rows["CMS-SUS-19-005"]["missing"])
