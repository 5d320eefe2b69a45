"""Lifetimes in small databases whose numbers can be checked by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from database.results.importer import import_text_database
from inference.branches import PROMPT_WIDTH_GEV, State
from inference.clustering import LimitHit, cluster_hits
from inference.lifetime import (
    DEFAULT_INNER_M,
    DEFAULT_OUTER_M,
    HBAR_C_GEV_M,
    MIN_FACTOR,
    NodeWidth,
    is_prompt,
    lifetime_factor,
    node_widths,
    seen_fraction,
)
from inference.predictions import Predictor
from inference.settings import Conventions, PredictionSettings
from inference.spectrum import Spectrum
from inference.topologies import build_topologies
from inference.types import PredictionKind
from tests.text_database import TextDatabase, write_map

XW, XW2, XT, XG, LBP = 1000024, 1000037, 1000006, 1000021, 1000022
MASSES = [200.0, 300.0, 400.0, 500.0]
WIDTHS = [1e-18, 1e-17, 1e-16, 1e-15]
Build = Callable[[Callable[[TextDatabase], None]], Predictor]


@pytest.fixture
def build(tmp_path: Path) -> Build:
    def make(write: Callable[[TextDatabase], None]) -> Predictor:
        text = TextDatabase(tmp_path / "text")
        write(text)
        return Predictor(import_text_database(text.root, tmp_path / "store", num_workers=0), PredictionSettings(sigma_cut_fb=1e-6))

    return make


def survival(width: float, outer_m: float = DEFAULT_OUTER_M) -> float:
    return math.exp(-width * outer_m / HBAR_C_GEV_M)


def prompt_fraction(width: float, inner_m: float = DEFAULT_INNER_M) -> float:
    return 1.0 - math.exp(-width * inner_m / HBAR_C_GEV_M)


def charginos(mass: float, width: float, xsec_fb: float = 10.0) -> Spectrum:
    decays = {XW: (((24, LBP), 1.0),)}
    return Spectrum({XW: mass, LBP: 100.0}, decays, {13: {(-XW, XW): xsec_fb}}, {XW: width})


def flat_rows(rows: list[tuple[list[float], str]]) -> str:
    return "[" + ",".join(f"[{point},{value}]" for point, value in rows) + "]"


def write_hscp(text: TextDatabase, *lengths: str) -> None:
    """Efficiency 0.1 for two equal charged particles that live forever."""
    region = text.region(text.result("13TeV/CMS/CMS-EXO-00-001-eff", *lengths), "SR1")
    rows = flat_rows([([mass, mass], "0.1") for mass in MASSES])
    axes = {"dataMap": "{0: (1, 'mass', GeV), 1: (2, 'mass', GeV)}", "efficiencyMap": rows}
    write_map(region / "THSCPM1b.txt", "THSCPM1b", "{(PV > HSCP(1),HSCP(2))}", axes)


def efficiency(predictor: Predictor, spectrum: Spectrum) -> float:
    found = predictor.predict(spectrum)
    return float(found.xsec_fb[found.kind == PredictionKind.EFFICIENCY_MAP].sum()) / 10.0


@pytest.mark.parametrize("width", [0.0, 1e-20, 1e-18, 3e-18, 1e-17])
def test_charged_particles_are_seen_if_both_cross_the_detector(build: Build, width: float) -> None:
    assert efficiency(build(write_hscp), charginos(250.0, width)) == pytest.approx(0.1 * survival(width) ** 2, rel=1e-5)


def test_each_detector_has_its_lengths(build: Build) -> None:
    predictor = build(lambda text: write_hscp(text, "Leff_inner: 0.001", "Leff_outer: 12."))
    assert efficiency(predictor, charginos(250.0, 3e-18)) == pytest.approx(0.1 * survival(3e-18, 12.0) ** 2, rel=1e-5)


@pytest.mark.parametrize("width", [1e-15, 1e-13, 1e-12])
def test_prompt_searches_see_what_decays_at_once(build: Build, width: float) -> None:
    def write(text: TextDatabase) -> None:
        region = text.region(text.result("13TeV/CMS/CMS-SUS-00-001-eff"), "SR1")
        text.efficiencies(region, "TChiWW", "[[['W']],[['W']]]", scale=0.02)

    predictor = build(write)
    prompt = efficiency(predictor, charginos(400.0, 1.0))
    assert prompt > 0.0
    assert efficiency(predictor, charginos(400.0, width)) == pytest.approx(prompt * prompt_fraction(width) ** 2, rel=1e-6)


def test_stable_charged_particles_need_no_decays(build: Build) -> None:
    predictor = build(write_hscp)
    stable = Spectrum({XW: 250.0, LBP: 100.0}, {}, {13: {(-XW, XW): 10.0}})
    assert efficiency(predictor, stable) == pytest.approx(0.1)
    assert efficiency(predictor, charginos(250.0, 1e-26)) == pytest.approx(0.1), "a width below 1e-25 GeV is none"


def write_r_hadrons(text: TextDatabase) -> None:
    data = text.result("13TeV/ATLAS/ATLAS-SUSY-00-001") / "data"
    data.mkdir()
    (data / "dataInfo.txt").write_text("dataType: upperLimit\ndataId: None\n")
    rows = flat_rows([([mass, mass], f"{mass / 100}*fb") for mass in MASSES])
    for name, label in (("TRHadG", "RHadronG"), ("TRHadU", "RHadronU"), ("TRHadD", "RHadronD"), ("TRHadQ", "RHadronQ")):
        axes = {"dataMap": "{0: (1, 'mass', GeV), 1: (2, 'mass', GeV)}", "upperLimits": rows}
        write_map(data / f"{name}.txt", name, f"{{(PV > {label}(1),{label}(2))}}", axes)


@pytest.mark.parametrize(
    ("pair", "names"),
    [((XG, XG), {"TRHadG"}), ((-XT, XT), {"TRHadU", "TRHadQ"}), ((-1000005, 1000005), {"TRHadD", "TRHadQ"}), ((-XW, XW), set())],
)
def test_r_hadrons_by_colour_and_charge(build: Build, pair: tuple[int, int], names: set[str]) -> None:
    predictor = build(write_r_hadrons)
    found = predictor.predict(Spectrum({pair[1]: 350.0, LBP: 100.0}, {}, {13: {pair: 10.0}}))
    assert {predictor.store.map_txnames[number] for numbers in found.map_ids for number in numbers} == names
    assert found.ul_obs_fb.tolist() == pytest.approx([3.5] * len(names))


def test_a_limit_grows_as_the_search_sees_less(build: Build) -> None:
    predictor = build(write_r_hadrons)
    decays = {XG: (((-1, 1, LBP), 1.0),)}
    found = predictor.predict(Spectrum({XG: 350.0, LBP: 100.0}, decays, {13: {(XG, XG): 10.0}}, {XG: 2e-18}))
    assert found.xsec_fb.tolist() == [10.0]
    assert found.ul_obs_fb.tolist() == pytest.approx([3.5 / survival(2e-18) ** 2])


def write_one_width(text: TextDatabase) -> None:
    """A charged particle in one branch, anything in the other; the map knows the width of the first only."""
    region = text.region(text.result("13TeV/CMS/CMS-EXO-00-002-eff"), "SR1")
    rows = flat_rows([([mass, width], f"{0.1 * survival(width)!r}") for mass in MASSES for width in WIDTHS])
    axes = {"dataMap": "{0: (1, 'mass', GeV), 1: (1, 'totalwidth', GeV)}", "efficiencyMap": rows}
    write_map(region / "THSCPM2b.txt", "THSCPM2b", "{(PV > HSCP(1),Inclusive(2)), (Inclusive(2) > *anySM,HSCP(3))}", axes)


@pytest.mark.parametrize(("mass", "other"), [(400.0, 300.0), (300.0, 400.0)])
def test_the_width_a_map_knows_is_not_counted_again(build: Build, mass: float, other: float) -> None:
    """Of two charged particles the heavier one goes where the map has its axes, and only the other one is weighted."""
    predictor = build(write_one_width)
    widths = {XW: 1e-17, XW2: 1e-18}
    decays = dict.fromkeys(widths, (((24, LBP), 1.0),))
    spectrum = Spectrum({XW: mass, XW2: other, LBP: 100.0}, decays, {13: {(-XW, XW2): 10.0}}, widths)
    assert efficiency(predictor, spectrum) == pytest.approx(0.1 * survival(1e-17) * survival(1e-18), rel=1e-5)


def test_inner_nodes_and_leaves() -> None:
    masses = {XG: 1000.0, 1000023: 500.0, XW: 300.0, LBP: 100.0}
    decays = {XG: (((-1, 1, 1000023), 1.0),), 1000023: (((-24, XW), 1.0),), XW: (((24, LBP), 1.0),)}
    widths = {XG: 1e-15, 1000023: 1e-14, XW: 1e-17}
    spectrum = Spectrum(masses, decays, {13: {(XG, XG): 1.0}}, widths)
    topologies = build_topologies(spectrum, PredictionSettings(sigma_cut_fb=0.0)).topologies
    assert len(topologies) == 10, "four ends per branch: each particle may live on"
    longest = max(topologies, key=lambda topology: len(topology.states))
    nodes = node_widths(longest)
    assert [node.is_leaf for node in nodes] == [False, False, False, True] * 2
    expected = np.prod([prompt_fraction(width) for width in (1e-15, 1e-14, 1e-17)]) ** 2
    assert expected < MIN_FACTOR and lifetime_factor(longest, frozenset(), math.nan, math.nan) == 0.0
    known = frozenset({0, 2, 4, 6})
    assert lifetime_factor(longest, known, math.nan, math.nan) == pytest.approx(prompt_fraction(1e-14) ** 2)


def test_prompt_means_exactly_one() -> None:
    state = State(0, 1, 1, 100.0, 1.0)
    for width in (0.0, 1e-9, 1.0):
        assert is_prompt([state._replace(width=width)])
        assert seen_fraction([NodeWidth(width, width == 0.0)], 0.001, 12.0) == 1.0
    assert not is_prompt([state._replace(width=1e-12)])
    assert seen_fraction([NodeWidth(1.01 * PROMPT_WIDTH_GEV, False)], math.nan, math.nan) == 1.0, "what is called prompt counts fully"


def test_clusters_of_different_lifetimes() -> None:
    """The default counts what is seen of each; the reference takes the mean width."""
    widths = (1e-18, 2e-18)
    hits = [
        LimitHit(
            n, weight, 1.0 / survival(width) ** 2, (300.0, 300.0), (300.0, width) * 2, survival(width) ** 2, (NodeWidth(width, True),) * 2
        )
        for n, (weight, width) in enumerate(zip((10.0, 30.0), widths, strict=True))
    ]
    (exact,) = cluster_hits(hits, lambda x: 1.0, Conventions.DEFAULT)
    (mean,) = cluster_hits(hits, lambda x: 1.0, Conventions.SMODELS)
    seen = sum(hit.weight_fb * hit.lifetime_factor for hit in hits)
    assert exact.weight_fb / exact.limit_fb == pytest.approx(seen), "σ over limit is what is seen over the prompt limit"
    assert mean.limit_fb == pytest.approx(1.0 / survival(1.75e-18) ** 2)
    assert exact.lifetime_factor == pytest.approx(seen / 40.0)


def test_equal_topologies_with_their_branches_swapped_are_one() -> None:
    masses = (300.0, 1e-18, 400.0, 2e-18)
    hits = [LimitHit(n, 5.0, 2.0, (400.0, 300.0), order, 0.5, ()) for n, order in enumerate((masses, masses[2:] + masses[:2]))]
    (cluster,) = cluster_hits(hits, lambda x: math.nan, Conventions.DEFAULT)
    assert (cluster.weight_fb, cluster.limit_fb, cluster.lifetime_factor) == (10.0, 2.0, 0.5)
