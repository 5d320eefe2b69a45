"""Topologies of small spectra, by hand."""

from __future__ import annotations

import pytest

from database.errors import ModelFormatError
from inference.settings import PredictionSettings
from inference.spectrum import Spectrum
from inference.topologies import build_topologies

DEFAULT = PredictionSettings()


def stops(mass: float = 800.0, lbp: float = 150.0, xsec: float = 30.0) -> Spectrum:
    return Spectrum(
        {1000006: mass, 1000022: lbp}, {1000006: (((6, 1000022), 1.0),)}, {13: {(-1000006, 1000006): xsec}, 8: {(-1000006, 1000006): 2.0}}
    )


def test_pair_production_gives_one_topology_with_both_weights() -> None:
    found = build_topologies(stops(), DEFAULT)
    (topology,) = found.topologies
    assert topology.weight_fb == (2.0, 30.0)
    assert [state.mass for state in topology.states] == [800.0, 150.0, 800.0, 150.0]
    assert found.pids_of(topology.pids) == {1000006, 1000022}


def test_cut_is_on_the_larger_of_the_two_energies() -> None:
    assert build_topologies(stops(xsec=0.019999), DEFAULT).topologies  # 8 TeV still passes
    below = Spectrum(stops().masses, stops().decays, {13: {(-1000006, 1000006): 0.019999}})
    assert not build_topologies(below, DEFAULT).topologies
    at = Spectrum(stops().masses, stops().decays, {13: {(-1000006, 1000006): 0.02}})
    assert len(build_topologies(at, DEFAULT).topologies) == 1


def test_masses_are_rounded_to_a_tenth_and_at_least_one() -> None:
    (topology,) = build_topologies(stops(800.04, 0.0), DEFAULT).topologies
    assert [state.mass for state in topology.states[:2]] == [800.0, 1.0]


def test_mixed_decays_merge_mirror_images() -> None:
    model = Spectrum(
        {1000023: 400.0, 1000022: 100.0},
        {1000023: (((23, 1000022), 0.25), ((25, 1000022), 0.75))},
        {13: {(1000023, 1000023): 100.0}},
    )
    weights = sorted(t.weight_fb[1] for t in build_topologies(model, DEFAULT).topologies)
    assert weights == pytest.approx([6.25, 37.5, 56.25])  # ZZ, Zh twice, hh


def test_degenerate_particles_of_equal_quantum_numbers_merge() -> None:
    model = Spectrum(
        {1000001: 900.0, 1000003: 900.0, 1000022: 100.0},
        {1000001: (((1, 1000022), 1.0),), 1000003: (((3, 1000022), 1.0),)},
        {13: {(-1000001, 1000001): 3.0, (-1000003, 1000003): 4.0}},
    )
    (topology,) = build_topologies(model, DEFAULT).topologies
    assert topology.weight_fb[1] == 7.0


def test_soft_decays_are_compressed_and_the_original_is_kept() -> None:
    model = Spectrum(
        {1000024: 109.0, 1000022: 100.0, 1000006: 500.0},
        {1000024: (((1000022, 24), 1.0),), 1000006: (((5, 1000024), 1.0),)},
        {13: {(-1000006, 1000006): 10.0}},
    )
    found = build_topologies(model, DEFAULT)
    assert len(found.topologies) == 2
    compressed, original = sorted(found.topologies, key=lambda t: len(t.states))
    assert [state.mass for state in compressed.states] == [500.0, 100.0, 500.0, 100.0]
    assert compressed.weight_fb == original.weight_fb
    assert compressed.origins == original.origins
    assert found.pids_of(compressed.pids) == {1000006, 1000022, 1000024}
    wider = Spectrum({**model.masses, 1000024: 110.0}, model.decays, model.xsecs_fb)
    assert len(build_topologies(wider, DEFAULT).topologies) == 1, "a gap of exactly 10 GeV is not compressed"


def test_invisible_decays_leave_the_mothers_mass() -> None:
    model = Spectrum(
        {1000012: 300.0, 1000022: 100.0, 1000011: 500.0},
        {1000012: (((12, 1000022), 1.0),), 1000011: (((-24, 1000012), 1.0),)},
        {13: {(-1000011, 1000011): 10.0}},
    )
    compressed = min(build_topologies(model, DEFAULT).topologies, key=lambda t: len(t.states))
    assert sorted(state.mass for state in compressed.states) == [300.0, 300.0, 500.0, 500.0]


def test_order_of_input_changes_nothing() -> None:
    model = Spectrum(
        {1000023: 400.0, 1000024: 380.0, 1000022: 100.0},
        {1000023: (((23, 1000022), 0.25), ((25, 1000022), 0.75)), 1000024: (((24, 1000022), 1.0),)},
        {13: {(1000023, 1000024): 100.0, (-1000024, 1000023): 50.0, (-1000024, 1000024): 70.0}},
    )
    turned = Spectrum(
        dict(reversed(model.masses.items())),
        {1000024: model.decays[1000024], 1000023: model.decays[1000023][::-1]},
        {13: dict(reversed(model.xsecs_fb[13].items()))},
    )
    assert build_topologies(model, DEFAULT) == build_topologies(turned, DEFAULT)


def test_unknown_particles_are_named() -> None:
    model = Spectrum({1000022: 1.0, 9000001: 500.0}, {}, {13: {(9000001, 9000001): 1.0}})
    with pytest.raises(ModelFormatError, match="9000001"):
        build_topologies(model, DEFAULT)


def test_channels_to_absent_particles_do_not_count() -> None:
    model = Spectrum(
        {1000006: 500.0, 1000022: 100.0}, {1000006: (((5, 1000024), 0.5), ((6, 1000022), 0.5))}, {13: {(-1000006, 1000006): 8.0}}
    )
    (topology,) = build_topologies(model, DEFAULT).topologies
    assert topology.weight_fb[1] == 2.0
