"""Which particles, channels and multipliers a walk may use: catalogues and restrictions."""

from __future__ import annotations

import json
import re
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from builder.catalogue import Catalogue, load_catalogue, parse_daughters
from builder.decays import find_channel, open_channels
from builder.kernel import propose, scale_ssms
from builder.model_io import read_models, write_slha
from builder.moves.birth import force_birth
from builder.moves.context import MoveContext
from builder.moves.settings import WalkSettings
from builder.particle_rules import ParticleRules
from builder.particles import PARTICLES
from builder.pool import STANDARD_POOL, PoolSettings
from builder.protomodel import ProtoModel
from configs.loading import parse_settings
from configs.schema import RunConfig, load_config
from database.errors import ConfigError, ModelFormatError
from inference.cross_sections import reference_xsec_fb
from inference.quantum_numbers import bsm_quantum_numbers
from inference.spectrum import LBP_PID

XT, XT2, XD, XZ2, XZ3, XW1, XG = 1000006, 2000006, 1000001, 1000023, 1000025, 1000024, 1000021
FOURTH = {
    "pid": 1000055, "name": "X_Z^4", "ascii_id": "X4Z", "charge_thirds": 0, "colour": 1, "spin_twice": 1, "is_self_conjugate": True,
    "like": "X_Z^3", "merger_group": "Z",
}  # fmt: skip


def walk_settings(**pool: Any) -> WalkSettings:
    return parse_settings(WalkSettings, {"pool": pool})


def grow(settings: WalkSettings, seed: int = 1) -> ProtoModel:
    """A model with every particle that can be added."""
    rng, context = np.random.default_rng(seed), MoveContext(settings)
    model = ProtoModel({LBP_PID: 60.0}, {}, {})
    while (larger := force_birth(rng, model, context)) is not None:
        model = larger
    return model


def test_standard_pool_is_the_published_one() -> None:
    assert STANDARD_POOL.pids == tuple(sorted(PARTICLES))
    assert sum(map(len, STANDARD_POOL.channels.values())) == 133
    assert WalkSettings().particle_pool.merger_groups["t"] == (XT, XT2)


def test_allowed_and_forbidden_particles_by_name_or_number() -> None:
    settings = parse_settings(
        WalkSettings, {"pool": {"allowed_particles": ["Xt", "X_d", 1000023, "X_W^1"]}, "forbidden_particles": ["X1W"]}
    )
    assert settings.particle_pool.pids == (XD, XT, LBP_PID, XZ2)
    assert set(grow(settings).masses) == {XD, XT, LBP_PID, XZ2}
    assert MoveContext(settings).pool_size == 4
    channels = settings.particle_pool.channels
    assert all(pid in settings.particle_pool.pids for table in channels.values() for channel in table for pid in channel.bsm)


def test_channel_lists_narrow_what_moves_open() -> None:
    settings = walk_settings(
        allowed_channels={"X_t^1": ["t X_Z^1", "b X1W"]}, forbidden_channels={"X_W^1": ["W X_Z^2"], "X_Z^2": ["25, 1000022"]}
    )
    table = settings.particle_pool.channels
    masses = {LBP_PID: 100.0, XZ2: 300.0, XW1: 450.0, XT: 900.0, 1000005: 500.0}
    assert open_channels(XT, masses, table) == ((5, XW1), (6, LBP_PID))
    assert open_channels(XW1, masses, table) == ((24, LBP_PID),)
    assert open_channels(XZ2, masses, table) == ((23, LBP_PID),)
    rng, context = np.random.default_rng(3), MoveContext(settings, is_changed=False)
    model = ProtoModel(
        masses, {XT: {(6, LBP_PID): 1.0}, XW1: {(24, LBP_PID): 1.0}, XZ2: {(23, LBP_PID): 1.0}, 1000005: {(5, LBP_PID): 1.0}}, {}
    )
    for _ in range(300):
        model, _ = propose(rng, model, context)
        used = {(mother, key) for mother, channels in model.branching_ratios.items() for key in channels}
        assert {key for mother, key in used if mother == XT} <= {(6, LBP_PID), (5, XW1)}
        assert (XW1, (24, XZ2)) not in used and (XZ2, (25, LBP_PID)) not in used


def test_caps_per_process_hold_for_moves_and_scaling() -> None:
    settings = walk_settings(ssm_caps={"X_W^1 X_Z^2": 2.0})
    model = ProtoModel({LBP_PID: 100.0, XZ2: 300.0, XW1: 310.0}, {XZ2: {(23, LBP_PID): 1.0}, XW1: {(24, LBP_PID): 1.0}}, {})
    scaled = scale_ssms(model, 5.0, settings)
    assert scaled.ssms[XZ2, XW1] == scaled.ssms[-XW1, XZ2] == 2.0
    assert scaled.ssms[-XW1, XW1] == 5.0
    assert scale_ssms(model, 500.0, settings).ssms[-XW1, XW1] == settings.ssm_cap


def test_susy_like_walks_have_reference_cross_sections() -> None:
    settings = parse_settings(WalkSettings, {"pool": {"susy_like": True}, "ssm": {"probability": 1.0}})
    rng, context = np.random.default_rng(7), MoveContext(settings)
    model = grow(parse_settings(WalkSettings, {"pool": {"susy_like": True, "allowed_particles": ["Xt", "Xd", "X2Z", "X1W", "Xg"]}}))
    for _ in range(60):
        model, _ = propose(rng, model, context)
        assert set(model.ssms.values()) == {1.0}


def test_susy_like_needs_the_strength_to_be_fixed() -> None:
    with pytest.raises(ConfigError, match="fixed_strength"):
        parse_settings(RunConfig, {"walk": {"pool": {"susy_like": True}}})
    parse_settings(RunConfig, {"walk": {"pool": {"susy_like": True}}, "evaluation": {"score": {"fixed_strength": True}}})


def test_mass_ranges() -> None:
    rules = parse_settings(ParticleRules, {"ceilings_gev": {"1000006": 1200.0, "1000022": 300.0}, "walls_gev": {"1000022": 50.0}})
    assert rules.mass_bounds(XT, {LBP_PID: 60.0}) == (60.0, 1200.0)
    assert rules.mass_bounds(LBP_PID, {LBP_PID: 60.0}) == (50.0, 300.0)
    assert rules.mass_bounds(LBP_PID, {LBP_PID: 60.0, XT: 200.0}) == (50.0, 200.0)
    assert "above 1200" in (rules.find_violation({LBP_PID: 60.0, XT: 1300.0}) or "")
    with pytest.raises(ValidationError, match="cannot be lighter than 200 and heavier than 310"):
        ParticleRules(ceilings_gev={1000021: 200.0})


def test_a_gluino_alone_decays_to_every_pair_of_quarks() -> None:
    model = grow(walk_settings(allowed_particles=["Xg"]))
    assert set(model.branching_ratios[XG]) <= {(21, LBP_PID), (-1, 1, LBP_PID), (-4, 4, LBP_PID), (-5, 5, LBP_PID), (-6, 6, LBP_PID)}
    assert set(open_channels(XG, {LBP_PID: 60.0, XG: 1500.0})) >= {(-1, 1, LBP_PID), (-5, 5, LBP_PID), (-6, 6, LBP_PID)}


@pytest.mark.parametrize(
    ("text", "daughters"), [("t X_Z^1", (6, LBP_PID)), ("-b Xb", (-5, 1000005)), ("-24,1000024", (-24, XW1)), ("nu_e -Xe", (12, -1000011))]
)
def test_channels_are_written_by_name_or_number(text: str, daughters: tuple[int, ...]) -> None:
    assert parse_daughters(text, "channels") == daughters


def test_a_catalogue_adds_a_particle_that_behaves_like_any_other(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        f"format: 1\nname: mine\nremove: [Xnue]\nparticles: [{json.dumps(FOURTH)}]\nchannels:\n"
        '  X_Z^4: ["Z X_Z^1", "W -X_W^1", {daughters: "u -u X_Z^1", instead_of: "Z X_Z^1", weight: 1.0}]\n  X_t^1: ["t X4Z"]\n'
    )
    settings = walk_settings(catalogue=str(path), allowed_particles=["X4Z", "Xt", "X_W^1"])
    assert settings.particle_pool.pids == (XT, LBP_PID, XW1, 1000055)
    model = grow(settings)
    assert 1000055 in model.masses
    masses = {LBP_PID: 100.0, XW1: 200.0, 1000055: 185.0, XT: 900.0}
    table = settings.particle_pool.channels
    assert open_channels(1000055, masses, table) == ((-2, 2, LBP_PID),), "off shell below the Z mass"
    assert open_channels(1000055, {**masses, 1000055: 400.0}, table) == ((-24, XW1), (23, LBP_PID))
    assert (6, 1000055) in open_channels(XT, masses, table)
    assert find_channel(XT, (6, 1000055)) is not None and (6, 1000055) not in open_channels(XT, masses)
    assert bsm_quantum_numbers(1000055).spin2 == 1
    assert reference_xsec_fb((XW1, 1000055), masses, 13) == pytest.approx(reference_xsec_fb((XW1, XZ3), {XW1: 200.0, XZ3: 185.0}, 13))
    # the model describes its own particle, and every format keeps it
    document = json.loads(json.dumps(model.to_json()))
    assert document["particles"]["1000055"]["like"] == XZ3
    assert ProtoModel.from_json(document) == model
    for name, text in (("model.json", json.dumps(document)), ("model.slha", write_slha(model))):
        (tmp_path / name).write_text(text)
        (read,) = read_models(tmp_path / name)
        assert read.masses == model.masses
    assert settings.pool.model_dump(mode="json")["catalogue"]["particles"][0]["pid"] == 1000055, "the content is stored, not the path"
    assert parse_settings(WalkSettings, settings.model_dump(mode="json")) == settings


def test_a_described_particle_must_agree_with_what_is_known() -> None:
    Catalogue.model_validate({"format": 1, "particles": [FOURTH]})
    other = {**FOURTH, "name": "X_N", "ascii_id": "XN"}
    with pytest.raises(ValidationError, match="described differently before"):
        Catalogue.model_validate({"format": 1, "particles": [other]})
    model = ProtoModel({LBP_PID: 100.0, 1000055: 200.0}, {1000055: {(23, LBP_PID): 1.0}}, {}).to_json()
    model["particles"]["1000055"]["colour"] = "red"
    with pytest.raises(ModelFormatError, match="wrong type"):
        ProtoModel.from_json(model)


def test_packaged_catalogues() -> None:
    sleptons = walk_settings(catalogue="sleptons").particle_pool
    assert len(sleptons.pids) == 20 and sum(map(len, sleptons.channels.values())) == 133 + 24
    assert (-11, 1000011) in open_channels(XZ2, {LBP_PID: 100.0, XZ2: 300.0, 1000011: 200.0}, sleptons.channels)
    assert len(walk_settings(catalogue="one_squark").particle_pool.pids) == 15


DEFECTS: dict[str, tuple[dict[str, Any], str]] = {
    "format": ({"format": 2}, "format"),
    "no format": ({}, "format"),
    "unknown key": ({"format": 1, "partciles": []}, "partciles"),
    "unknown particle": ({"format": 1, "remove": ["Xq"]}, "remove: Xq is not a particle"),
    "lightest": ({"format": 1, "remove": ["X_Z^1"]}, "cannot leave"),
    "charge": ({"format": 1, "channels": {"Xt": ["b X_Z^1"]}}, "'b X_Z^1' does not conserve electric charge"),
    "two new daughters": ({"format": 1, "channels": {"Xg": ["Xt -Xt"]}}, "2 new particles"),
    "mother": ({"format": 1, "channels": {"Xg": ["g Xg"]}}, "the mother among"),
    "one daughter": ({"format": 1, "channels": {"Xg": ["X_Z^1"]}}, "fewer than two"),
    "standard particle": ({"format": 1, "particles": [{**FOURTH, "pid": XT}]}, "of the standard pool"),
    "name taken": ({"format": 1, "particles": [{**FOURTH, "pid": 1000045, "name": "X_t^1", "ascii_id": "XN"}]}, "means particle 1000006"),
    "charged and its own antiparticle": ({"format": 1, "particles": [{**FOURTH, "pid": 1000045, "charge_thirds": 3}]}, "own antiparticle"),
    "unlike": ({"format": 1, "particles": [{**FOURTH, "pid": 1000045, "name": "XN", "ascii_id": "XN", "like": "X_W^1"}]}, "charges differ"),
    "quantum numbers": ({"format": 1, "particles": [{**FOURTH, "pid": 2000001, "name": "XN", "ascii_id": "XN"}]}, "PDG numbering"),
    "colour": ({"format": 1, "particles": [{**FOURTH, "colour": 6}]}, "colour"),
}  # fmt: skip


@pytest.mark.parametrize("case", DEFECTS)
def test_each_defect_is_one_sentence(case: str, tmp_path: Path) -> None:
    content, words = DEFECTS[case]
    path = tmp_path / "mine.yaml"
    path.write_text(json.dumps(content))
    with pytest.raises(ConfigError, match=words.replace("'", ".").replace("^", r"\^")) as caught:
        load_catalogue(str(path))
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match=r"walk.*catalogue|partciles|format"):
        parse_settings(RunConfig, {"walk": {"pool": {"catalogue": str(path)}}})


def test_missing_and_broken_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="packaged ones are one_squark, sleptons"):
        load_catalogue("nothing")
    (tmp_path / "twice.yaml").write_text("format: 1\nremove: []\nremove: []\n")
    with pytest.raises(ConfigError, match=r"line 3.*given twice"):
        load_catalogue(str(tmp_path / "twice.yaml"))
    with pytest.raises(ConfigError, match="there is no particle catalogue"):
        parse_settings(RunConfig, {"walk": {"pool": {"catalogue": "nothing"}}})


@pytest.mark.parametrize(
    ("pool", "words"),
    [
        ({"allowed_particles": ["Xq"]}, "Xq is not a particle"),
        ({"allowed_channels": {"Xt": ["b X_Z^1"]}}, "electric charge"),
        ({"forbidden_channels": {"Xq": []}}, "Xq is not a particle"),
        ({"ssm_caps": {"Xt": 1.0}}, "fewer than two"),
        ({"ssm_caps": {"Xt Xt": -1.0}}, "positive"),
    ],
)
def test_restrictions_are_checked(pool: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        walk_settings(**pool)


def test_pool_settings_survive_json() -> None:
    settings = PoolSettings(allowed_particles=("Xt",), ssm_caps={"Xt -Xt": 3.0})  # type: ignore[arg-type]
    assert PoolSettings.model_validate_json(settings.model_dump_json()) == settings
    assert settings.caps == {(XT, XT): 3.0}


def test_examples_of_the_documentation_are_valid(tmp_path: Path) -> None:
    """The indented YAML of docs/pool.md: a configuration, and a catalogue (its new particle under an id of this test)."""
    page = (Path(__file__).parents[2] / "docs" / "pool.md").read_text(encoding="utf-8")
    blocks = re.findall(r"(?:^    .*\n)+", page, flags=re.MULTILINE)
    config, catalogue = (textwrap.dedent(block) for block in blocks)
    (tmp_path / "mine.yaml").write_text(config)
    settings = load_config(tmp_path / "mine.yaml")
    assert settings.walk.particle_pool.pids == (XT, XG, LBP_PID, XZ2, XW1)
    (tmp_path / "catalogue.yaml").write_text(catalogue.replace("1000035", "1000055"))
    assert 1000055 in walk_settings(catalogue=str(tmp_path / "catalogue.yaml")).particle_pool.pids
