"""Mass moves, the simplified copy and teleports by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from builder.decays import is_off_shell
from builder.moves.context import MoveContext
from builder.moves.mass import mass, mass_step
from builder.moves.merge import list_close_pairs, merge, merge_pair
from builder.moves.settings import MassSettings, TeleportSettings, WalkSettings
from builder.moves.teleport import teleport, teleport_probability
from builder.protomodel import ProtoModel
from inference.cross_sections import reference_xsec_fb
from inference.spectrum import LBP_PID

XD, XU, XS, XC, XT, XT2, XG, XZ2, XZ3, XW1, XW2 = (
    1000001, 1000002, 1000003, 1000004, 1000006, 2000006, 1000021, 1000023, 1000025, 1000024, 1000037,
)  # fmt: skip
CONTEXT = MoveContext(WalkSettings())


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def stop_model(mass_gev: float = 1000.0, lbp: float = 200.0) -> ProtoModel:
    return ProtoModel({LBP_PID: lbp, XT: mass_gev}, {XT: {(6, LBP_PID): 1.0}}, {})


def test_default_step_is_flat_within_200_gev() -> None:
    steps = []
    for seed in range(2000):
        result = mass(rng(seed), stop_model(), CONTEXT)
        assert result is not None
        if result.masses[XT] != 1000.0:
            steps.append(result.masses[XT] - 1000.0)
    assert 190.0 < max(steps) <= 200.0
    assert -200.0 <= min(steps) < -190.0
    assert abs(np.mean(steps)) < 4 * 200.0 / math.sqrt(3 * len(steps))
    assert np.std(steps) == pytest.approx(200.0 / math.sqrt(3), rel=0.05)


def test_adaptive_step_follows_the_text_of_the_paper() -> None:
    settings = WalkSettings(mass=MassSettings(step_scaling="adaptive"))
    assert mass_step(4, MoveContext(settings, tl=4.0)) == pytest.approx(4.0)
    assert mass_step(1, MoveContext(settings)) == 40.0


def test_mass_moves_are_certain_alone_and_rare_after_other_changes() -> None:
    context = MoveContext(WalkSettings(), is_changed=True)
    num = 3000
    found = sum(mass(rng(seed), stop_model(), context) is not None for seed in range(num))
    assert abs(found - 0.05 * num) < 4 * math.sqrt(num * 0.05 * 0.95)


def test_masses_respect_wall_corridor_and_order() -> None:
    model = ProtoModel(
        {LBP_PID: 60.0, XD: 320.0, XT: 290.0, XT2: 300.0},
        {XD: {(1, LBP_PID): 1.0}, XT: {(6, LBP_PID): 1.0}, XT2: {(6, LBP_PID): 1.0}},
        {},
    )
    moved = [result for seed in range(500) if (result := mass(rng(seed), model, CONTEXT)) is not None]
    assert len(moved) > 300
    for result in moved:
        assert CONTEXT.settings.rules.find_violation(result.masses) is None
        assert result.masses[XD] >= 310.0


def test_closing_a_channel_compensates_the_multiplier() -> None:
    model = ProtoModel(
        {LBP_PID: 200.0, XT: 600.0, XW1: 590.0}, {XT: {(6, LBP_PID): 0.5, (5, XW1): 0.5}, XW1: {(24, LBP_PID): 1.0}}, {(-XT, XT): 4.0}
    )
    closed = 0
    for seed in range(100):
        result = mass(rng(seed), model, CONTEXT)
        assert result is not None
        if len(result.branching_ratios[XT]) == 1:
            closed += 1
            assert sum(result.branching_ratios[XT].values()) == pytest.approx(1.0)
            assert result.ssms[-XT, XT] == pytest.approx(1.0)
        else:
            assert result.ssms[-XT, XT] == 4.0
    assert closed > 10


def test_off_shell_window_is_reached_and_re_initialises_decays() -> None:
    settings = WalkSettings(mass=MassSettings(off_shell_probability=1.0, tie_probability=0.0, tie_probability_off_shell=0.0))
    model = ProtoModel({LBP_PID: 200.0, XZ2: 900.0}, {XZ2: {(23, LBP_PID): 1.0}}, {})
    moved = 0
    for seed in range(60):
        result = mass(rng(seed), model, MoveContext(settings))
        assert result is not None
        if result.masses[XZ2] != 900.0:
            moved += 1
            assert 200.0 < result.masses[XZ2] < 292.0
            assert is_off_shell(XZ2, result.masses)
            assert result.branching_ratios[XZ2][-2, 2, LBP_PID] >= 12 / 18 - 1e-12
    assert moved > 15


def test_tied_partners_jump_together_and_are_added_if_absent() -> None:
    settings = WalkSettings(mass=MassSettings(tie_probability=1.0, off_shell_probability=0.0))
    alone = ProtoModel({LBP_PID: 200.0, XZ2: 500.0}, {XZ2: {(23, LBP_PID): 1.0}}, {})
    results = [mass(rng(seed), alone, MoveContext(settings)) for seed in range(60)]
    tied = [r for r in results if r is not None and XW1 in r.masses]
    assert tied
    for result in tied:
        assert result.masses[XW1] == pytest.approx(result.masses[XZ2], rel=0.0101)
        assert result.ssms[-XW1, XW1] == 1.0
        assert sum(result.branching_ratios[XW1].values()) == pytest.approx(1.0)
    forbidden = WalkSettings(mass=MassSettings(tie_probability=1.0), forbidden_particles=(XW1,))
    assert all(XW1 not in r.masses for seed in range(60) if (r := mass(rng(seed), alone, MoveContext(forbidden))) is not None)


def test_tied_jump_obeys_the_ordering() -> None:
    settings = WalkSettings(mass=MassSettings(tie_probability=1.0, tie_probability_off_shell=1.0))
    model = ProtoModel(
        {LBP_PID: 100.0, XZ2: 800.0, XW1: 300.0, XW2: 320.0},
        {XZ2: {(23, LBP_PID): 1.0}, XW1: {(24, LBP_PID): 1.0}, XW2: {(24, LBP_PID): 1.0}},
        {},
    )
    moved = [result for seed in range(200) if (result := mass(rng(seed), model, MoveContext(settings))) is not None]
    assert any(result.masses[XW1] != 300.0 for result in moved)
    assert all(result.masses[XW1] <= result.masses[XW2] for result in moved)


def test_merge_adds_cross_sections_at_the_mean_mass() -> None:
    model = ProtoModel(
        {LBP_PID: 100.0, XD: 700.0, XU: 800.0},
        {XD: {(1, LBP_PID): 1.0}, XU: {(2, LBP_PID): 1.0}},
        {(-XD, XD): 0.5, (-XU, XU): 2.0},
    )
    merged = merge(rng(), model, CONTEXT)
    assert merged is not None
    assert dict(merged.masses) == {LBP_PID: 100.0, XD: 750.0}
    assert merged.branching_ratios[XD] == {(1, LBP_PID): 1.0}
    total = sum(model.xsecs_fb(13).values())
    reference = reference_xsec_fb((-XD, XD), merged.masses, 13)
    assert reference is not None
    assert merged.ssms[-XD, XD] == pytest.approx(total / reference)
    assert merged.xsecs_fb(13)[-XD, XD] == pytest.approx(total)


def test_merge_keeps_signs_and_adds_mixed_pairs() -> None:
    model = ProtoModel(
        {LBP_PID: 100.0, XW1: 400.0, XW2: 450.0},
        {XW1: {(24, LBP_PID): 1.0}, XW2: {(24, LBP_PID): 1.0}},
        {(-XW1, LBP_PID): 3.0, (LBP_PID, XW1): 0.25},
    )
    merged = merge(rng(), model, CONTEXT)
    assert merged is not None
    old, new = model.xsecs_fb(13), merged.xsecs_fb(13)
    assert new[-XW1, LBP_PID] == pytest.approx(old[-XW1, LBP_PID])
    assert new[LBP_PID, XW1] == pytest.approx(old[LBP_PID, XW1])
    charginos = [(-XW1, XW1), (-XW1, XW2), (-XW2, XW1), (-XW2, XW2)]
    assert new[-XW1, XW1] == pytest.approx(sum(old[pair] for pair in charginos))


def test_merge_redirects_decays_and_sums_branching_ratios() -> None:
    model = ProtoModel(
        {LBP_PID: 100.0, XD: 700.0, XU: 750.0, XG: 1500.0, XW1: 300.0},
        {
            XD: {(1, LBP_PID): 1.0},
            XU: {(2, LBP_PID): 0.5, (1, XW1): 0.5},
            XG: {(-1, XD): 0.3, (-2, XU): 0.7},
            XW1: {(24, LBP_PID): 1.0},
        },
        {},
    )
    merged = merge(rng(), model, CONTEXT)
    assert merged is not None
    assert merged.branching_ratios[XG] == {(-1, XD): pytest.approx(1.0)}
    assert merged.branching_ratios[XD] == {(1, LBP_PID): pytest.approx(0.75), (-XW1, 2): pytest.approx(0.25)}


def test_merge_goes_on_until_nothing_is_close_and_does_not_mind_the_order_of_ids() -> None:
    model = ProtoModel(
        {LBP_PID: 100.0, XD: 700.0, XU: 900.0, XS: 800.0, XC: 690.0},
        {p: {(p - 1000000, LBP_PID): 1.0} for p in (XD, XU, XS, XC)},
        {},
    )
    merged = merge(rng(), model, CONTEXT)
    assert merged is not None
    assert set(merged.masses) == {LBP_PID, XD}
    assert sum(merged.xsecs_fb(13).values()) == pytest.approx(sum(model.xsecs_fb(13).values()))


def test_nothing_close_means_no_copy() -> None:
    model = ProtoModel({LBP_PID: 100.0, XT: 700.0, XT2: 900.0}, {XT: {(6, LBP_PID): 1.0}, XT2: {(6, LBP_PID): 1.0}}, {})
    assert merge(rng(), model, CONTEXT) is None
    assert list_close_pairs(model.with_masses({XT2: 899.0}), CONTEXT) == [(XT, XT2)]


def test_stops_are_not_merged_into_the_corridor() -> None:
    masses = {LBP_PID: 60.0, XT: 192.0, XT2: 280.0, XW1: 150.0}
    model = ProtoModel(masses, {XT: {(5, XW1): 1.0}, XT2: {(6, LBP_PID): 1.0}, XW1: {(24, LBP_PID): 1.0}}, {})
    assert CONTEXT.settings.rules.find_violation(masses) is None
    assert merge_pair(rng(), model, XT, XT2, CONTEXT) is None


def test_heavier_partner_that_decays_into_the_lighter_one_merges() -> None:
    model = ProtoModel({LBP_PID: 100.0, XT: 700.0, XT2: 850.0}, {XT: {(6, LBP_PID): 1.0}, XT2: {(23, XT): 1.0}}, {})
    merged = merge(rng(), model, CONTEXT)
    assert merged is not None
    assert merged.branching_ratios == {XT: {(6, LBP_PID): 1.0}}


def test_merging_can_be_switched_off() -> None:
    settings = WalkSettings.model_validate({"merge": {"is_enabled": False}})
    model = ProtoModel({LBP_PID: 100.0, XT: 700.0, XT2: 750.0}, {XT: {(6, LBP_PID): 1.0}, XT2: {(6, LBP_PID): 1.0}}, {})
    assert merge(rng(), model, MoveContext(settings)) is None


def test_teleport_is_off_by_default_and_prefers_the_best() -> None:
    scores = ((stop_model(900.0), 6.0), (stop_model(800.0), 5.0), (stop_model(700.0), 3.0))
    assert teleport(rng(), stop_model(), MoveContext(WalkSettings(), k=-5.0, hiscores=scores)) is None
    settings = WalkSettings(teleport=TeleportSettings(is_enabled=True, max_probability=1.0, k_scale=1e-3))
    context = MoveContext(settings, k=-5.0, hiscores=scores)
    targets = [teleport(rng(seed), stop_model(), context) for seed in range(700)]
    counts = [sum(t is not None and t.masses[XT] == m for t in targets) for m in (900.0, 800.0, 700.0)]
    for count, weight in zip(counts, (4, 2, 1), strict=True):
        assert abs(count - 700 * weight / 7) < 4 * math.sqrt(700 * weight / 7)


def test_teleport_has_a_last_step_and_never_goes_down() -> None:
    settings = WalkSettings(teleport=TeleportSettings(is_enabled=True, max_probability=1.0, k_scale=1e-3, last_step=10))
    scores = ((stop_model(900.0), 6.0),)
    assert teleport(rng(), stop_model(), MoveContext(settings, step=11, k=0.0, hiscores=scores)) is None
    assert teleport(rng(), stop_model(), MoveContext(settings, step=10, k=0.0, hiscores=scores)) is not None
    assert teleport(rng(), stop_model(), MoveContext(settings, step=1, k=7.0, hiscores=scores)) is None


def test_teleport_probability_has_a_floor_and_a_threshold() -> None:
    settings = TeleportSettings()
    assert teleport_probability(-math.inf, 8.0, settings) == pytest.approx(0.5 * (1 - math.exp(-1.0)))
    assert teleport_probability(-5.0, 0.9, settings) == 0.0
