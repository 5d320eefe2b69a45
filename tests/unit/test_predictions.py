"""Predictions on small databases whose every number can be checked by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from database.results.importer import import_text_database
from inference.clustering import LimitHit, cluster_hits
from inference.interpolation import MAX_FULL, build_grid_arrays, evaluate_columns, rescale_width, round_to_six_digits
from inference.lookup import LookUp
from inference.predictions import Predictor
from inference.settings import Conventions, PredictionSettings
from inference.spectrum import Spectrum
from inference.types import PredictionKind, Predictions
from tests.text_database import GRID_MASSES, TextDatabase, mass_rows

Build = Callable[[Callable[[TextDatabase], None]], Predictor]


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """Compiles a database that a function writes; returns its predictor."""

    def make(write: Callable[[TextDatabase], None], settings: PredictionSettings | None = None) -> Predictor:
        text = TextDatabase(tmp_path / "text")
        write(text)
        return Predictor(import_text_database(text.root, tmp_path / "store", num_workers=0), settings or PredictionSettings())

    return make


def stops(mass: float, lbp: float, xsec_fb: float = 10.0) -> Spectrum:
    return Spectrum({1000006: mass, 1000022: lbp}, {1000006: (((6, 1000022), 1.0),)}, {13: {(-1000006, 1000006): xsec_fb}})


def only(found: Predictions, kind: PredictionKind) -> int:
    (i,) = np.flatnonzero(found.kind == kind).tolist()
    return int(i)


def write_one_of_each(text: TextDatabase) -> None:
    text.limits(text.result("13TeV/CMS/CMS-SUS-20-001"))
    text.efficiencies(text.region(text.result("13TeV/ATLAS/ATLAS-SUSY-2019-01-eff"), "SR1"))


def test_at_a_grid_point_the_published_values_come_back(build: Build) -> None:
    predictor = build(write_one_of_each)
    for number, (mass, lbp) in enumerate(GRID_MASSES):
        if lbp == 0.0 or mass - lbp < 10.0:
            continue  # masses below 1 GeV are raised
        found = predictor.predict(stops(mass, lbp))
        limit, region = only(found, PredictionKind.UPPER_LIMIT), only(found, PredictionKind.EFFICIENCY_MAP)
        assert found.ul_obs_fb[limit] == pytest.approx(number + 1.5, rel=1e-6)
        assert found.xsec_fb[limit] == 10.0
        assert found.xsec_fb[region] == pytest.approx(10.0 * 0.01 * (number + 1), rel=1e-6)
        assert (found.ul_obs_fb[region], found.ul_exp_fb[region]) == pytest.approx((0.05, 0.04))
        assert math.isnan(found.ul_exp_fb[limit])
        assert found.pids[region] == {1000006, 1000022}


def test_between_grid_points_values_are_linear(build: Build) -> None:
    found = build(write_one_of_each).predict(stops(300.0, 50.0))
    # (200, 0), (200, 100), (400, 0), (400, 100) have 1.5, 2.5, 3.5, 4.5 fb: a plane
    assert found.ul_obs_fb[only(found, PredictionKind.UPPER_LIMIT)] == pytest.approx(3.0, rel=1e-6)


def test_outside_the_map_there_is_nothing(build: Build) -> None:
    predictor = build(write_one_of_each)
    assert predictor.predict(stops(700.0, 100.0)).result.size == 0
    assert predictor.predict(stops(300.0, 250.0)).result.size == 0
    assert predictor.predict(Spectrum({1000022: 100.0}, {}, {})).result.size == 0


def test_unequal_branches_count_while_the_value_hardly_changes(build: Build) -> None:
    def flat(text: TextDatabase) -> None:
        text.limits(text.result("13TeV/CMS/CMS-SUS-20-001"), upperLimits=mass_rows(["5.*fb"] * len(GRID_MASSES)))

    def squarks(heavier: float) -> Spectrum:
        return Spectrum(
            {1000006: 400.0, 2000006: heavier, 1000022: 50.0},
            {1000006: (((6, 1000022), 1.0),), 2000006: (((6, 1000022), 1.0),)},
            {13: {(-1000006, 2000006): 10.0}},
        )

    predictor = build(flat)
    assert predictor.predict(squarks(420.0)).ul_obs_fb.tolist() == [5.0]
    steep = Predictor(predictor.store, PredictionSettings())
    assert steep.predict(squarks(1400.0)).result.size == 0


def test_only_one_of_related_topologies_counts(build: Build) -> None:
    """A soft decay is compressed: original and copy fit two maps of one region, the heavier weight wins."""

    def two_maps(text: TextDatabase) -> None:
        region = text.region(text.result("13TeV/CMS/CMS-SUS-20-002"), "SR1")
        text.efficiencies(region, "T2tt", scale=0.01)
        masses = [(m, d + 5.0, d) for m, d in GRID_MASSES]
        rows = ",\n".join(f"[[[{m}*GeV,{i}*GeV,{d}*GeV],[{m}*GeV,{i}*GeV,{d}*GeV]],0.02]" for m, i, d in masses)
        text.efficiencies(region, "T6ttZZ", "[[['t'],['Z']],[['t'],['Z']]]", efficiencyMap=f"[{rows}]")

    spectrum = Spectrum(
        {1000006: 400.0, 1000023: 105.0, 1000022: 100.0},
        {1000006: (((6, 1000023), 1.0),), 1000023: (((23, 1000022), 1.0),)},
        {13: {(-1000006, 1000006): 10.0}},
    )
    predictor = build(two_maps)
    found = predictor.predict(spectrum)
    i = only(found, PredictionKind.EFFICIENCY_MAP)
    assert found.xsec_fb[i] == pytest.approx(10.0 * 0.04)  # not 0.04 + 0.02
    assert [predictor.store.map_txnames[number] for number in found.map_ids[i]] == ["T2tt"]
    assert 1000023 in found.pids[i]


def test_conditions_drop_a_prediction_by_default_and_are_reported_otherwise(build: Build) -> None:
    def sleptons(text: TextDatabase) -> None:
        result = text.result("13TeV/CMS/CMS-SUS-20-003")
        text.limits(
            result, "TSlepSlep", "[[['mu+']],[['mu-']]]+[[['e+']],[['e-']]]", condition="Cgtr([[['mu+']],[['mu-']]],[[['e+']],[['e-']]])"
        )

    def model(muons_fb: float) -> Spectrum:
        return Spectrum(
            {1000011: 300.0, 1000013: 300.0, 1000022: 50.0},
            {1000011: (((11, 1000022), 1.0),), 1000013: (((13, 1000022), 1.0),)},
            {13: {(-1000011, 1000011): 10.0, (-1000013, 1000013): muons_fb}},
        )

    predictor = build(sleptons)
    assert predictor.predict(model(10.0)).xsec_fb.tolist() == [20.0]
    assert predictor.predict(model(2.0)).result.size == 0
    lenient = Predictor(predictor.store, PredictionSettings(conventions=Conventions.SMODELS))
    assert lenient.predict(model(2.0)).condition_violation.tolist() == [pytest.approx(8.0 / 12.0)]


def test_a_prompt_search_does_not_see_long_lived_particles(build: Build) -> None:
    predictor = build(write_one_of_each)
    prompt = predictor.predict(stops(400.0, 100.0))
    slow = stops(400.0, 100.0)
    slow = Spectrum(slow.masses, slow.decays, slow.xsecs_fb, {1000006: 1e-18})
    assert predictor.predict(slow).result.size == 0 or predictor.predict(slow).xsec_fb.max() < 0.1 * prompt.xsec_fb.max()
    fast = Spectrum(slow.masses, slow.decays, slow.xsecs_fb, {1000006: 1e-3})
    assert predictor.predict(fast).xsec_fb.tolist() == prompt.xsec_fb.tolist()


def test_clusters_add_similar_limits_and_keep_the_others_apart() -> None:
    def limit_at(x: tuple[float, ...]) -> float:
        return x[0] / 100.0

    hits = [LimitHit(n, w, m / 100.0, (m,), (m, 1.0)) for n, (w, m) in enumerate([(10.0, 800.0), (30.0, 820.0), (5.0, 1600.0)])]
    for conventions in Conventions:
        together, alone = cluster_hits(hits, limit_at, conventions)
        assert (together.weight_fb, together.coordinates, together.limit_fb) == (40.0, (815.0,), 8.15)
        assert (alone.weight_fb, alone.limit_fb) == (5.0, 16.0)


def test_a_cluster_is_refused_where_its_average_is_outside_the_map() -> None:
    hits = [LimitHit(0, 1.0, 10.0, (800.0,), (800.0, 1.0)), LimitHit(1, 1.0, 10.5, (820.0,), (820.0, 1.0))]
    assert len(cluster_hits(hits, lambda x: math.nan, Conventions.DEFAULT)) == 2


@pytest.mark.parametrize(
    ("value", "expected"), [(0.00139753249, 0.00139753), (123456.7, 123457.0), (0.0, 0.0), (99.27864999, 99.2786), (1e-300, 1e-300)]
)
def test_six_significant_digits(value: float, expected: float) -> None:
    assert round_to_six_digits(value) == pytest.approx(expected, rel=1e-12, abs=0.0)


def test_widths_are_transformed() -> None:
    assert rescale_width(1e-12) == pytest.approx(math.log(1e18), rel=1e-12)
    assert rescale_width(0.0) == 0.0


def test_degenerate_maps_do_not_break_the_look_up(build: Build) -> None:
    def degenerate(text: TextDatabase) -> None:
        result = text.result("13TeV/CMS/CMS-SUS-20-004")
        masses = [(200.0, 100.0), (300.0, 100.0), (400.0, 100.0)]
        text.limits(result, "T2tt", upperLimits=mass_rows(["1.*fb", "2.*fb", "3.*fb"], masses))
        single = mass_rows(["7.*fb"], [(300.0, 100.0)])
        text.limits(result, "T2bb", "[[['b']],[['b']]]", upperLimits=single)

    predictor = build(degenerate)
    arrays = build_grid_arrays(predictor.store)
    out = np.empty(1)
    for grid in range(len(arrays.dim)):
        evaluate_columns(grid, np.full(MAX_FULL, 300.0), np.zeros(1, dtype=np.int32), arrays, out)
    found = predictor.predict(stops(250.0, 100.0))
    assert found.ul_obs_fb.tolist() == [pytest.approx(1.5)]


def test_what_is_remembered_is_bounded_and_never_changes_an_answer(build: Build) -> None:
    predictor = build(write_one_of_each)
    tight = LookUp(predictor.store, capacity=3, max_topologies=2)
    masses = [(400.0 + 10.0 * k, 60.0 + k) for k in range(12)]
    expected = [predictor.predict(stops(mass, lbp)).xsec_fb.tolist() for mass, lbp in masses]
    predictor.look_up = tight
    for _ in range(2):
        assert [predictor.predict(stops(mass, lbp)).xsec_fb.tolist() for mass, lbp in masses] == expected
    assert tight.num_forgotten > 5
    assert tight.values.atom.size >= 2

    mixed = Spectrum(
        {1000006: 400.0, 1000022: 50.0, 1000005: 420.0, 1000001: 500.0},
        {1000006: (((6, 1000022), 1.0),), 1000005: (((5, 1000022), 1.0),), 1000001: (((1, 1000022), 1.0),)},
        {13: {(-1000006, 1000006): 10.0, (-1000005, 1000005): 10.0, (-1000001, 1000001): 10.0}},
    )
    assert predictor.predict(mixed).xsec_fb.size == 2  # three topologies at once are more than are remembered
