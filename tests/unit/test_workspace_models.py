"""From published workspaces to the likelihood of an analysis: a small database, and every one of the real database."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from database.results.importer import import_text_database
from database.results.records import RegionRecord
from database.results.store import ResultsStore
from inference.analysis_models.histfactory import WorkspaceModel, place_workspace
from inference.analysis_models.placed import UnusableModelError
from inference.analysis_models.protocol import AnalysisLikelihood, AnalysisModel
from inference.analysis_models.region_sets import RegionSetsModel, SetLikelihood, find_region_sets
from inference.analysis_models.registry import find_analysis_model
from inference.likelihoods.histfactory import HistFactoryLikelihood
from inference.limits import AsimovConvention, LimitSettings, find_upper_limit, find_upper_limits
from inference.settings import Conventions
from inference.toys import ToySettings, find_toy_limit
from inference.types import DataKind, Outcome
from tests.text_database import TextDatabase
from tests.workspaces import make_workspace

CHANNELS = {"CR_cuts": ([50.0], [48.0]), "SR_b": ([5.0, 3.0], [6.0, 2.0]), "SR_a": ([2.0], [4.0])}
REGIONS = [RegionRecord(name, None) for name in ("one", "two", "three")]


def test_signals_reach_their_bins() -> None:
    """Bins are sorted by channel in the model; data sets come in the order of the store."""
    placed = place_workspace(make_workspace(CHANNELS, normalised=("CR_cuts", "SR_b")), REGIONS, [2, 0, 1])
    assert isinstance(placed.model, WorkspaceModel)
    assert placed.model.compiled.bins == (("CR_cuts", 0), ("SR_a", 0), ("SR_b", 0), ("SR_b", 1))
    assert placed.columns.tolist() == [-1, 1, 2, 0]
    assert isinstance(placed.model, AnalysisModel)


def test_signal_uncertainty_is_a_correlated_shift_of_the_signal() -> None:
    """With a relative uncertainty u the profiled ln L falls more slowly; the term is α²/2 at yields (1 + u α) s."""
    spec = make_workspace({"SR_a": ([100.0], [100.0])}, relative_error=1e-6)
    free, uncertain = (
        place_workspace(spec, REGIONS[:1], [0], signal_uncertainty=u).model.likelihood(np.array([40.0])) for u in (None, 0.22)
    )
    fitted = min(140.0 + 8.8 * a - 100.0 * math.log(140.0 + 8.8 * a) + 0.5 * a * a for a in np.linspace(-5.0, 1.0, 60001).tolist())
    nll_zero = 100.0 - 100.0 * math.log(100.0)
    assert uncertain.log_ratio(1.0).value == pytest.approx(nll_zero - fitted, abs=1e-6)
    assert free.log_ratio(1.0).value == pytest.approx(nll_zero - (140.0 - 100.0 * math.log(140.0)), abs=1e-6)


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"channels": [], "observations": []}, "regions"),
        ({"observations": [{"name": "SR_a", "data": [1.0, 2.0, 3.0]}]}, "KeyError"),
        (make_workspace({"SR_a": ([2.0], [4.0]), "SR_b": ([2.0, 1.0, 1.0], [1.0, 1.0, 1.0])}), "3 regions"),
    ],
)
def test_what_cannot_be_used_says_why(spec: dict[str, Any], reason: str) -> None:
    with pytest.raises(UnusableModelError, match=reason):
        place_workspace(spec, REGIONS, [0, 1, 2])


# ----------------------------------------------------------------------------------------------------- small database


FOLDER = "13TeV/ATLAS/ATLAS-SUSY-0000-01-eff"


def build_store(folder: Path, full: str | None) -> ResultsStore:
    """Three regions: A and B in one workspace, C in another; the first also in a full version."""
    database = TextDatabase(folder / "db", "3.0.0")
    lines = ["jsonFiles: {'first.json': ['A', 'B'], 'second.json': ['C']}"]
    if full is not None:
        lines.append("jsonFiles_FullLikelihood: {'full.json': ['A', 'B']}")
    result = database.result(FOLDER, *lines)
    for name in "ABC":
        database.efficiencies(database.region(result, name, observed=5, expected=5.0))
    first = {"SR_1": ([5.0], [8.0]), "SR_2": ([5.0], [4.0])}
    (result / "first.json").write_text(json.dumps(make_workspace(first)))
    (result / "second.json").write_text(json.dumps(make_workspace({"SR_3": ([5.0], [5.0])}, relative_error=0.1)))
    if full is not None:
        (result / "full.json").write_text(full)
    return import_text_database(folder / "db", folder / "store", num_workers=1)


def find_model(store: ResultsStore, conventions: Conventions = Conventions.DEFAULT) -> RegionSetsModel:
    model = find_analysis_model(store, 0, conventions)
    assert isinstance(model, RegionSetsModel)
    return model


def test_the_more_sensitive_workspace_speaks(tmp_path: Path) -> None:
    model = find_model(build_store(tmp_path, None))
    assert model.num_regions == 3
    assert isinstance(model.likelihood(np.ones(3)), AnalysisLikelihood)
    assert model.likelihood(np.array([1.0, 1.0, 0.5])).set_name == "first.json"
    assert model.likelihood(np.array([0.5, 0.5, 4.0])).set_name == "second.json"
    strong = model.likelihood(np.array([0.5, 0.5, 4.0]))
    assert strong.signal_slopes(1.0)[:2].tolist() == [0.0, 0.0]
    assert strong.signal_slopes(1.0)[2] != 0.0


def test_limits_and_toys_of_an_analysis_are_those_of_the_chosen_workspace(tmp_path: Path) -> None:
    model = find_model(build_store(tmp_path, None))
    likelihood = model.likelihood(np.array([2.0, 3.0, 0.0]))
    assert isinstance(likelihood, SetLikelihood) and isinstance(likelihood.inner, HistFactoryLikelihood)
    for convention in AsimovConvention:
        settings = LimitSettings(asimov=convention)
        assert find_upper_limits(likelihood, settings) == find_upper_limits(likelihood.inner, settings)
    moved, centred = (
        find_upper_limit(likelihood, settings=LimitSettings(asimov=a)).mu_ul for a in (AsimovConvention.MOVED, AsimovConvention.CENTRED)
    )
    assert find_upper_limit(likelihood).mu_ul == moved != centred  # HistFactory codes move auxiliary data
    assert likelihood.mu_min == likelihood.inner.mu_min < 0.0
    found = find_toy_limit(likelihood, ToySettings(num_toys=120))
    assert found.outcome is Outcome.OK and found.num_failed == 0
    assert abs(found.mu_ul - moved) < 4.0 * found.error + 0.1 * moved


def test_full_workspaces_come_first_and_simplified_ones_in_reserve(tmp_path: Path) -> None:
    full = json.dumps(make_workspace({"CR": ([90.0], [95.0]), "SR_1": ([5.0], [6.0]), "SR_2": ([5.0], [4.0])}, normalised=("CR", "SR_1")))
    store = build_store(tmp_path / "good", full)
    signal = np.array([2.0, 2.0, 0.0])
    assert find_model(store).likelihood(signal).file.file == "full.json"
    assert find_model(store, Conventions.SIMPLIFIED_WORKSPACES).likelihood(signal).file.file == "first.json"
    assert [entry.record.name for entry in find_region_sets(store, 0, Conventions.DEFAULT)] == ["full.json", "second.json"]
    broken = json.loads(full)
    broken["channels"][1]["samples"][0]["modifiers"][0]["type"] = "unheard_of"
    reserve = build_store(tmp_path / "bad", json.dumps(broken))
    model = find_model(reserve)
    assert model.likelihood(signal).file.file == "first.json"
    assert "unheard_of" in model.sets[0].problems[0]


def test_a_workspace_that_fits_nothing_leaves_single_regions(tmp_path: Path) -> None:
    database = TextDatabase(tmp_path / "db", "3.0.0")
    result = database.result(FOLDER, "jsonFiles: {'only.json': ['A', 'B']}")
    for name in "AB":
        database.efficiencies(database.region(result, name))
    (result / "only.json").write_text(json.dumps(make_workspace({"SR_1": ([5.0], [6.0])})))
    store = import_text_database(tmp_path / "db", tmp_path / "store", num_workers=1)
    assert find_analysis_model(store, 0, Conventions.DEFAULT) is None


# ------------------------------------------------------------------------------------------------------ real database


@pytest.mark.full_database
def test_every_published_workspace_has_a_working_model(full_store: ResultsStore) -> None:
    """Eight analyses, 19 workspaces: every data set of the analysis reaches a bin, all fits converge, limits are finite."""
    num_workspaces = 0
    analyses = [record for record in full_store.results if record.stat_model == "pyhf"]
    assert len(analyses) == 8
    for record in analyses:
        for conventions in (Conventions.DEFAULT, Conventions.SMODELS):
            model = find_analysis_model(full_store, record.index, conventions)
            assert isinstance(model, RegionSetsModel), record.analysis_id
            reached: set[int] = set()
            for entry in model.sets:
                placed = entry.placed(0)
                assert placed is not None and not entry.problems
                columns = placed[1].columns[placed[1].columns >= 0]
                assert len(set(columns.tolist())) == len(columns)
                reached.update(columns.tolist())
                num_workspaces += 1
                signal = np.zeros(model.num_regions)
                background = full_store.expected_bg[record.dataset_start : record.dataset_stop]
                signal[columns] = 0.3 * np.sqrt(background[columns] + 1.0)
                for kind in DataKind:
                    likelihood = entry.likelihood(signal, kind)
                    assert likelihood is not None and likelihood.outcome is Outcome.OK
                    limit = find_upper_limit(likelihood)
                    assert limit.outcome is Outcome.OK, (record.analysis_id, entry.record.name, kind)
                    assert 0.05 < limit.mu_ul < 100.0
            assert reached == set(range(model.num_regions)), record.analysis_id
    assert num_workspaces == 2 * 19


@pytest.mark.full_database
def test_observed_events_of_workspaces_are_those_of_the_data_sets(full_store: ResultsStore) -> None:
    """A region in the wrong bin would show here. Known exceptions: one event in two regions of a published full workspace."""
    exceptions = set()
    for record in (record for record in full_store.results if record.stat_model == "pyhf"):
        for entry in find_region_sets(full_store, record.index, Conventions.DEFAULT):
            placed = entry.placed(0)
            assert placed is not None and isinstance(placed[1].model, WorkspaceModel)
            for column, events in zip(placed[1].columns.tolist(), placed[1].model.compiled.observed.tolist(), strict=True):
                if column >= 0 and abs(full_store.observed_n[record.dataset_start + column] - events) > 1e-3:
                    exceptions.add((record.analysis_id, full_store.dataset_ids[record.dataset_start + column]))
    assert exceptions == {("ATLAS-SUSY-2019-09", "SRWZ_1"), ("ATLAS-SUSY-2019-09", "SRWZ_9")}


@pytest.mark.full_database
def test_analyses_whose_files_are_missing_stay_single_regions(full_store: ResultsStore) -> None:
    missing = {record.analysis_id: record for record in full_store.results if record.stat_payload.missing_files}
    assert set(missing) == {"ATLAS-SUSY-2018-32", "ATLAS-SUSY-2019-08"}
    assert find_analysis_model(full_store, missing["ATLAS-SUSY-2019-08"].index, Conventions.DEFAULT) is None
