"""The pool, its channels and the mass rules."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from builder.decays import (
    CHANNELS,
    canonical_daughters,
    charge_modes,
    find_channel,
    group_channels,
    is_off_shell,
    off_shell_branching_ratios,
    open_channels,
)
from builder.particle_rules import ParticleRules
from builder.particles import MERGER_GROUPS, PARTICLES, charge_thirds, find_pid, is_bsm, is_self_conjugate, latex, symbol

LBP = 1000022


def test_pool_has_twenty_particles_with_unique_names() -> None:
    assert len(PARTICLES) == 20
    for attribute in ("name", "ascii_id", "symbol", "latex"):
        assert len({getattr(p, attribute) for p in PARTICLES.values()}) == 20
    assert {p for p in PARTICLES if is_self_conjugate(p)} == {1000021, 1000022, 1000023, 1000025}
    assert MERGER_GROUPS["Z"] == (1000023, 1000025)
    assert MERGER_GROUPS["light_quarks"] == (1000001, 1000002, 1000003, 1000004)


@pytest.mark.parametrize("pid", sorted(PARTICLES))
def test_every_particle_is_found_by_all_its_names(pid: int) -> None:
    particle = PARTICLES[pid]
    for name in (particle.name, particle.ascii_id, particle.ascii_id.upper(), str(pid), particle.symbol):
        assert find_pid(name) == pid


def test_symbols_of_antiparticles_carry_the_opposite_charge() -> None:
    assert (symbol(1000024), symbol(-1000024), symbol(-1000006)) == ("XW¹⁺", "XW¹⁻", "X\u0304t¹")
    assert latex(-15) == r"\tau^{+}"


def test_channels_are_unique_and_conserve_charge() -> None:
    keys = [(c.mother, c.daughters) for channels in CHANNELS.values() for c in channels]
    assert len(keys) == len(set(keys)) == 133
    for mother, daughters in keys:
        assert sum(map(charge_thirds, daughters)) == charge_thirds(mother)
        assert sum(map(is_bsm, daughters)) == 1
        assert canonical_daughters(mother, daughters) == daughters


def test_number_of_channels_per_mother() -> None:
    expected = {1000001: 6, 1000005: 7, 2000005: 7, 1000006: 6, 2000006: 7, 1000011: 5, 1000012: 5}
    expected |= {1000021: 29, 1000022: 0, 1000023: 8, 1000024: 6, 1000025: 5, 1000037: 4}
    assert {pid: len(CHANNELS[pid]) for pid in expected} == expected


def test_gluino_alone_with_the_lightest_decays_to_three_bodies() -> None:
    channels = open_channels(1000021, {LBP: 100.0, 1000021: 1500.0})
    assert set(channels) == {(21, LBP), (-1, 1, LBP), (-4, 4, LBP), (-5, 5, LBP), (-6, 6, LBP)}
    below_two_tops = open_channels(1000021, {LBP: 100.0, 1000021: 445.0})
    assert (-6, 6, LBP) not in below_two_tops and (-5, 5, LBP) in below_two_tops


@pytest.mark.parametrize("pid", [1000023, 1000024])
def test_no_mass_difference_is_without_a_channel(pid: int) -> None:
    for step in range(1, 1500):
        masses = {LBP: 100.0, pid: 100.0 + 0.1 * step}
        channels = open_channels(pid, masses)
        assert channels
        three_body = [c for c in channels if len(c) == 3]
        assert is_off_shell(pid, masses) == bool(three_body)
        assert not three_body or len(three_body) == len(channels)


def test_border_between_on_and_off_shell_is_the_sum_of_masses() -> None:
    assert open_channels(1000023, {LBP: 100.0, 1000023: 192.0}) != ((23, LBP),)
    assert open_channels(1000023, {LBP: 100.0, 1000023: 192.001}) == ((23, LBP),)
    assert open_channels(1000024, {LBP: 100.0, 1000024: 181.001}) == ((24, LBP),)


def test_off_shell_mix_is_that_of_real_bosons() -> None:
    w_mix = off_shell_branching_ratios(1000024, {LBP: 100.0, 1000024: 150.0})
    assert w_mix[-1, 2, LBP] == pytest.approx(6 / 9)
    assert w_mix[-11, 12, LBP] == pytest.approx(1 / 9)
    z_mix = off_shell_branching_ratios(1000023, {LBP: 100.0, 1000023: 108.0})
    assert (-5, 5, LBP) not in z_mix
    assert sum(z_mix.values()) == pytest.approx(1.0)
    assert off_shell_branching_ratios(1000023, {LBP: 100.0, 1000023: 500.0}) == {}


def test_leptonic_off_shell_channels_form_one_group() -> None:
    groups = group_channels(1000024, {LBP: 100.0, 1000024: 150.0})
    assert sorted(map(len, groups)) == [1, 3]


def test_channel_needs_its_daughter() -> None:
    assert (5, 1000024) not in open_channels(1000006, {LBP: 100.0, 1000006: 600.0})
    assert (5, 1000024) in open_channels(1000006, {LBP: 100.0, 1000006: 600.0, 1000024: 300.0})
    assert open_channels(1000006, {LBP: 100.0}) == ()


def test_charge_modes_of_self_conjugate_mothers() -> None:
    assert charge_modes(1000021, (-6, 5, 1000024)) == ((-6, 5, 1000024), (-1000024, -5, 6))
    assert charge_modes(1000021, (-5, 5, LBP)) == ((-5, 5, LBP),)
    assert charge_modes(1000012, (11, 1000024)) == ((11, 1000024),)
    assert find_channel(1000023, (-24, 1000024)) is not None


def test_mass_bounds_follow_walls_order_and_the_lightest() -> None:
    rules = ParticleRules()
    assert rules.mass_bounds(1000024, {LBP: 50.0}) == (100.0, 2400.0)
    assert rules.mass_bounds(2000006, {LBP: 50.0, 1000006: 700.0}) == (700.0, 2400.0)
    assert rules.mass_bounds(1000006, {LBP: 50.0, 1000006: 700.0, 2000006: 900.0}) == (50.0, 900.0)
    assert rules.mass_bounds(LBP, {LBP: 50.0, 1000006: 700.0}) == (10.0, 700.0)


def test_order_decides_what_is_added_and_removed() -> None:
    rules = ParticleRules()
    assert rules.particle_to_add(1000003, {LBP: 50.0}) == 1000001
    assert rules.particle_to_add(1000004, {LBP: 50.0}) == 1000004
    assert not rules.can_remove(1000006, {LBP: 50.0, 1000006: 700.0, 2000006: 900.0})
    assert rules.can_remove(2000006, {LBP: 50.0, 1000006: 700.0, 2000006: 900.0})
    assert not rules.can_remove(LBP, {LBP: 50.0})


@pytest.mark.parametrize(
    ("masses", "word"),
    [
        ({LBP: 5.0}, "below"),
        ({LBP: 100.0, 1000006: 2500.0}, "above"),
        ({LBP: 100.0, 1000006: 90.0}, "lighter"),
        ({LBP: 100.0, 1000021: 300.0}, "wall"),
        ({LBP: 50.0, 2000006: 230.0}, "corridor"),
        ({LBP: 100.0, 1000002: 700.0}, "without"),
        ({LBP: 100.0, 1000001: 800.0, 1000002: 700.0}, "lighter than"),
    ],
)
def test_violations_are_named(masses: dict[int, float], word: str) -> None:
    violation = ParticleRules().find_violation(masses)
    assert violation is not None and word in violation


def test_corridor_is_open_at_both_ends() -> None:
    rules = ParticleRules()
    assert not rules.is_in_corridor(1000006, 250.0, 100.0)
    assert rules.is_in_corridor(1000006, 250.1, 100.0)
    assert not rules.is_in_corridor(1000006, 281.0, 100.0)
    assert not rules.is_in_corridor(1000005, 275.0, 100.0)
    assert rules.find_violation({LBP: 100.0, 1000006: 700.0}) is None


def test_rules_refuse_unknown_particles_and_keys() -> None:
    with pytest.raises(ValidationError, match="1000035 is not a particle"):
        ParticleRules(walls_gev={1000035: 100.0})
    with pytest.raises(ValidationError, match="extra"):
        ParticleRules.model_validate({"max_mass": 1.0})
