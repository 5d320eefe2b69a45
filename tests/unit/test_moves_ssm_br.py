"""Multipliers and branching ratios by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from builder.decays import group_channels
from builder.moves.branching_ratio import branching_ratio, step_half_width
from builder.moves.context import MoveContext
from builder.moves.draft import Draft, sign_classes
from builder.moves.settings import BranchingRatioSettings, SsmSettings, WalkSettings
from builder.moves.ssm import scale_particle, ssm
from builder.protomodel import ProtoModel
from inference.cross_sections import production_pairs
from inference.spectrum import LBP_PID

XT, XG, XZ2, XW1 = 1000006, 1000021, 1000023, 1000024

MODEL = ProtoModel(
    {LBP_PID: 200.0, XT: 1000.0, XG: 1500.0, XZ2: 400.0, XW1: 400.0},
    {XT: {(6, LBP_PID): 0.6, (5, XW1): 0.4}, XG: {(-6, XT): 1.0}, XZ2: {(23, LBP_PID): 1.0}, XW1: {(24, LBP_PID): 1.0}},
    {(-XT, XT): 2.0},
)


def context_for(**kwargs: object) -> MoveContext:
    return MoveContext(WalkSettings.model_validate({"ssm": {"probability": 1.0, **kwargs}}))


def run_ssm(context: MoveContext, model: ProtoModel = MODEL, num: int = 300) -> list[ProtoModel]:
    results = (ssm(np.random.default_rng(seed), model, context) for seed in range(num))
    return [result for result in results if result is not None]


def changed_pairs(result: ProtoModel, model: ProtoModel = MODEL) -> dict[tuple[int, int], float]:
    return {pair: value for pair, value in result.ssms.items() if value != model.ssm(pair)}


def test_the_factor_acts_once_on_each_sign_variant() -> None:
    draft = Draft.from_protomodel(MODEL)
    scale_particle(draft, XW1, 1.1, sign_classes(draft.masses))
    for pair, value in draft.ssms.items():
        expected = 1.1 if XW1 in (abs(pair[0]), abs(pair[1])) else MODEL.ssm(pair)
        assert value == pytest.approx(expected)
    assert draft.ssms[-XW1, XW1] == draft.ssms[LBP_PID, XW1] == draft.ssms[-XW1, XZ2] == 1.1


def test_scaling_a_particle_stays_within_the_published_interval() -> None:
    context = context_for(one_particle_probability=1.0, knock_out_probability=0.0, reset_probability=0.0, copy_probability=0.0)
    factors = []
    for result in run_ssm(context):
        ratios = {round(value / MODEL.ssm(pair), 12) for pair, value in changed_pairs(result).items()}
        assert len(ratios) == 1
        factors.append(ratios.pop())
    assert min(factors) >= 0.8
    assert max(factors) <= 1.2
    assert np.mean(factors) == pytest.approx(1.0, abs=4 * 0.4 / math.sqrt(12 * len(factors)))


@pytest.mark.parametrize(("kind", "value"), [("knock_out_probability", 1e-5), ("reset_probability", 1.0)])
def test_one_process_is_set_in_all_its_sign_variants(kind: str, value: float) -> None:
    shares = {"knock_out_probability": 0.0, "reset_probability": 0.0, "copy_probability": 0.0, kind: 1.0}
    model = MODEL.with_ssms(dict.fromkeys(production_pairs(MODEL.masses), 3.0))
    for result in run_ssm(context_for(one_particle_probability=1.0, **shares), model):
        changed = changed_pairs(result, model)
        assert set(changed.values()) == {value}
        assert len({(min(map(abs, pair)), max(map(abs, pair))) for pair in changed}) == 1
        key = next(iter(changed))
        variants = sign_classes(model.masses)[min(map(abs, key)), max(map(abs, key))]
        assert set(changed) == set(variants)


def test_one_process_moves_leave_the_lightest_alone_and_never_go_negative() -> None:
    context = context_for(one_particle_probability=0.0, process_factor_sigma=3.0)
    results = run_ssm(context)
    assert results
    for result in results:
        changed = changed_pairs(result)
        assert not any(LBP_PID in pair for pair in changed)
        assert min(result.ssms.values()) >= 0.0
    assert any(0.0 in changed_pairs(result).values() for result in results)


def test_a_process_that_is_off_can_come_back() -> None:
    off = MODEL.with_ssms(dict.fromkeys(production_pairs(MODEL.masses), 0.0))
    assert any(max(result.ssms.values()) > 0.05 for result in run_ssm(context_for(one_particle_probability=0.0), off))


def test_only_processes_with_a_cross_section_are_touched_and_none_exceeds_the_cap() -> None:
    settings = WalkSettings(ssm=SsmSettings(probability=1.0, one_particle_probability=0.0, process_shift_mean=50.0), ssm_cap=20.0)
    results = run_ssm(MoveContext(settings))
    assert all(max(result.ssms.values()) <= 20.0 for result in results)
    assert any(20.0 in result.ssms.values() for result in results)
    assert all(tuple(result.ssms) == production_pairs(MODEL.masses) for result in results)


def test_a_single_process_has_nothing_to_change() -> None:
    lone = ProtoModel({LBP_PID: 200.0, XT: 1000.0}, {XT: {(6, LBP_PID): 1.0}}, {})
    assert run_ssm(context_for(), lone) == []


def br_context(**kwargs: object) -> MoveContext:
    return MoveContext(WalkSettings.model_validate({"branching_ratio": {"probability": 1.0, **kwargs}}))


@pytest.mark.parametrize(("num", "paper", "code"), [(1, 0.1, 0.1), (4, 0.025, 0.05), (9, 0.1 / 9, 0.1 / 3)])
def test_step_width_of_paper_and_code(num: int, paper: float, code: float) -> None:
    assert step_half_width(num, BranchingRatioSettings()) == pytest.approx(paper)
    assert step_half_width(num, BranchingRatioSettings(step_scaling="1/sqrt(k)")) == pytest.approx(code)


def test_branching_ratio_steps_are_small_and_multipliers_stay() -> None:
    context = br_context(single_channel_probability=0.0, close_probability=0.0)
    for seed in range(200):
        result = branching_ratio(np.random.default_rng(seed), MODEL, context)
        assert result is not None
        assert result.ssms == {pair: MODEL.ssm(pair) for pair in production_pairs(MODEL.masses)}
        moved = [pid for pid in MODEL.branching_ratios if result.branching_ratios[pid] != MODEL.branching_ratios[pid]]
        assert len(moved) == 1
        pid = moved[0]
        groups = group_channels(pid, MODEL.masses)
        for channel in (c for members in groups for c in members):
            old, new = MODEL.branching_ratios[pid].get(channel, 0.0), result.branching_ratios[pid].get(channel, 0.0)
            assert abs(new - old) < 0.2  # a/k each, then normalised


def test_one_channel_can_take_everything() -> None:
    results = [branching_ratio(np.random.default_rng(seed), MODEL, br_context(single_channel_probability=1.0)) for seed in range(100)]
    for result in results:
        assert result is not None
        assert all(
            max(channels.values()) == 1.0
            for pid, channels in result.branching_ratios.items()
            if pid != XT or channels != MODEL.branching_ratios[XT]
        )


def test_lepton_channels_move_together_and_do_not_shrink() -> None:
    """The reference code divided by three at each change; on average the share of leptons must stay."""
    masses = {LBP_PID: 200.0, XZ2: 250.0, XT: 1000.0}
    off_shell = {(-2, 2, LBP_PID): 0.4, (-5, 5, LBP_PID): 0.3, (-11, 11, LBP_PID): 0.1, (-13, 13, LBP_PID): 0.1, (-15, 15, LBP_PID): 0.1}
    model = ProtoModel(masses, {XZ2: off_shell, XT: {(6, LBP_PID): 1.0}}, {})
    context = br_context(single_channel_probability=0.0, close_probability=0.0, step_scaling="1/sqrt(k)")
    shares = []
    for seed in range(600):
        result = branching_ratio(np.random.default_rng(seed), model, context)
        assert result is not None
        decays = result.branching_ratios[XZ2]
        if decays == model.branching_ratios[XZ2]:
            continue
        leptons = [decays[key] for key in ((-11, 11, LBP_PID), (-13, 13, LBP_PID), (-15, 15, LBP_PID))]
        assert max(leptons) == pytest.approx(min(leptons))
        shares.append(sum(leptons))
    assert np.mean(shares) == pytest.approx(0.3, abs=0.02)


def test_branching_ratios_need_two_particles_and_two_channels() -> None:
    lone = ProtoModel({LBP_PID: 200.0, XG: 1000.0}, {XG: {(21, LBP_PID): 1.0}}, {})
    assert all(branching_ratio(np.random.default_rng(seed), lone, br_context()) is None for seed in range(20))
    no_choice = ProtoModel({LBP_PID: 200.0, XT: 1000.0, 1000011: 300.0}, {XT: {(6, LBP_PID): 1.0}, 1000011: {(11, LBP_PID): 1.0}}, {})
    assert all(branching_ratio(np.random.default_rng(seed), no_choice, br_context()) is None for seed in range(20))


def test_the_probability_of_a_change_is_the_published_one() -> None:
    num = 2000
    found = sum(branching_ratio(np.random.default_rng(seed), MODEL, MoveContext(WalkSettings())) is not None for seed in range(num))
    assert abs(found - 0.2 * num) < 4 * math.sqrt(num * 0.2 * 0.8)
    found = sum(ssm(np.random.default_rng(seed), MODEL, MoveContext(WalkSettings())) is not None for seed in range(num))
    assert found < 0.25 * num + 4 * math.sqrt(num * 0.25 * 0.75)  # some changes hit the value that was there
    assert found > 0.2 * num
