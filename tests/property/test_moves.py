"""Every move turns a valid model into a valid model, and leaves its input alone."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from builder.decays import find_channel, group_channels, is_open
from builder.moves.birth import add_particle, birth, force_birth
from builder.moves.branching_ratio import branching_ratio
from builder.moves.context import MoveContext
from builder.moves.death import death, remove_particle
from builder.moves.mass import mass
from builder.moves.merge import merge
from builder.moves.settings import (
    BranchingRatioSettings,
    DeathSettings,
    MassSettings,
    SsmSettings,
    WalkSettings,
)
from builder.moves.ssm import ssm
from builder.moves.trim import trim
from builder.particles import POOL_PIDS
from builder.protomodel import ProtoModel
from inference.cross_sections import production_pairs, reference_xsecs_fb
from inference.spectrum import LBP_PID
from inference.types import FloatArray

SETTINGS = WalkSettings(
    branching_ratio=BranchingRatioSettings(probability=1.0),
    ssm=SsmSettings(probability=1.0),
    death=DeathSettings(reach=1.0, spread=5.0),
    mass=MassSettings(tie_probability=0.5, tie_probability_off_shell=0.5, off_shell_probability=0.5),
)
CONTEXT = MoveContext(SETTINGS, tl=2.0)


def make_model(seed: int, num_births: int) -> ProtoModel:
    """Return a legal random model: X_Z^1 and up to `num_births` more particles, multipliers spread over decades."""
    rng = np.random.default_rng(seed)
    model = ProtoModel({LBP_PID: float(rng.uniform(20.0, 800.0))}, {}, {})
    for _ in range(num_births):
        model = force_birth(rng, model, CONTEXT) or model
    pairs = production_pairs(model.masses)
    values: FloatArray = np.minimum(10.0 ** rng.normal(0.0, 1.0, len(pairs)), SETTINGS.ssm_cap)
    return model.with_ssms({pair: float(value) for pair, value in zip(pairs, values, strict=True)})


def trim_random(rng: np.random.Generator, model: ProtoModel, context: MoveContext) -> ProtoModel | None:
    """Trim all but a random half of the particles."""
    seen = frozenset(pid for pid in model.masses if pid == LBP_PID or rng.random() < 0.5)
    return trim(rng, model, MoveContext(context.settings, contributing_pids=seen))


MOVES: dict[str, Callable[[np.random.Generator, ProtoModel, MoveContext], ProtoModel | None]] = {
    "birth": birth,
    "branching_ratio": branching_ratio,
    "ssm": ssm,
    "death": death,
    "mass": mass,
    "merge": merge,
    "trim": trim_random,
}


def check_valid(model: ProtoModel) -> None:
    """Assert everything a model in a walk must satisfy."""
    assert SETTINGS.rules.find_violation(model.masses) is None
    assert set(model.branching_ratios) == set(model.masses) - {LBP_PID}
    for mother, channels in model.branching_ratios.items():
        assert math.fsum(channels.values()) == pytest.approx(1.0, abs=1e-9)
        for daughters, br in channels.items():
            channel = find_channel(mother, daughters)
            assert br > 0.0
            assert channel is not None
            assert is_open(channel, model.masses)
        for members in group_channels(mother, model.masses):
            shares = [channels.get(daughters, 0.0) for daughters in members]
            assert max(shares) == pytest.approx(min(shares))
    assert tuple(model.ssms) == production_pairs(model.masses)
    assert all(0.0 <= value <= SETTINGS.ssm_cap * (1.0 + 1e-12) for value in model.ssms.values())


@pytest.mark.parametrize("name", MOVES)
@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), num_births=st.integers(0, 10))
def test_move_keeps_models_valid_and_its_input_untouched(name: str, seed: int, num_births: int) -> None:
    model = make_model(seed, num_births)
    check_valid(model)
    before = model.to_json()
    result = MOVES[name](np.random.default_rng(seed + 1), model, CONTEXT)
    assert model.to_json() == before
    if result is not None:
        check_valid(result)
        assert MOVES[name](np.random.default_rng(seed + 1), model, CONTEXT) == result


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_chain_of_moves_stays_valid(seed: int) -> None:
    rng = np.random.default_rng(seed)
    model = make_model(seed, 3)
    for name in rng.choice(list(MOVES), size=25):
        changed = MOVES[str(name)](rng, model, CONTEXT)
        model = model if changed is None else changed
    check_valid(model)


@settings(deadline=None, max_examples=80)
@given(seed=st.integers(0, 2**32 - 1), num_births=st.integers(2, 10), choice=st.integers(0, 100))
def test_death_keeps_rates_of_surviving_channels(seed: int, num_births: int, choice: int) -> None:
    model = make_model(seed, num_births)
    pids = [pid for pid in model.masses if pid != LBP_PID]
    smaller = remove_particle(np.random.default_rng(seed), model, pids[choice % len(pids)], CONTEXT)
    assume(smaller is not None)
    assert smaller is not None
    old_rates, new_rates = list_rates(model), list_rates(smaller)
    redrawn = {pid for pid, channels in smaller.branching_ratios.items() if not set(channels) & set(model.branching_ratios[pid])}
    for key, rate in new_rates.items():
        if not redrawn & {abs(key[0][0]), abs(key[0][1])}:
            assert rate == pytest.approx(old_rates[key], rel=1e-9)


def list_rates(model: ProtoModel) -> dict[tuple[tuple[int, int], tuple[int, ...], tuple[int, ...]], float]:
    """Return κ·σ_ref·BR·BR at 13 TeV [fb] per production pair and channels of its two members."""
    rates = {}
    for pair, reference in reference_xsecs_fb(model.masses, 13).items():
        first = model.branching_ratios.get(abs(pair[0]), {(): 1.0})
        second = model.branching_ratios.get(abs(pair[1]), {(): 1.0})
        for daughters_a, br_a in first.items():
            for daughters_b, br_b in second.items():
                rates[pair, daughters_a, daughters_b] = model.ssms[pair] * reference * br_a * br_b
    return rates


@settings(deadline=None, max_examples=80)
@given(seed=st.integers(0, 2**32 - 1), num_births=st.integers(2, 10))
def test_merge_conserves_the_cross_section_at_13_tev(seed: int, num_births: int) -> None:
    model = make_model(seed, num_births)
    small = model.with_ssms({pair: value * 1e-3 for pair, value in model.ssms.items()})  # far from the cap
    merged = merge(np.random.default_rng(seed), small, CONTEXT)
    assume(merged is not None)
    assert merged is not None
    lost_channels = any(set(model.branching_ratios[p]) - set(merged.branching_ratios.get(p, ())) for p in merged.branching_ratios)
    total = math.fsum(small.xsecs_fb(13).values())
    if lost_channels:  # closed channels of others are compensated downwards
        assert math.fsum(merged.xsecs_fb(13).values()) <= total * (1 + 1e-9)
    else:
        assert math.fsum(merged.xsecs_fb(13).values()) == pytest.approx(total, rel=1e-9)


def test_random_models_reach_the_whole_pool() -> None:
    seen: set[int] = set()
    for seed in range(60):
        seen |= set(make_model(seed, 8).masses)
    assert seen == set(POOL_PIDS)


def test_add_particle_of_each_kind_is_valid() -> None:
    rng = np.random.default_rng(5)
    for pid in POOL_PIDS:
        base = ProtoModel({LBP_PID: 150.0}, {}, {})
        needed = SETTINGS.rules.particle_to_add(pid, base.masses)
        if needed != pid:
            base = add_particle(rng, base, needed, CONTEXT) or base
        if pid != LBP_PID:
            larger = add_particle(rng, base, pid, CONTEXT)
            assert larger is not None
            check_valid(larger)
