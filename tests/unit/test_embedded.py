"""The embedded excerpt: what it holds, that it says it is approximate, and that its facts are the published ones."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest

from database.errors import StoreError
from database.results.archive import unpacked_database
from database.results.combinability import analysis_stem, build_combinability
from database.results.embedded import EMBEDDED_TEXT, open_embedded_store
from database.results.embedded.fit import LABEL, read_mass_grid, write_excerpt
from database.results.embedded.fitting import Fit, MassGrid, fit_map, grid_masses, written_error
from database.results.embedded.selection import SELECTION, Selection
from database.results.importer import import_text_database
from database.results.smodels_text import TextFile, read_tags
from database.results.store import ResultsStore

FULL_DATABASE = Path(os.environ.get("PROTOMODELS_SMODELS_DB", Path(__file__).parents[3] / "shared/data/smodels-database-3.0.0.tar.xz"))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ResultsStore:
    return import_text_database(EMBEDDED_TEXT, tmp_path_factory.mktemp("embedded") / "store")


def test_excerpt_spans_experiments_runs_and_kinds(store: ResultsStore) -> None:
    analyses = {analysis_stem(record.analysis_id) for record in store.results}
    assert 10 <= len(analyses) <= 15
    assert {(record.experiment, record.sqrts_tev) for record in store.results} == {("ATLAS", 8), ("ATLAS", 13), ("CMS", 8), ("CMS", 13)}
    kinds = {(record.kind, record.stat_model) for record in store.results}
    assert {("upperLimit", "none"), ("efficiencyMap", "none"), ("efficiencyMap", "sl_v1"), ("efficiencyMap", "sl_v2")} == kinds
    assert {record.folder for record in store.results} == {choice.folder for choice in SELECTION}
    hiscore_members = {"ATLAS-SUSY-2018-12", "ATLAS-SUSY-2018-08", "ATLAS-SUSY-2016-16", "ATLAS-SUSY-2013-16", "ATLAS-SUSY-2013-15"}
    assert hiscore_members | {"CMS-PAS-SUS-13-015", "CMS-SUS-16-050", "CMS-SUS-20-004", "CMS-SUS-13-011"} <= analyses


def test_excerpt_says_everywhere_that_it_is_approximate(store: ResultsStore) -> None:
    assert store.is_approximate
    assert store.text_version.endswith("-approximate")
    for record in store.results:
        assert record.is_approximate
        assert 0 < record.fit_error < 0.25
        assert record.arxiv or record.url
    assert LABEL in (EMBEDDED_TEXT / "README.txt").read_text()
    for path in EMBEDDED_TEXT.glob("*TeV/*/*/*/T*.txt"):
        tags, _ = read_tags(TextFile(path, EMBEDDED_TEXT))
        assert tags["approximate"] is True
        assert 0 < float(str(tags["fitError"])) <= float(str(tags["fitErrorMax"]))
        coefficients = tags["fitCoefficients"]
        assert isinstance(coefficients, list)
        assert 6 <= len(coefficients) <= 15, "a few coefficients per map"


def test_excerpt_is_small() -> None:
    assert sum(path.stat().st_size for path in EMBEDDED_TEXT.rglob("*.txt")) < 1_500_000


def test_maps_are_what_their_coefficients_say(store: ResultsStore) -> None:
    path = EMBEDDED_TEXT / "13TeV/ATLAS/ATLAS-SUSY-2016-16-eff/tN_med/T2tt.txt"
    tags, _ = read_tags(TextFile(path, EMBEDDED_TEXT))
    rows = np.array(tags["fitCoefficients"], dtype=float)
    origin, scale = (np.array(tags[tag], dtype=float) for tag in ("fitOrigin", "fitScale"))
    fit = Fit(rows[:, :2].astype(int), rows[:, 2], (origin[0], origin[1]), (scale[0], scale[1]), 0.0, 1.0)
    index = next(
        m for m, name in enumerate(store.map_txnames) if name == "T2tt" and store.dataset_ids[int(store.map_dataset[m])] == "tN_med"
    )
    grid = read_mass_grid(store, index)
    assert grid is not None
    assert fit.evaluate(grid.masses) == pytest.approx(grid.values, rel=2e-3)
    at_700_100 = fit.evaluate(np.array([[700.0, 100.0]]))[0]
    assert at_700_100 == pytest.approx(0.02805, rel=0.1), "published efficiency at (700, 100) GeV"


def test_excerpt_combines_across_experiments(store: ResultsStore) -> None:
    matrix = build_combinability(store)
    names = {record.folder.rpartition("/")[2]: record.index for record in store.results}
    hiscore = [
        "ATLAS-SUSY-2018-12-eff", "ATLAS-SUSY-2018-08-eff", "ATLAS-SUSY-2016-16-eff", "ATLAS-SUSY-2013-16-eff",
        "ATLAS-SUSY-2013-15-eff", "CMS-PAS-SUS-13-015-eff", "CMS-SUS-16-050-agg", "CMS-SUS-13-011-eff", "CMS-SUS-20-004-eff",
    ]  # fmt: skip
    chosen = np.array([names[name] for name in hiscore])
    is_combinable = matrix.is_combinable[np.ix_(chosen, chosen)] | np.eye(len(chosen), dtype=bool)
    clashes = [(hiscore[i], hiscore[j]) for i, j in np.argwhere(~is_combinable) if i < j]
    assert clashes == [("CMS-SUS-16-050-agg", "CMS-SUS-20-004-eff")], "members of one hiscore; its newer matrix lists this pair too"
    assert not matrix.is_combinable[names["CMS-SUS-16-050-agg"], names["CMS-SUS-16-050"]]


def _open_hash(cache: str) -> str:
    os.environ["PROTOMODELS_CACHE"] = cache
    return open_embedded_store().content_hash


@pytest.mark.slow
def test_several_processes_may_open_the_excerpt_at_once(tmp_path: Path, store: ResultsStore) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        hashes = pool.map(_open_hash, [str(tmp_path)] * 3, chunksize=1)
    assert hashes == [store.content_hash] * 3
    assert len(list((tmp_path / "results").iterdir())) == 1, "one store and nothing left over"


# ------------------------------------------------------------------------------------------------------------- the fits


def build_map(is_limit: bool) -> MassGrid:
    masses = np.array([(m, n) for m in np.arange(200.0, 1001, 50) for n in np.arange(0.0, m - 99, 50)])
    x, y = np.log(masses[:, 0] / 500), np.log((masses[:, 0] - masses[:, 1]) / 300)
    return MassGrid(masses, np.exp((3 if is_limit else -4) - 1.5 * x * (1 if is_limit else -1) - 0.4 * y + 0.2 * y**2))


@pytest.mark.parametrize("is_limit", [True, False])
def test_fit_recovers_a_map_of_its_own_form(is_limit: bool) -> None:
    published = build_map(is_limit)
    fit = fit_map(published, is_limit)
    assert fit is not None
    assert len(fit.coefficients) == 6, "the lowest degree suffices"
    assert fit.evaluate(published.masses) == pytest.approx(published.values, rel=1e-3)


def test_grid_fills_the_hull_of_the_published_points() -> None:
    published = build_map(is_limit=False)
    masses = grid_masses(published, is_limit=False)
    assert masses is not None
    assert 60 <= len(masses) <= 120
    assert masses[:, 0].min() == 200
    assert masses[:, 0].max() == 1000
    gap = masses[:, 0] - masses[:, 1]
    assert gap.min() == pytest.approx(100, abs=1), "the edge of the published mass differences"
    fit = fit_map(published, is_limit=False)
    assert fit is not None
    error = written_error(published, masses, fit.evaluate(masses), is_limit=False)
    assert error.num_points > 0.9 * len(published.values)
    assert 0 < error.median < 0.02
    assert error.median < error.largest < 0.2


def test_maps_that_cannot_be_fitted_are_refused() -> None:
    published = build_map(is_limit=False)
    assert fit_map(MassGrid(published.masses[:10], published.values[:10]), is_limit=False) is None
    assert fit_map(MassGrid(published.masses, np.zeros_like(published.values)), is_limit=False) is None
    on_a_line = np.column_stack([np.arange(200.0, 400, 5), np.arange(100.0, 300, 5)])
    assert grid_masses(MassGrid(on_a_line, np.ones(len(on_a_line))), is_limit=False) is None


def test_excerpt_of_a_small_database(tmp_path: Path, store: ResultsStore) -> None:
    chosen = (Selection("8TeV/ATLAS/ATLAS-SUSY-2013-15-eff", ("T2tt",)), Selection("13TeV/CMS/CMS-SUS-20-004-eff", ("TChiHH",)))
    with pytest.raises(StoreError, match="is a fit already"):
        write_excerpt(store, tmp_path / "text", chosen)
    text = tmp_path / "published"
    for choice in chosen:
        for path in (EMBEDDED_TEXT / choice.folder).rglob("*.txt"):
            target = text / path.relative_to(EMBEDDED_TEXT)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text("\n".join(line for line in path.read_text().splitlines() if not line.startswith("approximate")))
    (text / "version").write_text("3.0.0")
    published = import_text_database(text, tmp_path / "published-store")
    written = write_excerpt(published, tmp_path / "text", chosen)
    assert {item.folder for item in written if item.is_kept} == {choice.folder for choice in chosen}
    excerpt = import_text_database(tmp_path / "text", tmp_path / "excerpt-store")
    assert excerpt.is_approximate
    for name in ("observed_n", "expected_bg", "bg_error", "third_moment", "ul_obs_fb", "ul_exp_fb"):
        assert np.array_equal(getattr(excerpt, name), getattr(published, name), equal_nan=True), name
    result = next(record.index for record in excerpt.results if record.stat_model == "sl_v2")
    assert np.array_equal(excerpt.covariance(result), published.covariance(result))
    with pytest.raises(StoreError, match="has no result"):
        write_excerpt(published, tmp_path / "text", (Selection("13TeV/CMS/CMS-SUS-99-999", ()),))


# ------------------------------------------------------------------------------------------------- the published facts


@pytest.mark.full_database
@pytest.mark.skipif(not FULL_DATABASE.exists(), reason="the full text database is not here")
def test_excerpt_repeats_the_published_counts(store: ResultsStore) -> None:
    facts = ("observed_n", "expected_bg", "bg_error", "third_moment", "ul_obs_fb", "ul_exp_fb")
    tags = ("observedN", "expectedBG", "bgError", "thirdMoment", "upperLimit", "expectedUpperLimit")
    num_compared = 0
    with unpacked_database(FULL_DATABASE) as root:
        for record in store.results:
            info, _ = read_tags(TextFile(root / record.folder / "globalInfo.txt", root))
            assert info["id"] == record.analysis_id
            if "covariance" in info:
                assert np.array_equal(store.covariance(record.index), np.array(info["covariance"], dtype=float))
            if record.kind == "upperLimit":
                continue
            published = {}
            for path in (root / record.folder).glob("*/dataInfo.txt"):
                values, _ = read_tags(TextFile(path, root))
                published[str(values["dataId"])] = values
            for dataset in range(record.dataset_start, record.dataset_stop):
                values = published[str(store.dataset_ids[dataset])]
                for fact, tag in zip(facts, tags, strict=True):
                    value = values.get(tag)
                    number = float("nan") if value is None else float(getattr(value, "magnitude", value))
                    assert getattr(store, fact)[dataset] == pytest.approx(number, rel=1e-12, nan_ok=True), (record.folder, dataset, tag)
                    num_compared += 1
    assert num_compared > 1000
