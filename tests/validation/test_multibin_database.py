"""Limits with the full database: the library's numbers, pyhf's own numbers, workspaces under other names, the catalogue's facts."""

from __future__ import annotations

import io
import json
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from builder.model_io import parse_models
from database.results.store import ResultsStore
from database.searches.catalogue import FOLDER, load_catalogue
from database.searches.records import read_region_map
from inference.analysis_models.registry import find_analysis_model
from inference.limits import compute_cls, find_expected_limits, find_upper_limit
from inference.multibin.book import AnalysisBook, efficiency_results, read_user_workspaces
from inference.multibin.run import SignalInput, run_signal
from inference.multibin.settings import Backend, ModelChoice, MultibinSettings
from inference.multibin.yields import AnalysisYields, SignalEvents, predicted_yields
from inference.predictions import Predictor
from inference.rows import prediction_rows
from inference.settings import Conventions, PredictionSettings
from services.cli.app import main

pytestmark = pytest.mark.full_database

AT_HAND = [name for name, search in load_catalogue().items() if search.entry.result is not None]


def signal_for(book: AnalysisBook, name: str, scale: float = 0.3) -> AnalysisYields:
    """0.3 √(b + 1) events in every signal region."""
    analysis = book.find(name)
    return AnalysisYields(
        regions={
            region: SignalEvents(events=scale * float(np.sqrt(background + 1.0)))
            for region, background in zip(analysis.regions, analysis.background, strict=True)
            if np.isfinite(background) and not region.startswith("CR")
        }
    )


@pytest.mark.parametrize("name", AT_HAND)
def test_the_searches_of_the_catalogue_have_the_limits_of_the_library(full_store: ResultsStore, name: str) -> None:
    """Where the results have a statistical model, the same answer as a direct call gives; else a simplified model has one."""
    book = AnalysisBook(full_store)
    record = efficiency_results(full_store)[book.find(name).name]
    yields = signal_for(book, name)
    has_model = record.stat_model != "none"
    settings = MultibinSettings(model=ModelChoice.FULL if has_model else ModelChoice.SIMPLE)
    (found,) = run_signal(SignalInput("test", {name: yields}), book, settings).record.analyses
    assert found.limits.outcome.value == "ok" and found.model is not None and found.model.kind != "single_region"
    if has_model:
        model = find_analysis_model(full_store, record.index, Conventions.DEFAULT)
        assert model is not None
        likelihood = model.likelihood(book.find(name).vector({k: v.events for k, v in yields.regions.items()})[: record.num_combined])
        assert found.limits.mu_ul_obs == find_upper_limit(likelihood).mu_ul
        assert found.limits.mu_ul_exp == find_expected_limits(likelihood).values
        assert found.limits.cls_obs == compute_cls(likelihood).observed


def test_the_facts_of_the_catalogue_are_those_of_the_database(full_store: ResultsStore) -> None:
    results = efficiency_results(full_store)
    for name in AT_HAND:
        search = load_catalogue()[name]
        record = results[search.entry.result or ""]
        regions = set(full_store.dataset_ids[record.dataset_start : record.dataset_stop])
        assert search.entry.arxiv in record.arxiv
        assert (search.entry.experiment, search.entry.lumi_ifb) == (record.experiment, record.lumi_ifb)
        for members in search.entry.sets.values():
            assert regions.issuperset(members)
        for region_map in search.maps:
            extra = {region for region, place in region_map.regions.items() if place.type == "SR"} - regions
            assert all("1l1T" in region for region in extra)


# ---------------------------------------------------------------------------------------------------------------- pyhf


def add_signal(spec: dict[str, Any], poi: str, yields: dict[str, list[float]]) -> dict[str, Any]:
    """The workspace with a signal sample, as users of pyhf write it."""
    has_lumi = any(entry["name"] == "lumi" for entry in spec["measurements"][0]["config"]["parameters"])
    modifiers = [{"name": poi, "type": "normfactor", "data": None}]
    modifiers += [{"name": "lumi", "type": "lumi", "data": None}] if has_lumi else []
    channels = [
        {**entry, "samples": [*entry["samples"], {"name": "signal", "data": yields[entry["name"]], "modifiers": modifiers}]}
        for entry in spec["channels"]
    ]
    return {**spec, "channels": channels}


@pytest.mark.filterwarnings("ignore:jsonschema.RefResolver:DeprecationWarning")
@pytest.mark.parametrize(("name", "scale"), [("ATLAS-SUSY-2018-14", 1.0), ("ATLAS-SUSY-2018-32", 0.3)])
def test_limits_agree_with_pyhf(full_store: ResultsStore, name: str, scale: float) -> None:
    """CLs and limits, observed and expected, within 0.2 % of pyhf's; pyhf as our backend gives the same."""
    pyhf = pytest.importorskip("pyhf")
    book = AnalysisBook(full_store)
    yields = signal_for(book, name, scale)
    signal = SignalInput("test", {name: yields})
    (full,) = run_signal(signal, book, MultibinSettings()).record.analyses
    through = MultibinSettings(model=ModelChoice.FULLPYHF, backend=Backend.NUMPY)
    (backend,) = run_signal(signal, book, through).record.analyses
    assert full.model is not None and backend.model is not None and (full.model.backend, backend.model.backend) == ("numba", "numpy")

    record = efficiency_results(full_store)[name]
    (workspace,) = [entry for entry in record.stat_payload.workspaces if entry.file == full.model.set]
    spec = json.loads((full_store.path / workspace.path).read_text())
    sizes = {entry["name"]: len(entry["data"]) for entry in spec["observations"]}
    events: dict[str, list[float]] = {channel: [0.0] * size for channel, size in sizes.items()}
    places = [(channel, k) for channel, size in sizes.items() if not channel.startswith("CR") for k in range(size)]
    for region, (channel, k) in zip(workspace.regions, places, strict=True):
        events[channel][k] = yields.regions[region.smodels or ""].events
    poi = spec["measurements"][0]["config"]["poi"]
    pyhf.set_backend("numpy", precision="64b")
    joined = pyhf.Workspace(add_signal(spec, poi, events))
    model = joined.model(modifier_settings={"normsys": {"interpcode": "code4"}, "histosys": {"interpcode": "code4p"}})
    data = joined.data(model)
    observed, expected = pyhf.infer.hypotest(1.0, data, model, test_stat="qtilde", return_expected_set=True)
    for ours in (full.limits, backend.limits):
        assert ours.cls_obs == pytest.approx(float(observed), rel=2e-3)
        assert ours.cls_exp == pytest.approx([float(value) for value in expected], rel=2e-3)
    assert full.limits.mu_ul_obs is not None
    top = 4.0 * full.limits.mu_ul_obs
    limit, band = pyhf.infer.intervals.upper_limits.toms748_scan(data, model, 0.05 * top, top, rtol=1e-4)
    for ours in (full.limits, backend.limits):
        assert ours.mu_ul_obs == pytest.approx(float(limit), rel=2e-3)
        assert ours.mu_ul_exp == pytest.approx([float(value) for value in band], rel=2e-3)


# ------------------------------------------------------------------------------------------------- users' workspaces


def copy_workspaces(store: ResultsStore, folder: Path) -> None:
    """The full workspaces of ATLAS-SUSY-2018-31: one under another name, all in an archive laid out as on HEPData."""
    record = efficiency_results(store)["ATLAS-SUSY-2018-31"]
    with tarfile.open(folder / "likelihoods.tar.gz", "w:gz") as tar:
        for workspace in record.stat_payload.full_workspaces:
            content = (store.path / workspace.path).read_bytes()
            letter = workspace.file.removesuffix(".json")[-1]
            member = tarfile.TarInfo(f"HEPData/Region{letter}/BkgOnly.json")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
            if letter == "C":
                (folder / "dropped-in.json").write_bytes(content)


def test_a_dropped_in_workspace_works_from_end_to_end(
    full_store: ResultsStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A published workspace as a new analysis with names of the user's own, through the command line."""
    monkeypatch.chdir(tmp_path)
    copy_workspaces(full_store, tmp_path)
    places = "\n".join(f'  bin{k}: "SR_metsigST[{k}]"' for k in range(4))
    (tmp_path / "map.yaml").write_text(f"analysis: MY-SEARCH\nexperiment: ATLAS\nsqrts_tev: 13\nregions:\n{places}\n")
    book = AnalysisBook(full_store)
    own = signal_for(book, "ATLAS-SUSY-2018-31").regions
    events = {f"bin{k}": own[f"SRC_{22 + 2 * k}"].events for k in range(4)}
    document = {"format": "protomodels-yields", "version": 1, "analyses": {"MY-SEARCH": {"regions": events}}}
    (tmp_path / "yields.json").write_text(json.dumps(document))
    arguments = ["yields.json", "--workspace", "dropped-in.json", "--regions", "map.yaml", "--results", str(full_store.path), "--json"]
    monkeypatch.setattr(sys, "argv", ["protomodels", "limits", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    (found,) = json.loads(capsys.readouterr().out)["inputs"][0]["analyses"]
    region_c = AnalysisYields(regions={f"SRC_{22 + 2 * k}": own[f"SRC_{22 + 2 * k}"] for k in range(4)})
    (expected,) = run_signal(SignalInput("test", {"ATLAS-SUSY-2018-31": region_c}), book, MultibinSettings()).record.analyses
    assert found["limits"]["mu_ul_obs"] == pytest.approx(expected.limits.mu_ul_obs, rel=1e-9)
    assert found["limits"]["mu_ul_exp"] == pytest.approx(expected.limits.mu_ul_exp, rel=1e-9)
    assert found["model"]["kind"] == "full" and found["experiment"] == "ATLAS"


def test_an_archive_as_on_hepdata_needs_no_map(full_store: ResultsStore, tmp_path: Path) -> None:
    """The catalogue has the maps, and knows the workspaces by their content."""
    copy_workspaces(full_store, tmp_path)
    workspaces = read_user_workspaces([str(tmp_path / "likelihoods.tar.gz")], [], ["atlas_1908_03122"])
    assert [entry.regions.set_name for entry in workspaces] == ["A", "B", "C"]
    assert all("its content is that of BkgOnly" in entry.identity for entry in workspaces)
    book, plain = AnalysisBook(full_store, workspaces), AnalysisBook(full_store)
    signal = SignalInput("test", {"ATLAS-SUSY-2018-31": signal_for(plain, "ATLAS-SUSY-2018-31")})
    (found,), (expected,) = (run_signal(signal, one, MultibinSettings()).record.analyses for one in (book, plain))
    assert found.model is not None and found.model.set == "C"
    assert found.limits.mu_ul_obs == pytest.approx(expected.limits.mu_ul_obs, rel=1e-9)
    assert [entry.mu_ul_apriori for entry in found.sets] == pytest.approx([entry.mu_ul_apriori for entry in expected.sets], rel=1e-9)


def test_packaged_maps_fit_the_published_workspaces(full_store: ResultsStore) -> None:
    """Of the workspaces that the database has: every region is where the counts of the database are."""
    folder = FOLDER / "maps"
    files = {
        "ATLAS-SUSY-2018-31-A": "BkgOnlyA.json",
        "ATLAS-SUSY-2018-31-C": "BkgOnlyC.json",
        "ATLAS-SUSY-2018-16-Sleptons": "Sleptons_bkgonly.json",
    }
    for name, file in files.items():
        region_map = read_region_map(folder / f"{name}.yaml")
        record = efficiency_results(full_store)[region_map.analysis]
        payload = record.stat_payload
        (workspace,) = [entry for entry in (*payload.full_workspaces, *payload.workspaces) if entry.file == file]
        spec = json.loads((full_store.path / workspace.path).read_text())
        counts = {entry["name"]: entry["data"] for entry in spec["observations"]}
        observed = dict(
            zip(
                full_store.dataset_ids[record.dataset_start : record.dataset_stop],
                full_store.observed_n[record.dataset_start :],
                strict=False,
            )
        )
        for region, place in region_map.regions.items():
            assert counts[place.channel][place.bin] == observed[region], region


# -------------------------------------------------------------------------------------------------------------- models


def test_limits_of_a_model_are_those_of_its_predictions(full_store: ResultsStore) -> None:
    """μ_UL = UL/σ of the combined predictions, analysis by analysis."""
    (model,) = parse_models(
        json.dumps({"masses_gev": {"1000006": 700.0, "1000022": 100.0}, "branching_ratios": {"1000006": {"6,1000022": 1.0}}})
    )
    predictor = Predictor(full_store, PredictionSettings())
    predictions = predictor.predict(model.spectrum())
    yields = predicted_yields(predictions, full_store)
    found = run_signal(SignalInput("test", yields), AnalysisBook(full_store), MultibinSettings()).record
    limits = {entry.analysis: entry.limits.mu_ul_obs for entry in found.analyses}
    rows = [row for row in prediction_rows(predictor, predictions) if row["type"] == "combined"]
    assert rows
    for row in rows:
        assert limits[row["analysis"]] == pytest.approx(row["ul_obs_fb"] / row["xsec_fb"], rel=1e-9)
