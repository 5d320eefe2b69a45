"""Properties every protomodel has, whatever is in it."""

from __future__ import annotations

import json
import math
import pickle
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from builder.decays import charge_modes, conjugate_daughters, open_channels
from builder.model_io import parse_models, write_json, write_slha
from builder.particles import POOL_PIDS, charge_thirds
from builder.prior_terms import count_classes, count_prior_terms
from builder.protomodel import ProtoModel
from inference.cross_sections import production_pairs

LBP = 1000022
OTHERS = [pid for pid in POOL_PIDS if pid != LBP]


@st.composite
def protomodels(draw: st.DrawFn) -> ProtoModel:
    """Draw a legal model: any particles, open channels, multipliers, sometimes explicit cross sections."""
    lbp_mass = draw(st.floats(10.0, 600.0))
    pids = draw(st.lists(st.sampled_from(OTHERS), unique=True, max_size=6))
    masses = {LBP: lbp_mass, **{pid: draw(st.floats(lbp_mass, 2400.0)) for pid in pids}}
    branching_ratios = {}
    for pid in pids:
        channels = open_channels(pid, masses)
        if channels:
            weights = [draw(st.floats(0.01, 1.0)) for _ in channels]
            total = math.fsum(weights)
            branching_ratios[pid] = {channel: weight / total for channel, weight in zip(channels, weights, strict=True)}
    pairs = production_pairs(masses)
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    positive = st.floats(1e-6, 1e4)
    ssms = {pair: draw(st.one_of(st.just(0.0), positive)) for pair in chosen}
    explicit = None
    if draw(st.booleans()):
        explicit = {sqrts_tev: {pair: draw(positive) for pair in chosen} for sqrts_tev in (8, 13)}
    return ProtoModel(masses, branching_ratios, ssms, explicit)


def shuffled(mapping: Any, reverse: bool) -> Any:
    """Return nested mappings with their keys in another order."""
    if not hasattr(mapping, "items"):
        return mapping
    items = sorted(mapping.items(), key=lambda item: hash(str(item[0])), reverse=reverse)
    return {key: shuffled(value, reverse) for key, value in items}


@given(protomodels(), st.booleans())
def test_hash_ignores_key_order_and_the_way_keys_are_written(model: ProtoModel, reverse: bool) -> None:
    branching_ratios = {
        pid: {charge_modes(pid, key)[-1][::-1]: br for key, br in channels.items()} for pid, channels in model.branching_ratios.items()
    }
    other = ProtoModel(
        shuffled(model.masses, reverse),
        shuffled(branching_ratios, reverse),
        {(pair[1], pair[0]): value for pair, value in shuffled(model.ssms, reverse).items()},
        shuffled(model.explicit_xsecs_fb, reverse),
    )
    assert other == model
    assert other.content_hash == model.content_hash


@given(protomodels())
def test_hash_tells_models_apart(model: ProtoModel) -> None:
    heavier = ProtoModel({**model.masses, LBP: math.nextafter(model.masses[LBP], 0.0)}, model.branching_ratios, model.ssms)
    assert heavier.content_hash != model.content_hash
    assert model.with_scaled_production(1.5).content_hash != model.content_hash or not model.xsecs_fb(13)


@given(protomodels())
def test_branching_ratios_of_model_and_spectrum_add_up_to_one(model: ProtoModel) -> None:
    spectrum = model.spectrum()
    for pid, channels in model.branching_ratios.items():
        assert math.isclose(math.fsum(channels.values()), 1.0, abs_tol=1e-9)
        listed = dict(spectrum.decays[pid])
        assert math.isclose(math.fsum(listed.values()), 1.0, abs_tol=1e-9)
        for daughters, br in listed.items():
            assert sum(map(charge_thirds, daughters)) == charge_thirds(pid)
            if pid in (1000021, 1000023, 1000025):
                assert listed[conjugate_daughters(daughters)] == br


@given(protomodels())
@settings(deadline=None)
def test_files_give_the_same_model_back(model: ProtoModel) -> None:
    assert parse_models(write_json(model)) == [model]
    assert pickle.loads(pickle.dumps(model)) == model  # noqa: S301
    (read,) = parse_models(write_slha(model))
    assert read.masses == model.masses
    assert read.branching_ratios.keys() == model.branching_ratios.keys()
    for pid, channels in model.branching_ratios.items():
        assert read.branching_ratios[pid] == channels
    for sqrts_tev in (8, 13):
        assert read.xsecs_fb(sqrts_tev) == model.xsecs_fb(sqrts_tev)
    if model.ssms:
        assert read.ssms == model.ssms
    if model.explicit_xsecs_fb is None:
        assert read == model


@given(protomodels())
def test_plain_json_keeps_the_physics(model: ProtoModel) -> None:
    spectrum = model.spectrum()
    plain = {
        "masses": {str(pid): mass for pid, mass in spectrum.masses.items()},
        "decays": {str(p): {",".join(map(str, d)): br for d, br in decays} for p, decays in spectrum.decays.items()},
        "xsecs_fb": {str(s): {f"{a},{b}": x for (a, b), x in xsecs.items()} for s, xsecs in spectrum.xsecs_fb.items()},
    }
    (read,) = parse_models(json.dumps(plain))
    assert read.spectrum() == spectrum
    if model.explicit_xsecs_fb is None:
        for pair in read.ssms:
            assert math.isclose(read.ssm(pair), model.ssm(pair), rel_tol=1e-12)


@given(protomodels(), st.data())
def test_freezing_leaves_a_legal_model_and_the_other_rates(model: ProtoModel, data: st.DataObject) -> None:
    if model.num_particles == 1:
        return
    pid = data.draw(st.sampled_from([p for p in model.pids if p != LBP]))
    without = ProtoModel(model.masses, model.branching_ratios, model.ssms).without_particle(pid, max_ssm=math.inf)
    assert without.num_particles == model.num_particles - 1
    before = ProtoModel(model.masses, model.branching_ratios, model.ssms)
    for mother, channels in without.branching_ratios.items():
        pair = next((p for p in production_pairs([mother]) if before.ssm(p) > 0.0), None)
        for daughters, br in channels.items():
            old = before.branching_ratios[mother][daughters]
            if pair is not None:
                rate, old_rate = without.xsecs_fb(13)[pair] * br**2, before.xsecs_fb(13)[pair] * old**2
                assert math.isclose(rate, old_rate, rel_tol=1e-9)


@given(protomodels())
def test_prior_terms_are_bounded(model: ProtoModel) -> None:
    terms = count_prior_terms(model)
    assert terms.num_particles == model.num_particles
    assert 0 <= terms.num_branching_ratios <= sum(max(0, len(c) - 1) for c in model.branching_ratios.values())
    assert 0 <= terms.num_ssms <= len(model.xsecs_fb(13))


@given(st.lists(st.floats(1e-5, 1.0), max_size=12), st.randoms())
def test_classes_ignore_the_order(values: list[float], random: Any) -> None:
    other = list(values)
    random.shuffle(other)
    num_classes = count_classes(values, 0.03)
    assert count_classes(other, 0.03) == num_classes
    assert count_classes(values + values, 0.03) == num_classes
    assert (num_classes == 0) == (not values)
