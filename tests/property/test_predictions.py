"""What holds for the predictions of every model: linearity, no dependence on order, nothing that is not a number; and odd maps."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.decays import open_channels
from builder.particles import POOL_PIDS
from builder.protomodel import ProtoModel
from database.results.embedded import open_embedded_store
from database.results.importer import import_text_database
from inference.compression import Compression
from inference.explain import explain
from inference.fates import Fate
from inference.predictions import Predictor
from inference.settings import PredictionSettings
from inference.spectrum import LBP_PID, Spectrum
from inference.topologies import build_topologies
from inference.types import PredictionKind, Predictions
from tests.random_models import OTHERS, random_models
from tests.text_database import GRID_MASSES, TextDatabase, mass_rows

XT, XT2, XB = 1000006, 2000006, 1000005
NO_CUT = PredictionSettings(sigma_cut_fb=0.0, compress_mass=False, compress_invisible=False)


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor(open_embedded_store(), PredictionSettings())


@pytest.fixture(scope="module")
def linear(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    """Three regions with one map each that no two topologies of one origin fit; neither cut nor compression."""
    text = TextDatabase(tmp_path_factory.mktemp("linear") / "text")
    result = text.result("13TeV/ATLAS/ATLAS-SUSY-2019-01-eff")
    for name, constraint in (("T2tt", "[[['t']],[['t']]]"), ("T2bb", "[[['b']],[['b']]]"), ("T2bt", "[[['b']],[['t']]]")):
        text.efficiencies(text.region(result, f"SR{name}"), name, constraint)
    return Predictor(import_text_database(text.root, text.root.parent / "store", num_workers=0), NO_CUT)


def columns(found: Predictions) -> dict[str, Any]:
    """Everything that predictions say, as plain values that compare equal only if every bit is."""
    arrays = ("result", "dataset", "kind", "xsec_fb", "ul_obs_fb", "ul_exp_fb", "condition_violation")
    plain: dict[str, Any] = {name: getattr(found, name).tobytes() for name in arrays}
    plain["map_ids"] = [tuple(ids) for ids in found.map_ids]
    plain["topology_ids"] = [tuple(ids) for ids in found.topology_ids]
    plain["pids"] = [frozenset(pids) for pids in found.pids]
    plain["yields"] = {result: events.tobytes() for result, events in sorted(found.region_yields.items())}
    return plain


def keyed(found: Predictions) -> dict[tuple[int, int, int, tuple[int, ...], tuple[int, ...]], int]:
    """Row of each prediction by what it is about."""
    return {
        (int(found.result[i]), int(found.dataset[i]), int(found.kind[i]), tuple(found.map_ids[i]), tuple(found.topology_ids[i])): i
        for i in range(found.result.size)
    }


def scaled(spectrum: Spectrum, factor: float) -> Spectrum:
    xsecs = {sqrts: {pair: factor * xsec for pair, xsec in pairs.items()} for sqrts, pairs in spectrum.xsecs_fb.items()}
    return Spectrum(spectrum.masses, spectrum.decays, xsecs, spectrum.widths)


# ------------------------------------------------------------------------------------------------------ linearity


@settings(max_examples=40, deadline=None)
@given(model=random_models(max_particles=4), factor=st.floats(1.0, 1e3))
def test_all_cross_sections_scale_together(predictor: Predictor, model: ProtoModel, factor: float) -> None:
    free = Predictor(predictor.store, predictor.settings.model_copy(update={"sigma_cut_fb": 0.0}))
    one, many = free.predict(model.spectrum()), free.predict(scaled(model.spectrum(), factor))
    rows = keyed(many)
    for key, i in keyed(one).items():
        if one.kind[i] == PredictionKind.COMBINED:
            continue  # regions that were below 1e-6 fb join
        assert key in rows
        assert many.xsec_fb[rows[key]] == pytest.approx(factor * one.xsec_fb[i], rel=1e-9)
        assert many.ul_obs_fb[rows[key]] == pytest.approx(one.ul_obs_fb[i], rel=1e-4, nan_ok=True)


def regions(predictor: Predictor, spectrum: Spectrum) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Cross section [fb] per data set, 0 where there is none."""
    found = predictor.predict(spectrum)
    out = np.zeros(len(predictor.store.dataset_ids))
    for i in np.flatnonzero(found.kind == PredictionKind.EFFICIENCY_MAP):
        out[found.dataset[i]] = found.xsec_fb[i]
    return out


def two_stops(kappa: Mapping[tuple[int, int], float], br: tuple[float, float], mass: float = 500.0) -> Spectrum:
    decays = {
        pid: (((6, LBP_PID), b), ((5, 24, LBP_PID), 0.5 * (1 - b)), ((5, LBP_PID), 0.5 * (1 - b)))
        for pid, b in zip((XT, XT2), br, strict=True)
    }
    return Spectrum({XT: mass, XT2: mass + 20.0, LBP_PID: 50.0}, decays, {13: {pair: 100.0 * k for pair, k in kappa.items()}, 8: {}})


PAIRS = ((-XT, XT), (-XT2, XT2), (-XT, XT2))


@settings(max_examples=30, deadline=None)
@given(
    base=st.tuples(*(st.floats(0.1, 10.0) for _ in PAIRS)), pair=st.sampled_from(PAIRS), a=st.floats(0.0, 50.0), b=st.floats(0.0, 50.0),
    br=st.tuples(st.floats(0.05, 0.95), st.floats(0.05, 0.95)), mass=st.floats(260.0, 560.0),
)  # fmt: skip
def test_yields_are_linear_in_each_kappa(
    linear: Predictor, base: tuple[float, ...], pair: tuple[int, int], a: float, b: float, br: tuple[float, float], mass: float
) -> None:
    def at(kappa: float) -> np.ndarray[Any, np.dtype[np.float64]]:
        return regions(linear, two_stops({**dict(zip(PAIRS, base, strict=True)), pair: kappa}, br, mass))

    assert at(0.0).max() > 0.0
    assert at(a) + at(b) == pytest.approx(at(0.0) + at(a + b), rel=1e-9, abs=3e-6)


@settings(max_examples=30, deadline=None)
@given(first=st.floats(0.01, 0.99), second=st.floats(0.01, 0.99), t=st.floats(0.0, 1.0), other=st.floats(0.01, 0.99))
def test_yields_are_linear_in_each_branching_ratio(linear: Predictor, first: float, second: float, t: float, other: float) -> None:
    """Different particles are produced in pairs: each branching ratio enters linearly, the two of a pair multiply."""

    def at(br: float) -> np.ndarray[Any, np.dtype[np.float64]]:
        return regions(linear, two_stops({(-XT, XT2): 1.0}, (br, other)))

    assert at((1 - t) * first + t * second) == pytest.approx((1 - t) * at(first) + t * at(second), rel=1e-9, abs=1e-6)


# --------------------------------------------------------------------------------------------------------- order


def shuffled(spectrum: Spectrum, random: Random) -> Spectrum:
    """The same spectrum with particles, channels, daughters, pairs and energies in another order."""

    def mix(items: Iterable[Any]) -> list[Any]:
        listed = list(items)
        random.shuffle(listed)
        return listed

    decays = {pid: tuple((tuple(mix(daughters)), br) for daughters, br in mix(channels)) for pid, channels in mix(spectrum.decays.items())}
    xsecs = {sqrts: {tuple(mix(pair)): xsec for pair, xsec in mix(pairs.items())} for sqrts, pairs in mix(spectrum.xsecs_fb.items())}
    return Spectrum(dict(mix(spectrum.masses.items())), decays, xsecs, dict(mix(spectrum.widths.items())))


@settings(max_examples=60, deadline=None)
@given(model=random_models(), random=st.randoms(use_true_random=False))
def test_order_changes_nothing_at_all(predictor: Predictor, model: ProtoModel, random: Random) -> None:
    assert columns(predictor.predict(shuffled(model.spectrum(), random))) == columns(predictor.predict(model.spectrum()))


QUARKS = st.sampled_from([1, -1, 2, -2, 3, 4, 5, 6, 21])


@settings(max_examples=60, deadline=None)
@given(
    stop=st.lists(st.tuples(QUARKS, st.floats(0.01, 1.0)), min_size=2, max_size=6),
    weak=st.lists(st.tuples(st.sampled_from([11, -11, 12, -12, 14, 23, 22]), st.floats(0.01, 1.0)), min_size=1, max_size=5),
    random=st.randoms(use_true_random=False),
)
def test_order_of_channels_that_look_alike_changes_nothing(
    predictor: Predictor, stop: list[tuple[int, float]], weak: list[tuple[int, float]], random: Random
) -> None:
    """Light quarks, neutrinos and the photon of different channels merge into one topology: sums of many terms."""
    masses = {XT: 500.0, 1000023: 300.0, LBP_PID: 100.0}
    decays = {
        XT: (*(((quark, LBP_PID), br) for quark, br in stop), *(((quark, 1000023), br) for quark, br in stop)),
        1000023: tuple(((pid, -pid, LBP_PID) if abs(pid) < 20 else (pid, LBP_PID), br) for pid, br in weak),
    }
    spectrum = Spectrum(masses, decays, {13: {(-XT, XT): 100.0, (1000023, 1000023): 7.0}, 8: {(-XT, XT): 3.0}})
    plain, other = (build_topologies(entry, predictor.settings) for entry in (spectrum, shuffled(spectrum, random)))
    assert plain == other
    assert columns(predictor.predict_topologies(plain)) == columns(predictor.predict_topologies(other))


@settings(max_examples=30, deadline=None)
@given(models=st.lists(random_models(max_particles=3), min_size=2, max_size=3))
def test_nothing_depends_on_what_was_predicted_before(predictor: Predictor, models: list[ProtoModel]) -> None:
    for model in models:
        predictor.predict(model.spectrum())
    fresh = Predictor(predictor.store, predictor.settings)
    assert columns(fresh.predict(models[-1].spectrum())) == columns(predictor.predict(models[-1].spectrum()))


@settings(max_examples=40, deadline=None)
@given(model=random_models(max_particles=4), pid=st.sampled_from(OTHERS), mass=st.floats(1.0, 3000.0))
def test_a_decoupled_particle_changes_nothing(predictor: Predictor, model: ProtoModel, pid: int, mass: float) -> None:
    if pid in model.masses:
        return
    plain = model.spectrum()
    more = Spectrum({**plain.masses, pid: mass}, plain.decays, plain.xsecs_fb, plain.widths)
    assert columns(predictor.predict(more)) == columns(predictor.predict(plain))


# --------------------------------------------------------------------------------------------------- sanity


@settings(max_examples=60, deadline=None)
@given(model=random_models(), cut=st.sampled_from([0.0, 0.02]))
def test_nothing_is_negative_or_not_a_number(predictor: Predictor, model: ProtoModel, cut: float) -> None:
    topologies = build_topologies(model.spectrum(), predictor.settings.model_copy(update={"sigma_cut_fb": cut}))
    for topology in topologies.topologies:
        assert min(topology.weight_fb) >= 0.0 and 0.0 < max(topology.weight_fb) < math.inf
        assert max(topology.weight_fb) >= cut
        assert 0 < topology.origins < 1 << topologies.num_origins
    found = predictor.predict_topologies(topologies)
    assert np.isfinite(found.xsec_fb).all() and (found.xsec_fb >= 1e-6).all()
    for limits in (found.ul_obs_fb, found.ul_exp_fb):
        assert not (limits <= 0.0).any() and not np.isinf(limits).any()
    is_combined = found.kind == PredictionKind.COMBINED
    assert np.isnan(found.ul_obs_fb[is_combined]).all() and not np.isnan(found.ul_obs_fb[~is_combined]).any()
    assert ((found.condition_violation >= 0.0) & (found.condition_violation <= 0.2 * 1.005)).all()
    for result, events in found.region_yields.items():
        assert np.isfinite(events).all() and (events >= 0.0).all() and events.max() > 0.0
        assert events.size == predictor.store.results[result].num_datasets


@settings(max_examples=60, deadline=None)
@given(model=random_models())
def test_compression_is_idempotent(predictor: Predictor, model: ProtoModel) -> None:
    topologies = predictor.topologies(model.spectrum())
    known = {topology.signature + str(topology.states) for topology in topologies.topologies}
    for topology in topologies.topologies:
        compression = Compression(predictor.settings)
        for compress in (compression.mass, compression.invisible):
            once = tuple(compress(branch) for branch in topology.branches)
            assert tuple(compress(branch) for branch in once) == once
            first, second = sorted(once, key=lambda branch: (branch.signature, branch.states))
            assert f"{first.signature}+{second.signature}" + str((*first.states, *second.states)) in known, "closed under compression"


@settings(max_examples=25, deadline=None)
@given(model=random_models())
def test_explained_is_predicted(predictor: Predictor, model: ProtoModel) -> None:
    store, found = predictor.store, predictor.predict(model.spectrum())
    explanation = explain(predictor, model.spectrum())
    explained = {
        (report.result, int(store.map_dataset[map_id]), map_id)
        for topology in explanation.topologies
        for report in topology.maps
        if report.fate is Fate.COUNTED
        for map_id in report.map_ids
    }
    assert explained == {
        (int(found.result[i]), int(found.dataset[i]), map_id)
        for i in range(found.result.size)
        if found.kind[i] != PredictionKind.COMBINED
        for map_id in found.map_ids[i]
    }
    for entry in explanation.coverage:
        produced = math.fsum(model.xsecs_fb(entry.sqrts_tev).values())
        assert entry.total_fb >= produced * (1 - 1e-6)
        assert model.widths or entry.total_fb == pytest.approx(produced, rel=1e-6)
        assert min(entry.covered_fb, entry.missing_fb, entry.cut_fb) >= 0.0


# ---------------------------------------------------------------------------------------------------- odd models


def whole_pool(masses: Mapping[int, float]) -> ProtoModel:
    """All twenty particles, every open channel alike."""
    branching_ratios = {}
    for pid in POOL_PIDS:
        channels = open_channels(pid, masses)
        if pid != LBP_PID and channels:
            branching_ratios[pid] = dict.fromkeys(channels, 1.0 / len(channels))
    return ProtoModel(masses, branching_ratios, {})


def test_twenty_particles_at_once(predictor: Predictor) -> None:
    spread = {pid: 100.0 + 45.0 * number for number, pid in enumerate(sorted(POOL_PIDS, key=lambda pid: (pid != LBP_PID, pid)))}
    for masses in (spread, {pid: 300.0 if pid != LBP_PID else 100.0 for pid in POOL_PIDS}, dict.fromkeys(POOL_PIDS, 300.0)):
        model = whole_pool(masses)
        found = predictor.predict(model.spectrum())
        assert np.isfinite(found.xsec_fb).all()
        assert sum(entry.total_fb for entry in explain(predictor, model.spectrum()).coverage) == pytest.approx(
            math.fsum([*model.xsecs_fb(8).values(), *model.xsecs_fb(13).values()]), rel=1e-6
        )
    assert predictor.predict(whole_pool(spread).spectrum()).result.size > 50


def test_a_massless_lightest_state_is_raised_to_one_gev(predictor: Predictor) -> None:
    def stops(lbp: float) -> Spectrum:
        return Spectrum({XT: 500.0, LBP_PID: lbp}, {XT: (((6, LBP_PID), 1.0),)}, {13: {(-XT, XT): 100.0}})

    assert columns(predictor.predict(stops(0.0))) == columns(predictor.predict(stops(1.0)))
    assert predictor.predict(stops(0.0)).result.size > 0


def test_exactly_degenerate_masses_are_compressed_or_outside(predictor: Predictor) -> None:
    found = predictor.predict(Spectrum({XT: 300.0, LBP_PID: 300.0}, {XT: (((6, LBP_PID), 1.0),)}, {13: {(-XT, XT): 100.0}}))
    assert np.isfinite(found.xsec_fb).all()


def test_published_values_come_back_at_exact_grid_points(predictor: Predictor) -> None:
    """Every tenth point of every limit map for two equal two-body decays of squarks."""
    store = predictor.store
    quarks = {"T2tt": (XT, 6), "T2bb": (XB, 5)}
    num_checked = 0
    for map_id, txname in enumerate(store.map_txnames):
        record = store.results[int(store.dataset_result[store.map_dataset[map_id]])]
        if txname not in quarks or record.kind != "upperLimit":
            continue
        pid, quark = quarks[txname]
        points, values = store.grid_points(int(store.map_grid[map_id])), store.map_values(map_id)
        for point, value in list(zip(points, values, strict=True))[::10]:
            mother, daughter = round(float(point[0]), 1), round(float(point[1]), 1)
            if daughter < 1.0 or mother - daughter < 10.0 or abs(mother - point[0]) > 1e-6 or abs(daughter - point[1]) > 1e-6:
                continue
            pair = (-pid, pid)
            spectrum = Spectrum({pid: mother, LBP_PID: daughter}, {pid: (((quark, LBP_PID), 1.0),)}, {8: {pair: 5.0}, 13: {pair: 5.0}})
            found = predictor.predict(spectrum)
            rows = [i for i in range(found.result.size) if map_id in found.map_ids[i]]
            assert len(rows) == 1
            assert found.ul_obs_fb[rows[0]] == pytest.approx(float(value), rel=1e-5)
            num_checked += 1
    assert num_checked > 20


# ------------------------------------------------------------------------------------------------------ odd maps


def stops_at(mass: float, lbp: float, xsec_fb: float = 10.0) -> Spectrum:
    return Spectrum({XT: mass, LBP_PID: lbp}, {XT: (((6, LBP_PID), 1.0),)}, {13: {(-XT, XT): xsec_fb}})


def limits_of(points: list[tuple[float, float]], values: list[float]) -> Predictor:
    """A predictor with one limit map of these points."""
    with tempfile.TemporaryDirectory() as folder:
        text = TextDatabase(Path(folder) / "text")
        text.limits(text.result("13TeV/CMS/CMS-SUS-20-001"), upperLimits=mass_rows([f"{value!r}*fb" for value in values], points))
        return Predictor(import_text_database(text.root, Path(folder) / "store", num_workers=0), PredictionSettings())


GRID_AXIS = st.sampled_from([150.0, 200.0, 250.0, 300.0, 400.0])


@settings(max_examples=40, deadline=None)
@given(
    points=st.lists(st.tuples(GRID_AXIS, st.sampled_from([1.0, 10.0, 50.0, 100.0])), min_size=1, max_size=8),
    model=st.tuples(st.floats(120.0, 450.0), st.floats(0.0, 110.0)),
)
def test_few_collinear_or_duplicated_points(points: list[tuple[float, float]], model: tuple[float, float]) -> None:
    """Maps of one point, of points on a line, of repeated points: a value between the published ones, or none."""
    values = [0.5 + mother / 100.0 + daughter / 50.0 for mother, daughter in points]
    predictor = limits_of(points, values)
    for mother, daughter in (model, *points):
        found = predictor.predict(stops_at(mother, daughter))
        assert found.result.size <= 1
        for limit in found.ul_obs_fb:
            assert min(values) * (1 - 1e-5) <= limit <= max(values) * (1 + 1e-5)
    if len(set(points)) == 1:
        assert predictor.predict(stops_at(*points[0])).result.size == 0, "nothing to interpolate"


@settings(max_examples=25, deadline=None)
@given(
    exponents=st.lists(st.tuples(st.floats(1.0, 9.0), st.floats(-3.0, 2.0)), min_size=4, max_size=9, unique=True),
    model=st.tuples(st.floats(1.0, 9.0), st.floats(0.0, 2.0)),
)
def test_huge_extents(exponents: list[tuple[float, float]], model: tuple[float, float]) -> None:
    points = [(10.0**mother, 10.0**daughter) for mother, daughter in exponents]
    values = [1.0 + number for number in range(len(points))]
    predictor = limits_of(points, values)
    for mother, daughter in (*points, (10.0 ** model[0], 10.0 ** model[1])):
        for limit in predictor.predict(stops_at(mother, daughter)).ul_obs_fb:
            assert 1.0 - 1e-5 <= limit <= values[-1] * (1 + 1e-5)


@settings(max_examples=25, deadline=None)
@given(
    values=st.lists(st.floats(0.0, 1.0), min_size=len(GRID_MASSES), max_size=len(GRID_MASSES)),
    model=st.tuples(st.floats(210, 590), st.floats(1, 290)),
)
def test_any_efficiencies(values: list[float], model: tuple[float, float]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        text = TextDatabase(Path(folder) / "text")
        region = text.region(text.result("13TeV/ATLAS/ATLAS-SUSY-2019-01-eff"), "SR1")
        text.efficiencies(region, efficiencyMap=mass_rows([repr(value) for value in values]))
        predictor = Predictor(import_text_database(text.root, Path(folder) / "store", num_workers=0), PredictionSettings())
    found = predictor.predict(stops_at(*model))
    assert found.result.size <= 1
    for xsec in found.xsec_fb:
        assert 1e-6 <= xsec <= 10.0 * max(values) * (1 + 1e-5)
