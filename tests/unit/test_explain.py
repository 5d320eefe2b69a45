"""Explanations: every fate by hand on small databases, and agreement with the predictions on all reference models."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from builder.model_io import read_models
from database.results.importer import import_text_database
from database.results.store import ResultsStore
from inference.explain import explain
from inference.explanation import Explanation, MapReport
from inference.fates import CLOSENESS, FATE_WORDS, Fate
from inference.predictions import MIN_XSEC_FB, Predictor
from inference.settings import Conventions, PredictionSettings
from inference.spectrum import Spectrum
from inference.types import PredictionKind, Predictions
from tests.text_database import GRID_MASSES, TextDatabase, mass_rows

Build = Callable[[Callable[[TextDatabase], None]], Predictor]
XT, XZ2, LBP, XE, XMU = 1000006, 1000023, 1000022, 1000011, 1000013


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """Compiles a database that a function writes; returns its predictor."""

    def make(write: Callable[[TextDatabase], None]) -> Predictor:
        text = TextDatabase(tmp_path / "text")
        write(text)
        return Predictor(import_text_database(text.root, tmp_path / "store", num_workers=0), PredictionSettings())

    return make


def write_one_of_each(text: TextDatabase) -> None:
    text.limits(text.result("13TeV/CMS/CMS-SUS-20-001"))
    text.efficiencies(text.region(text.result("13TeV/ATLAS/ATLAS-SUSY-2019-01-eff"), "SR1"))


def stops(mass: float, lbp: float, at_13: float = 10.0, at_8: float = 0.0, width: float | None = None) -> Spectrum:
    xsecs = {13: {(-XT, XT): at_13}, 8: {(-XT, XT): at_8}}
    return Spectrum({XT: mass, LBP: lbp}, {XT: (((6, LBP), 1.0),)}, xsecs, {} if width is None else {XT: width})


def fates(explanation: Explanation, topology: int = 0) -> dict[str, Fate]:
    """Fate per analysis, where there is one only."""
    return {report.analysis_id: report.fate for report in explanation.topologies[topology].maps}


def only_report(explanation: Explanation) -> MapReport:
    ((report,),) = (topology.maps for topology in explanation.topologies)
    return report


def test_counted_topologies_come_with_their_values(build: Build) -> None:
    predictor = build(write_one_of_each)
    found = explain(predictor, stops(400.0, 100.0, at_8=2.0))
    limit, region = sorted(found.topologies[0].maps, key=lambda report: report.kind, reverse=True)
    assert (limit.fate, limit.value, limit.weight_fb) == (Fate.COUNTED, pytest.approx(4.5), 10.0)
    assert (region.fate, region.value, region.dataset_ids) == (Fate.COUNTED, pytest.approx(0.04), ("SR1",))
    at_8, at_13 = found.coverage
    assert (at_13.total_fb, at_13.covered_fb, at_13.missing_fb, at_13.cut_fb, at_13.num_results) == (10.0, 10.0, 0.0, 0.0, 2)
    assert (at_8.total_fb, at_8.covered_fb, at_8.missing_fb, at_8.num_results) == (2.0, 0.0, 2.0, 0)
    assert not found.missing
    assert found.topologies[0].describe() == "[-1000006(400) → t- 1000022(100)] + [1000006(400) → t+ 1000022(100)]"


def test_outside_names_the_axis_and_the_published_range(build: Build) -> None:
    predictor = build(write_one_of_each)
    report = explain(predictor, stops(700.0, 100.0)).topologies[0].maps[0]
    assert report.fate is Fate.OUTSIDE
    assert [(axis.quantity, axis.pids, axis.value, axis.is_outside) for axis in report.axes[:2]] == [
        ("mass", (XT,), 700.0, True), ("mass", (LBP,), 100.0, False),
    ]  # fmt: skip
    assert (report.axes[0].low, report.axes[0].high, report.axes[0].nearest) == (200.0, 600.0, 600.0)
    assert report.describe() == "outside the published masses: m(1000006) = 700 GeV, published 200 to 600 GeV"
    assert 0.0 < report.distance < 1.0


def test_a_gap_in_the_map_names_the_nearest_point(build: Build) -> None:
    report = explain(build(write_one_of_each), stops(300.0, 250.0)).topologies[0].maps[0]
    assert report.fate is Fate.OUTSIDE
    assert not any(axis.is_outside for axis in report.axes)
    assert "m(1000006) = 300 GeV, nearest published 400 GeV; m(1000022) = 250 GeV, nearest published 300 GeV" in report.describe()


def test_unequal_branches_are_off_the_plane(build: Build) -> None:
    predictor = build(write_one_of_each)
    two = {XT: (((6, LBP), 1.0),), 2000006: (((6, LBP), 1.0),)}
    found = explain(predictor, Spectrum({XT: 300.0, 2000006: 500.0, LBP: 50.0}, two, {13: {(-XT, 2000006): 10.0}}))
    assert set(fates(found).values()) == {Fate.OFF_PLANE}
    assert found.missing[0].closest is not None
    assert found.missing[0].closest.fate is Fate.OFF_PLANE


def test_a_map_of_a_single_point_says_so(build: Build) -> None:
    def write(text: TextDatabase) -> None:
        text.limits(text.result("13TeV/CMS/CMS-SUS-20-001"), upperLimits=mass_rows(["7.*fb"], [(400.0, 100.0)]))

    assert only_report(explain(build(write), stops(400.0, 100.0))).fate is Fate.SINGLE_POINT


def test_nothing_is_produced_at_the_energy_of_the_result(build: Build) -> None:
    found = explain(build(write_one_of_each), stops(700.0, 100.0, at_13=0.0, at_8=10.0))
    assert set(fates(found).values()) == {Fate.NO_PRODUCTION}
    found = explain(build(write_one_of_each), stops(400.0, 100.0, at_13=0.0, at_8=10.0))
    assert set(fates(found).values()) == {Fate.NO_PRODUCTION}


def test_long_lived_particles(build: Build) -> None:
    found = explain(build(write_one_of_each), stops(400.0, 100.0, width=1e-22))
    (topology,) = [topology for topology in found.topologies if topology.maps]
    assert {report.fate for report in topology.maps} == {Fate.LIFETIME}
    at_13 = found.coverage[1]
    assert at_13.total_fb == pytest.approx(40.0), "either stop may decay or leave"
    assert at_13.total_fb == pytest.approx(at_13.covered_fb + at_13.missing_fb + at_13.cut_fb)


def test_zero_efficiency_and_negligible_cross_section(build: Build) -> None:
    def write(text: TextDatabase) -> None:
        result = text.result("13TeV/ATLAS/ATLAS-SUSY-2019-01-eff")
        values = ["0.", "0.", "0.", "0.", "0.", "1.E-8", "1.E-8"]
        text.efficiencies(text.region(result, "SR1"), efficiencyMap=mass_rows(values))

    predictor = build(write)
    assert only_report(explain(predictor, stops(300.0, 50.0))).fate is Fate.NO_EFFICIENCY
    negligible = only_report(explain(predictor, stops(600.0, 200.0)))
    assert (negligible.fate, negligible.value) == (Fate.NEGLIGIBLE, pytest.approx(1e-8))


def test_the_heavier_of_two_related_topologies_counts(build: Build) -> None:
    def two_maps(text: TextDatabase) -> None:
        region = text.region(text.result("13TeV/CMS/CMS-SUS-20-002"), "SR1")
        text.efficiencies(region, "T2tt", scale=0.01)
        rows = ",\n".join(f"[[[{m}*GeV,{d + 5}*GeV,{d}*GeV],[{m}*GeV,{d + 5}*GeV,{d}*GeV]],0.02]" for m, d in GRID_MASSES)
        text.efficiencies(region, "T6ttZZ", "[[['t'],['Z']],[['t'],['Z']]]", efficiencyMap=f"[{rows}]")

    decays = {XT: (((6, XZ2), 1.0),), XZ2: (((23, LBP), 1.0),)}
    found = explain(build(two_maps), Spectrum({XT: 400.0, XZ2: 105.0, LBP: 100.0}, decays, {13: {(-XT, XT): 10.0}}))
    (short,) = [topology for topology in found.topologies if topology.is_seen]
    (long,) = [topology for topology in found.topologies if topology.maps and not topology.is_seen]
    assert short.is_compressed and not long.is_compressed
    assert short.origins == long.origins == (long.index,)
    assert (long.maps[0].txname, long.maps[0].fate, long.maps[0].related_to) == ("T6ttZZ", Fate.RELATED, (short.index,))
    assert found.coverage[1].covered_fb == 10.0
    assert not found.missing


def test_violated_conditions(build: Build) -> None:
    def sleptons(text: TextDatabase) -> None:
        constraint, condition = "[[['mu+']],[['mu-']]]+[[['e+']],[['e-']]]", "Cgtr([[['mu+']],[['mu-']]],[[['e+']],[['e-']]])"
        text.limits(text.result("13TeV/CMS/CMS-SUS-20-003"), "TSlepSlep", constraint, condition=condition)

    decays = {XE: (((11, LBP), 1.0),), XMU: (((13, LBP), 1.0),)}
    spectrum = Spectrum({XE: 300.0, XMU: 300.0, LBP: 50.0}, decays, {13: {(-XE, XE): 10.0, (-XMU, XMU): 2.0}})
    predictor = build(sleptons)
    found = explain(predictor, spectrum)
    for topology in found.topologies:
        (report,) = topology.maps
        assert (report.fate, report.violation) == (Fate.CONDITION, pytest.approx(8.0 / 12.0))
        assert "(by 0.67)" in report.describe()
    assert found.results[0].best is Fate.CONDITION
    tolerant = Predictor(predictor.store, PredictionSettings(conventions=Conventions.SMODELS))
    assert {report.fate for topology in explain(tolerant, spectrum).topologies for report in topology.maps} == {Fate.COUNTED}


def test_what_the_cut_takes_away_and_what_has_no_map(build: Build) -> None:
    decays = {XT: (((6, LBP), 0.9), ((5, LBP, 24), 0.099), ((4, LBP), 0.001))}
    found = explain(build(write_one_of_each), Spectrum({XT: 400.0, LBP: 100.0}, decays, {13: {(-XT, XT): 10.0}}))
    at_13 = found.coverage[1]
    # 10 fb · (0.9 + 0.099 + 0.001)²: only pairs with 0.001·0.9 (twice), 0.001·0.099 (twice) and 0.001² are below 0.02 fb
    assert at_13.cut_fb == pytest.approx(10.0 * (2 * 0.001 * 0.9 + 2 * 0.001 * 0.099 + 0.001**2), rel=1e-9)
    assert at_13.total_fb == pytest.approx(10.0)
    assert found.production[0].cut_fb == (0.0, pytest.approx(at_13.cut_fb))
    assert at_13.covered_fb == pytest.approx(8.1)
    assert [missing.closest for missing in found.missing] == [None, None, None]
    assert [missing.weight_fb[1] for missing in found.missing] == pytest.approx([0.891, 0.891, 0.098010])


def test_degenerate_particles_are_all_named(build: Build) -> None:
    pids = (1000001, 1000003)
    masses, decays = {**dict.fromkeys(pids, 500.0), LBP: 50.0}, dict.fromkeys(pids, (((1, LBP), 1.0),))
    (topology,) = explain(build(write_one_of_each), Spectrum(masses, decays, {13: {(-pid, pid): 5.0 for pid in pids}})).topologies
    assert {node.pids for node in topology.branches} == {(1000001, 1000003), (-1000001, -1000003)}
    assert topology.weight_fb[1] == 10.0


def test_nothing_produced_is_explained(build: Build) -> None:
    found = explain(build(write_one_of_each), Spectrum({LBP: 100.0}, {}, {}))
    assert not found.topologies and not found.missing and not found.production
    assert all(result.best is None for result in found.results)
    json.dumps(found.to_json(), allow_nan=False)


def test_every_fate_has_words() -> None:
    assert set(FATE_WORDS) == set(CLOSENESS) == set(Fate)


def _seen_by_explanation(explanation: Explanation, store: ResultsStore) -> dict[tuple[int, int | None], tuple[set[int], set[int]]]:
    """(dataset, map for limits) → maps and topologies that count."""
    seen: dict[tuple[int, int | None], tuple[set[int], set[int]]] = {}
    for topology in explanation.topologies:
        for report in topology.maps:
            for map_id in report.map_ids if report.fate is Fate.COUNTED else ():
                dataset = int(store.map_dataset[map_id])
                assert int(store.dataset_result[dataset]) == report.result
                maps, topologies = seen.setdefault((dataset, map_id if report.kind == "upperLimit" else None), (set(), set()))
                maps.add(map_id)
                topologies.add(topology.index)
    return seen


def _seen_by_predictions(predictions: Predictions) -> dict[tuple[int, int | None], tuple[set[int], set[int]]]:
    seen: dict[tuple[int, int | None], tuple[set[int], set[int]]] = {}
    for i in range(predictions.result.size):
        if predictions.kind[i] != PredictionKind.COMBINED:
            is_limit = predictions.kind[i] == PredictionKind.UPPER_LIMIT
            key = int(predictions.dataset[i]), predictions.map_ids[i][0] if is_limit else None
            maps, topologies = seen.setdefault(key, (set(), set()))
            maps.update(predictions.map_ids[i])
            topologies.update(predictions.topology_ids[i])
    return seen


@pytest.mark.full_database
@pytest.mark.parametrize("conventions", [Conventions.DEFAULT, Conventions.SMODELS])
def test_explained_is_predicted_for_all_reference_models(full_store: ResultsStore, reference_data: Path, conventions: Conventions) -> None:
    """What the explanation says counts is exactly what the predictions contain, and every loss has its reason."""
    predictor = Predictor(full_store, PredictionSettings(conventions=conventions))
    limit = predictor.settings.max_condition_violation
    found_fates: set[Fate] = set()
    for model in read_models(reference_data / "reference_protomodels.json"):
        spectrum = model.spectrum()
        explanation = explain(predictor, spectrum)
        assert _seen_by_explanation(explanation, full_store) == _seen_by_predictions(predictor.predict(spectrum))
        for topology in explanation.topologies:
            assert sum(explanation.topologies[origin].weight_fb[1] for origin in topology.origins) == pytest.approx(topology.weight_fb[1])
            for report in topology.maps:
                found_fates.add(report.fate)
                if report.fate is Fate.NEGLIGIBLE:
                    assert report.weight_fb * (report.value if report.kind == "efficiencyMap" else 1.0) < MIN_XSEC_FB
                if report.fate is Fate.CONDITION:
                    assert report.violation > limit
                if report.fate is Fate.OUTSIDE:
                    assert report.axes and math.isfinite(report.distance)
        for entry, sqrts in zip(explanation.coverage, (8, 13), strict=True):
            assert entry.total_fb == pytest.approx(sum(spectrum.xsecs_fb[sqrts].values()), rel=1e-6)
            assert min(entry.covered_fb, entry.missing_fb, entry.cut_fb) >= 0.0
        assert len(explanation.results) == len(full_store.results)
        json.dumps(explanation.to_json(), allow_nan=False)
    assert {Fate.COUNTED, Fate.OUTSIDE, Fate.OFF_PLANE, Fate.NO_EFFICIENCY, Fate.NEGLIGIBLE} <= found_fates
    assert (Fate.CONDITION in found_fates) == (conventions is Conventions.DEFAULT)
