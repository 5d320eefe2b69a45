"""The immutable model: validation, conventions, editing, hash."""

from __future__ import annotations

import dataclasses
import json
import pickle
from typing import Any

import pytest

from builder.protomodel import ProtoModel
from builder.rates import implied_ssms, surviving_decays
from database.errors import ModelFormatError
from inference.cross_sections import reference_xsec_fb

LBP, XT, XB, XW, XZ2, XG = 1000022, 1000006, 1000005, 1000024, 1000023, 1000021


@pytest.fixture
def model() -> ProtoModel:
    return ProtoModel(
        {XT: 1100.0, LBP: 160.0, XZ2: 400.0, XW: 300.0},
        {
            XT: {(LBP, 6): 0.5, (5, XW): 0.5},
            XW: {(24, LBP): 1.0},
            XZ2: {(23, LBP): 0.2, (24, -XW): 0.8},
        },
        {(XT, -XT): 1.2, (-XW, XW): 0.0},
    )


def test_content_is_canonical(model: ProtoModel) -> None:
    assert model.pids == (XT, LBP, XZ2, XW)
    assert list(model.branching_ratios[XT]) == [(5, XW), (6, LBP)]
    assert list(model.branching_ratios[XZ2]) == [(-24, XW), (23, LBP)]
    assert list(model.ssms) == [(-XW, XW), (-XT, XT)]
    assert model.num_particles == 4


def test_model_cannot_be_changed(model: ProtoModel) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        model.masses = {}  # type: ignore[misc]
    with pytest.raises(TypeError):
        model.masses[XT] = 1.0  # type: ignore[index]
    with pytest.raises(TypeError):
        model.branching_ratios[XT][6, LBP] = 1.0  # type: ignore[index]


def test_spectrum_lists_both_charge_modes(model: ProtoModel) -> None:
    spectrum = model.spectrum()
    assert dict(spectrum.decays[XZ2]) == {(-24, XW): 0.4, (-XW, 24): 0.4, (23, LBP): 0.2}
    assert dict(spectrum.decays[XT]) == {(5, XW): 0.5, (6, LBP): 0.5}
    assert (-XW, XW) not in spectrum.xsecs_fb[13]
    reference = reference_xsec_fb((-XT, XT), model.masses, 8)
    assert reference is not None
    assert spectrum.xsecs_fb[8][-XT, XT] == pytest.approx(1.2 * reference)
    assert spectrum.xsecs_fb[13][LBP, XW] == reference_xsec_fb((LBP, XW), model.masses, 13)
    assert spectrum.widths == {}
    pickle.dumps(spectrum)


def test_explicit_cross_sections_replace_everything(model: ProtoModel) -> None:
    explicit = ProtoModel(model.masses, model.branching_ratios, model.ssms, {13: {(XT, -XT): 3.0, (-XW, XW): 0.0}})
    assert explicit.xsecs_fb(13) == {(-XT, XT): 3.0}
    assert explicit.xsecs_fb(8) == {}
    assert explicit.content_hash != model.content_hash
    assert explicit.with_ssms({(-XT, XT): 1.0}).explicit_xsecs_fb is None
    assert explicit.with_branching_ratios(XT, {(6, LBP): 1.0}).explicit_xsecs_fb is not None
    assert explicit.with_scaled_production(2.0).xsecs_fb(13) == {(-XT, XT): 6.0}


def test_pickle_json_and_equality(model: ProtoModel) -> None:
    for copy in (pickle.loads(pickle.dumps(model)), ProtoModel.from_json(model.to_json())):  # noqa: S301
        assert copy == model and hash(copy) == hash(model) and copy.content_hash == model.content_hash
    assert model != "model"


def test_scaling_scales_default_multipliers_too(model: ProtoModel) -> None:
    scaled = model.with_scaled_production(0.5)
    for sqrts_tev in (8, 13):
        assert scaled.xsecs_fb(sqrts_tev).keys() == model.xsecs_fb(sqrts_tev).keys()
        for pair, xsec in model.xsecs_fb(sqrts_tev).items():
            assert scaled.xsecs_fb(sqrts_tev)[pair] == pytest.approx(0.5 * xsec)


def test_freezing_a_particle_keeps_the_rates_of_the_others(model: ProtoModel) -> None:
    without = model.without_particle(XW)
    assert XW not in without.masses and all(XW not in map(abs, pair) for pair in without.ssms)
    assert dict(without.branching_ratios[XT]) == {(6, LBP): 1.0}
    assert without.xsecs_fb(13)[-XT, XT] == pytest.approx(model.xsecs_fb(13)[-XT, XT] * 0.25)
    assert without.xsecs_fb(13)[LBP, XZ2] == pytest.approx(model.xsecs_fb(13)[LBP, XZ2] * 0.2)
    plain = model.without_particle(XW, keeps_rates=False)
    assert plain.xsecs_fb(13)[-XT, XT] == model.xsecs_fb(13)[-XT, XT]


def test_mass_change_closes_channels(model: ProtoModel) -> None:
    closed = model.with_masses({XZ2: 370.0})
    assert dict(closed.branching_ratios[XZ2]) == {(23, LBP): 1.0}
    assert closed.ssm((XZ2, XZ2)) == pytest.approx(0.04)
    assert model.with_masses({XT: 1000.0}).ssms == model.ssms


def test_particle_that_lost_every_channel_keeps_its_multiplier() -> None:
    remaining, survival = surviving_decays({XW: {(24, LBP): 1.0}}, {LBP: 100.0, XW: 150.0})
    assert remaining == {XW: {}} and survival == {XW: 0.0}


def test_implied_multipliers_use_13_tev(model: ProtoModel) -> None:
    ssms = implied_ssms(model.masses, {8: {(-XT, XT): 1.0}, 13: model.xsecs_fb(13) | {(LBP, LBP): 5.0}})
    assert ssms[-XT, XT] == pytest.approx(1.2)
    assert ssms[LBP, LBP] == 1.0


def test_unfreezing(model: ProtoModel) -> None:
    grown = model.with_particle(XG, 1800.0, {(-6, 6, LBP): 1.0}, {(XG, XG): 0.7})
    assert grown.num_particles == 5
    assert grown.xsecs_fb(13)[XG, XG] == pytest.approx(0.7 * (reference_xsec_fb((XG, XG), grown.masses, 13) or 0.0))


BASE: dict[str, Any] = {"masses": {LBP: 100.0, XT: 600.0}, "branching_ratios": {XT: {(6, LBP): 1.0}}, "ssms": {}}


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("masses", {XT: 600.0}, ("masses", "missing")),
        ("masses", {LBP: 100.0, XT: 90.0}, ("masses[1000006]", "lighter")),
        ("masses", {LBP: 100.0, XT: float("nan")}, ("masses[1000006]", "finite")),
        ("masses", {LBP: 100.0, XT: 1e6}, ("masses[1000006]", "frozen")),
        ("masses", {LBP: 100.0, 1000035: 600.0}, ("1000035", "pool")),
        ("masses", {LBP: 100.0, XT: "heavy"}, ("masses[1000006]", "number")),
        ("branching_ratios", {XT: {(6, LBP): 0.9}}, ("branching_ratios[1000006]", "0.9")),
        ("branching_ratios", {XT: {(6, LBP): 1.5, (5, XW): -0.5}}, ("branching_ratios[1000006]", "non-negative")),
        ("branching_ratios", {XT: {(5, XW): 1.0}}, ("branching_ratios[1000006][5,1000024]", "not in the model")),
        ("branching_ratios", {XT: {(5, LBP): 1.0}}, ("branching_ratios[1000006][5,1000022]", "charge")),
        ("branching_ratios", {XT: {(6, 77, LBP): 1.0}}, ("77",)),
        ("branching_ratios", {XT: {(6, LBP, LBP): 1.0}}, ("one BSM daughter",)),
        ("branching_ratios", {LBP: {(22,): 1.0}}, ("1000022", "two daughters")),
        ("branching_ratios", {XW: {(24, LBP): 1.0}}, ("branching_ratios[1000024]", "not in the model")),
        ("branching_ratios", {LBP: {(22, LBP): 1.0}}, ("1000022", "Standard Model particles only")),
        ("branching_ratios", {XT: {(22, XT): 1.0}}, ("1000006", "into itself")),
        ("widths", {XW: 1e-15}, ("widths[1000024]", "not in the model")),
        ("widths", {XT: -1e-15}, ("widths[1000006]", "non-negative")),
        ("ssms", {(-XW, XW): 1.0}, ("ssms[-1000024,1000024]", "not in the model")),
        ("ssms", {(-XT, XT): -1.0}, ("ssms[-1000006,1000006]", "non-negative")),
        ("ssms", {(-XT, XT): 1.0, (XT, -XT): 1.0}, ("ssms[-1000006,1000006]", "twice")),
        ("ssms", {(XT,): 1.0}, ("ssms", "two particles")),
        ("explicit_xsecs_fb", {14: {}}, ("explicit_xsecs_fb", "8 or 13")),
        ("explicit_xsecs_fb", {13: {(-XT, XT): float("inf")}}, ("explicit_xsecs_fb[13][-1000006,1000006]", "finite")),
    ],
)
def test_errors_name_the_field(field: str, value: Any, words: tuple[str, ...]) -> None:
    with pytest.raises(ModelFormatError) as caught:
        ProtoModel(**{**BASE, field: value})
    for word in words:
        assert word in str(caught.value)
    assert str(caught.value).count("\n") == 0


def test_decay_into_a_heavier_particle_is_refused() -> None:
    with pytest.raises(ModelFormatError, match="heavier than the mother"):
        ProtoModel({LBP: 100.0, XT: 600.0, XB: 700.0}, {XT: {(24, XB): 1.0}}, {})


@pytest.mark.parametrize(
    ("document", "word"),
    [
        ("{", "JSON"),
        ("[]", "object"),
        ("{}", "masses_gev"),
        ({"format": "slha", "masses_gev": {}}, "format"),
        ({"format_version": 2, "masses_gev": {}}, "format_version"),
        ({"masses_gev": {"top": 1.0}}, "masses_gev"),
        ({"masses_gev": {"1000022": 1.0}, "ssms": {"a,b": 1}}, "ssms"),
        ({"masses_gev": {"1000022": 1.0}, "branching_ratios": []}, "branching_ratios"),
    ],
)
def test_broken_documents(document: Any, word: str) -> None:
    with pytest.raises(ModelFormatError, match=word):
        ProtoModel.from_json(document)


def test_prompt_and_unknown_widths_leave_no_trace() -> None:
    prompt = ProtoModel(**BASE)
    for width in (1.0, 1.1e-11):
        assert ProtoModel(**BASE, widths={XT: width}).content_hash == prompt.content_hash
    assert "widths_gev" not in prompt.to_json()
    assert ProtoModel(**BASE, widths={LBP: 0.0}) == prompt


def test_widths_of_long_lived_particles_are_part_of_the_model() -> None:
    prompt, slow = ProtoModel(**BASE), ProtoModel(**BASE, widths={XT: 1e-15})
    assert slow.content_hash != prompt.content_hash and slow != prompt
    assert slow.spectrum().widths == {XT: 1e-15}
    for copy in (pickle.loads(pickle.dumps(slow)), ProtoModel.from_json(json.dumps(slow.to_json()))):  # noqa: S301
        assert copy == slow and copy.content_hash == slow.content_hash
    assert prompt.with_widths({XT: 1e-15}) == slow and slow.with_widths({XT: 1.0}) == prompt
    edits = (
        slow.with_masses({XT: 700.0}),
        slow.with_ssms({(-XT, XT): 2.0}),
        slow.with_scaled_production(2.0),
        slow.with_particle(XB, 900.0, {}),
    )
    assert all(edited.widths == {XT: 1e-15} for edited in edits)
    assert slow.without_particle(XT).widths == {}


def test_a_vanishing_width_makes_a_particle_stable() -> None:
    stable = ProtoModel(**BASE, widths={XT: 1e-26})
    assert stable == ProtoModel({**BASE["masses"]}, {}, {})
    assert stable == ProtoModel(**BASE).with_branching_ratios(XT, {})


def test_decays_to_standard_model_particles_only() -> None:
    broken = ProtoModel(BASE["masses"], {XT: {(-1, -3): 1.0}, LBP: {(1, 1, 2): 1.0}}, {}, widths={LBP: 1e-15})
    assert broken.spectrum().decays[LBP] == (((1, 1, 2), 0.5), ((-2, -1, -1), 0.5))
    assert broken.spectrum().widths == {LBP: 1e-15}


def test_degenerate_particles_do_not_decay_in_a_circle() -> None:
    with pytest.raises(ModelFormatError, match="into itself"):
        ProtoModel({LBP: 100.0, XT: 600.0, XW: 600.0}, {XT: {(5, XW): 1.0}, XW: {(-5, XT): 1.0}}, {})


def test_editing_refuses_frozen_particles(model: ProtoModel) -> None:
    with pytest.raises(ModelFormatError, match="frozen"):
        model.with_masses({XG: 1000.0})
    with pytest.raises(ModelFormatError, match="cannot be frozen"):
        model.without_particle(LBP)


def test_only_the_lightest_particle_may_be_massless() -> None:
    model = ProtoModel({1000022: 0.0, 1000006: 800.0}, {1000006: {(6, 1000022): 1.0}}, {})
    assert model.spectrum().masses[1000022] == 0.0
    assert ProtoModel.from_json(model.to_json()) == model
    with pytest.raises(ModelFormatError, match=r"masses\[1000023\]: expected a finite positive number"):
        ProtoModel({1000022: 0.0, 1000023: 0.0}, {}, {})
