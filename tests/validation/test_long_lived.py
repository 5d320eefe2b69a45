"""Long-lived particles: our predictions against those of SModelS 3.0.3, and what has to be seen where; full database."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from builder.model_io import parse_models
from builder.protomodel import ProtoModel
from database.results.store import ResultsStore
from inference.predictions import Predictor
from inference.settings import Conventions, PredictionSettings
from inference.spectrum import Spectrum
from inference.types import PredictionKind

pytestmark = pytest.mark.full_database

REFERENCE = json.loads(Path(__file__).with_name("long_lived.json").read_text(encoding="utf-8"))
FOLDERS = frozenset(REFERENCE["about"]["folders"])
GLUINO, C1, TAU, TOP, LBP = 1000021, 1000024, 1000015, 1000006, 1000022

Key = tuple[str, str | None, tuple[str, ...]]
Numbers = tuple[float, float, float]


def model_of(entry: dict[str, Any]) -> ProtoModel:
    (model,) = parse_models(json.dumps({name: entry[name] for name in ("masses", "decays", "xsecs_fb", "widths_gev")}))
    return model


def predicted(predictor: Predictor, spectrum: Spectrum) -> dict[Key, list[Numbers]]:
    """(σ, observed, expected limit) [fb] of all single predictions of the results in the reference."""
    store, found = predictor.store, predictor.predict(spectrum)
    rows: dict[Key, list[Numbers]] = defaultdict(list)
    for i in range(found.result.size):
        folder = store.results[int(found.result[i])].folder
        if folder in FOLDERS and found.kind[i] != PredictionKind.COMBINED:
            txnames = tuple(sorted({store.map_txnames[number] for number in found.map_ids[i]}))
            numbers = float(found.xsec_fb[i]), float(found.ul_obs_fb[i]), float(found.ul_exp_fb[i])
            rows[folder, store.dataset_ids[int(found.dataset[i])], txnames].append(numbers)
    return {key: sorted(values) for key, values in rows.items()}


def published(entry: dict[str, Any]) -> dict[Key, list[Numbers]]:
    rows: dict[Key, list[Numbers]] = defaultdict(list)
    for folder, dataset, txnames, *numbers in entry["predictions"]:
        xsec, observed, expected = (math.nan if number is None else number for number in numbers)
        rows[folder, dataset, tuple(txnames)].append((xsec, observed, expected))
    return {key: sorted(values) for key, values in rows.items()}


def test_same_predictions_as_the_reference(full_store: ResultsStore, reference_kernels: None) -> None:
    """Cross sections within 1e-9, limits within 1e-5: six published digits, rounded alike but for ties."""
    predictor = Predictor(full_store, PredictionSettings(conventions=Conventions.SMODELS))
    count = 0
    for entry in REFERENCE["models"]:
        spectrum = model_of(entry).spectrum()
        assert len(predictor.topologies(spectrum).topologies) == entry["num_topologies"], entry["name"]
        ours, theirs = predicted(predictor, spectrum), published(entry)
        assert ours.keys() == theirs.keys(), entry["name"]
        for key, rows in theirs.items():
            assert [row[0] for row in ours[key]] == pytest.approx([row[0] for row in rows], rel=1e-9), (entry["name"], key)
            for column in (1, 2):
                limits = [row[column] for row in rows]
                assert [row[column] for row in ours[key]] == pytest.approx(limits, rel=1e-5, nan_ok=True), (entry["name"], key)
            count += len(rows)
    assert count == sum(len(entry["predictions"]) for entry in REFERENCE["models"]) > 500


def test_all_long_lived_topologies_are_compared(full_store: ResultsStore) -> None:
    """Every topology of the results on long-lived particles occurs; mediators do not exist in our models."""
    compared = {txname for entry in REFERENCE["models"] for row in entry["predictions"] for txname in row[2]}
    published = {
        txname
        for map_id, txname in enumerate(full_store.map_txnames)
        if any(kind == "totalwidth" for _, kind in full_store.data_maps[int(full_store.map_data_map[map_id])])
        or any(label in full_store.map_txnames[map_id] for label in ("HSCP", "RHad"))
    }
    assert {name for name in published - compared if not name.startswith("TRV1")} == set()


def test_our_conventions_change_clusters_and_conditions_only(full_store: ResultsStore, reference_kernels: None) -> None:
    """Limits on clusters are exact means (0.4 % at most); what violates a published condition is dropped."""
    predictor = Predictor(full_store, PredictionSettings())
    missing = 0
    for entry in REFERENCE["models"]:
        ours, theirs = predicted(predictor, model_of(entry).spectrum()), published(entry)
        assert ours.keys() <= theirs.keys()
        missing += len(theirs) - len(ours)
        for key, rows in ours.items():
            assert [row[0] for row in rows] == pytest.approx([row[0] for row in theirs[key]], rel=1e-9)
            assert [row[1] for row in rows] == pytest.approx([row[1] for row in theirs[key]], rel=4e-3)
    assert missing == 2


def gluino(width: float) -> Spectrum:
    decays = {GLUINO: (((-1, 1, LBP), 0.5), ((-2, 2, LBP), 0.5))}
    return Spectrum({LBP: 100.0, GLUINO: 1400.0}, decays, {8: {(GLUINO, GLUINO): 4.0}, 13: {(GLUINO, GLUINO): 20.0}}, {GLUINO: width})


def seen_in(full_store: ResultsStore, spectrum: Spectrum) -> set[tuple[str, str]]:
    rows = predicted(Predictor(full_store, PredictionSettings()), spectrum)
    return {(folder.rsplit("/", 1)[1], txname) for folder, _, txnames in rows for txname in txnames}


def test_the_lifetime_of_a_gluino_decides_which_search_sees_it(full_store: ResultsStore) -> None:
    stable = seen_in(full_store, gluino(0.0))
    assert {("ATLAS-SUSY-2016-32", "TRHadGM1"), ("ATLAS-SUSY-2018-42-eff", "TRHadGM1"), ("CMS-PAS-EXO-16-036", "TRHadGM1")} <= stable
    assert not {txname for _, txname in stable} & {"T1", "T1Disp"}
    displaced = seen_in(full_store, gluino(5.3e-16))
    assert {("ATLAS-SUSY-2016-08", "T1Disp"), ("ATLAS-SUSY-2018-42-eff", "T1Disp")} <= displaced
    prompt = seen_in(full_store, gluino(1e-3))
    assert prompt == {("ATLAS-SUSY-2013-02", "T1"), ("CMS-SUS-16-036", "T1")} or prompt == {("CMS-SUS-16-036", "T1")}


@pytest.mark.parametrize(
    ("width", "wanted"),
    [
        (1.1e-16, {("CMS-EXO-19-010-eff", "TDTM1F"), ("CMS-EXO-19-010-eff", "TDTM2F"), ("ATLAS-SUSY-2016-06-eff", "TDTM1F")}),
        (0.0, {("ATLAS-SUSY-2016-32", "THSCPM1b"), ("ATLAS-SUSY-2016-32-eff-trim", "THSCPM1b"), ("CMS-EXO-13-006-eff-trim", "THSCPM2b")}),
    ],
)
def test_charginos_disappear_or_cross_the_detector(full_store: ResultsStore, width: float, wanted: set[tuple[str, str]]) -> None:
    xsecs = {(-C1, C1): 300.0, (LBP, C1): 400.0, (-C1, LBP): 200.0}
    spectrum = Spectrum({LBP: 299.7, C1: 300.0}, {C1: (((211, LBP), 1.0),)}, {8: xsecs, 13: xsecs}, {C1: width})
    assert wanted <= seen_in(full_store, spectrum)


def test_a_heavy_wino_in_the_pixel_search(full_store: ResultsStore) -> None:
    """ATLAS-SUSY-2018-42: charginos of 1 TeV, decaying in or behind the pixel detector."""
    xsecs = {(-C1, C1): 10.0, (LBP, C1): 10.0, (-C1, LBP): 10.0}
    for width, wanted in ((1e-16, {"TDTM1F", "TDTM2F"}), (1e-18, {"THSCPM1", "THSCPM2"})):
        spectrum = Spectrum({LBP: 1049.8, C1: 1050.0}, {C1: (((211, LBP), 1.0),)}, {13: xsecs}, {C1: width})
        found = {txname for folder, txname in seen_in(full_store, spectrum) if folder == "ATLAS-SUSY-2018-42-eff"}
        assert wanted <= found, width


def test_stable_squarks_are_hadrons_of_their_charge(full_store: ResultsStore) -> None:
    for pid, txname in ((TOP, "TRHadUM1"), (1000005, "TRHadDM1")):
        found = seen_in(full_store, Spectrum({LBP: 100.0, pid: 1000.0}, {}, {13: {(-pid, pid): 10.0}}))
        assert {("ATLAS-SUSY-2016-32", txname), ("CMS-PAS-EXO-16-036", "TRHadQM1")} <= found
