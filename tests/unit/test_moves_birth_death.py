"""Birth, death and trim by hand: probabilities, ordering, restrictions, compensation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from pydantic import ValidationError

from builder.moves.birth import add_particle, birth, birth_probability, force_birth
from builder.moves.context import MoveContext
from builder.moves.death import death, death_probability, remove_particle
from builder.moves.settings import BirthSettings, DeathSettings, TrimSettings, WalkSettings
from builder.moves.trim import trim
from builder.particles import POOL_PIDS
from builder.protomodel import ProtoModel
from inference.spectrum import LBP_PID

XD, XU, XS, XT, XT2, XG, XZ2, XW1 = 1000001, 1000002, 1000003, 1000006, 2000006, 1000021, 1000023, 1000024
CONTEXT = MoveContext(WalkSettings())


def stop_model(mass: float = 1000.0) -> ProtoModel:
    return ProtoModel({LBP_PID: 200.0, XT: mass}, {XT: {(6, LBP_PID): 1.0}}, {})


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize(("num", "published"), [(2, 0.66), (6, 0.50)])
def test_add_probability_at_low_test_statistic_is_the_published_one(num: int, published: float) -> None:
    assert birth_probability(num, 1.0, BirthSettings()) == pytest.approx(published, abs=0.006)


@pytest.mark.parametrize(("num", "published"), [(3, 0.31), (6, 0.42)])
def test_remove_probability_at_low_test_statistic_is_the_published_one(num: int, published: float) -> None:
    assert death_probability(num, 1.0, DeathSettings()) == pytest.approx(published, abs=0.006)


def test_content_changes_become_rarer_at_high_test_statistic() -> None:
    dampings = [1.0, 2.0, 6.0, 21.0]
    for num in (3, 6, 12):
        adds = [birth_probability(num, d, BirthSettings()) for d in dampings]
        removes = [death_probability(num, d, DeathSettings()) for d in dampings]
        assert adds == sorted(adds, reverse=True)
        assert removes == sorted(removes, reverse=True)


def test_more_particles_mean_fewer_births_and_more_deaths() -> None:
    adds = [birth_probability(num, 2.0, BirthSettings()) for num in range(2, 20)]
    removes = [death_probability(num, 2.0, DeathSettings()) for num in range(3, 20)]
    assert adds == sorted(adds, reverse=True)
    assert removes == sorted(removes)
    assert birth_probability(1, 50.0, BirthSettings()) == 1.0
    assert death_probability(2, 1.0, DeathSettings()) == 0.0


@pytest.mark.parametrize("tl", [math.nan, 0.0, 5.0])
def test_frequencies_follow_the_stated_probabilities(tl: float) -> None:
    context, generator, num_draws = MoveContext(WalkSettings(), tl=tl), rng(3), 1500
    model = add_particle(rng(), stop_model(), XG, context)
    assert model is not None
    births = sum(birth(generator, model, context) is not None for _ in range(num_draws))
    deaths = sum(death(generator, model, context) is not None for _ in range(num_draws))
    for found, p in (
        (births, birth_probability(3, context.damping, BirthSettings())),
        (deaths, death_probability(3, context.damping, DeathSettings())),
    ):
        assert abs(found - num_draws * p) < 4.0 * math.sqrt(num_draws * p * (1.0 - p))


def test_a_lone_lightest_particle_always_gets_company() -> None:
    lightest = ProtoModel({LBP_PID: 300.0}, {}, {})
    assert all(birth(rng(seed), lightest, MoveContext(WalkSettings(), tl=1e6)) is not None for seed in range(50))


def test_newcomers_start_at_multiplier_one_and_leave_others_alone() -> None:
    model = stop_model().with_ssms({(-XT, XT): 0.3})
    larger = add_particle(rng(), model, XG, CONTEXT)
    assert larger is not None
    assert larger.ssms[-XT, XT] == 0.3
    assert {pair: larger.ssms[pair] for pair in larger.ssms if XG in pair} == {(-XT, XG): 1.0, (XT, XG): 1.0, (XG, XG): 1.0}
    assert larger.branching_ratios[XT] == model.branching_ratios[XT]


def test_heavier_partner_is_never_added_first() -> None:
    for seed in range(200):
        model = force_birth(rng(seed), ProtoModel({LBP_PID: 300.0}, {}, {}), CONTEXT)
        assert model is not None
        assert not set(model.masses) & {XT2, XU, XS, 2000005, 1000025, 1000037}


def test_forbidden_particles_are_never_added_not_even_as_lighter_partner() -> None:
    context = MoveContext(WalkSettings(forbidden_particles=(XT, XD)))
    model = ProtoModel({LBP_PID: 300.0}, {}, {})
    generator = rng(4)
    while (larger := force_birth(generator, model, context)) is not None:
        model = larger
    assert set(model.masses) == set(POOL_PIDS) - {XT, XT2, XD, XU, XS}


def test_a_full_pool_gives_no_birth_and_an_empty_one_is_refused() -> None:
    context = MoveContext(WalkSettings(forbidden_particles=tuple(p for p in POOL_PIDS if p not in (LBP_PID, XT))))
    model = force_birth(rng(), ProtoModel({LBP_PID: 300.0}, {}, {}), context)
    assert model is not None and set(model.masses) == {LBP_PID, XT}
    assert force_birth(rng(), model, context) is None
    assert context.pool_size == 2
    with pytest.raises(ValidationError, match="no particle is left"):
        WalkSettings(forbidden_particles=tuple(p for p in POOL_PIDS if p != LBP_PID))


def test_off_shell_start_lies_in_the_window_and_decays_democratically() -> None:
    context = MoveContext(WalkSettings(birth=BirthSettings(off_shell_probability=1.0)))
    model = add_particle(rng(), ProtoModel({LBP_PID: 200.0}, {}, {}), XW1, context)
    assert model is not None
    assert 200.0 < model.masses[XW1] < 281.0
    assert model.branching_ratios[XW1][-1, 2, LBP_PID] == pytest.approx(6 / 9, abs=0.15)
    assert len({round(br, 12) for key, br in model.branching_ratios[XW1].items() if key[0] < -10}) == 1


def test_death_compensates_pair_by_square_and_associated_by_once() -> None:
    model = ProtoModel(
        {LBP_PID: 200.0, XT: 1000.0, XG: 1500.0, XW1: 400.0},
        {XT: {(6, LBP_PID): 0.6, (5, XW1): 0.4}, XG: {(-6, XT): 1.0}, XW1: {(24, LBP_PID): 1.0}},
        {(-XT, XT): 2.0, (XT, XG): 3.0, (XG, XG): 5.0},
    )
    smaller = remove_particle(rng(), model, XW1, CONTEXT)
    assert smaller is not None
    assert smaller.branching_ratios[XT] == {(6, LBP_PID): pytest.approx(1.0)}
    assert smaller.ssms[-XT, XT] == pytest.approx(2.0 * 0.6**2)
    assert smaller.ssms[XT, XG] == pytest.approx(3.0 * 0.6)
    assert smaller.ssms[XG, XG] == 5.0


def test_death_of_the_only_daughter_draws_new_decays_and_keeps_multipliers() -> None:
    model = ProtoModel({LBP_PID: 200.0, XT: 1000.0, XW1: 400.0}, {XT: {(5, XW1): 1.0}, XW1: {(24, LBP_PID): 1.0}}, {(-XT, XT): 2.0})
    smaller = remove_particle(rng(), model, XW1, CONTEXT)
    assert smaller is not None
    assert smaller.branching_ratios[XT] == {(6, LBP_PID): 1.0}
    assert smaller.ssms[-XT, XT] == 2.0


def test_particles_without_any_channel_leave_too_unless_nothing_is_left() -> None:
    masses = {LBP_PID: 400.0, XT: 505.0, XW1: 499.0, XG: 900.0}
    decays = {XT: {(5, XW1): 1.0}, XW1: {(24, LBP_PID): 1.0}, XG: {(21, LBP_PID): 1.0}}
    smaller = remove_particle(rng(), ProtoModel(masses, decays, {}), XW1, CONTEXT)
    assert smaller is not None
    assert set(smaller.masses) == {LBP_PID, XG}
    alone = ProtoModel({p: m for p, m in masses.items() if p != XG}, {XT: decays[XT], XW1: decays[XW1]}, {})
    assert remove_particle(rng(), alone, XW1, CONTEXT) is None


def test_lighter_partner_stays_while_the_heavier_is_there() -> None:
    model = add_particle(rng(), stop_model(), XT2, CONTEXT)
    assert model is not None
    assert remove_particle(rng(), model, XT, CONTEXT) is None
    smaller = remove_particle(rng(), model, XT2, CONTEXT)
    assert smaller is not None
    assert set(smaller.masses) == {LBP_PID, XT}


def test_two_particles_never_die() -> None:
    context = MoveContext(WalkSettings(death=DeathSettings(spread=50.0)))
    assert all(death(rng(seed), stop_model(), context) is None for seed in range(100))


def test_trim_removes_what_the_combination_does_not_see() -> None:
    model = add_particle(rng(), stop_model(), XG, CONTEXT)
    assert model is not None
    trimmed = trim(rng(), model, MoveContext(WalkSettings(), contributing_pids=frozenset({XT, LBP_PID})))
    assert trimmed is not None
    assert set(trimmed.masses) == {LBP_PID, XT}


def test_trim_keeps_one_particle_needs_a_combination_and_can_be_off() -> None:
    model = add_particle(rng(), stop_model(), XT2, CONTEXT)
    assert model is not None
    only_lbp = frozenset({LBP_PID})
    trimmed = trim(rng(), model, MoveContext(WalkSettings(), contributing_pids=only_lbp))
    assert trimmed is not None
    assert set(trimmed.masses) == {LBP_PID, XT}
    assert trim(rng(), trimmed, MoveContext(WalkSettings(), contributing_pids=only_lbp)) is None
    assert trim(rng(), model, CONTEXT) is None
    off = WalkSettings(trim=TrimSettings(is_enabled=False))
    assert trim(rng(), model, MoveContext(off, contributing_pids=only_lbp)) is None
    assert trim(rng(), model, MoveContext(WalkSettings(), contributing_pids=frozenset(model.masses))) is None


def test_trim_cannot_take_the_lighter_partner_of_a_useful_one() -> None:
    model = add_particle(rng(), stop_model(), XT2, CONTEXT)
    assert model is not None
    assert trim(rng(), model, MoveContext(WalkSettings(), contributing_pids=frozenset({XT2, LBP_PID}))) is None
