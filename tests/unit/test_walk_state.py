"""Stored states, keys of randomness, and settings."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from builder.evaluation import Evaluation, Member, PriorTerms
from builder.evaluation_json import decode_float, encode_float, evaluation_from_json, evaluation_to_json
from builder.protomodel import ProtoModel
from builder.walk import WalkSettings, draw_start, step_rng
from builder.walk_state import WalkState
from critics.verdict import Verdict
from database.errors import ConfigError, ModelFormatError
from inference.spectrum import LBP_PID
from inference.types import Outcome


def model(mass: float) -> ProtoModel:
    return ProtoModel({LBP_PID: 100.0 / 3.0, 1000006: mass}, {1000006: {(6, LBP_PID): 1.0}}, {(-1000006, 1000006): 1e-5 / 7.0})


def evaluation(k: float, tl: float = 0.1 + 0.2) -> Evaluation:
    member = Member("ATLAS-SUSY-2016-07", "ul", None, ("T2", "T6"), 30.8, math.nan, math.nan, 2.5, 1e-300, (1000001, LBP_PID), -0.0)
    verdict = Verdict(False, math.inf, math.nan, 0.3, "no limit", 2)
    return Evaluation(Outcome.OK, k, tl, 1.0, math.inf, -1.1, PriorTerms(2, 1, 1.1), verdict, (member,), {"x": 3}, 17)


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_floats_survive_json(value: float) -> None:
    back = decode_float(json.loads(json.dumps(encode_float(value), allow_nan=False)))
    assert back == value or (math.isnan(back) and math.isnan(value))
    assert math.isnan(value) or math.copysign(1.0, back) == math.copysign(1.0, value)


@given(st.floats(1.0, 1e9), st.floats(allow_nan=False), st.floats(min_value=200.0, max_value=2000.0))
def test_states_survive_json_exactly(tl: float, k: float, mass: float) -> None:
    state = WalkState(model(mass), evaluation(k, tl), 12, model(mass / 0.9), evaluation(k / 3.0, tl))
    text = json.dumps(state.to_json(), allow_nan=False)
    back = WalkState.from_json(json.loads(text))
    assert back.protomodel == state.protomodel
    assert back.best_protomodel == state.best_protomodel
    assert back.step == 12
    assert json.dumps(back.to_json(), allow_nan=False) == text
    assert (back.evaluation.k, back.evaluation.tl) == (k, tl)
    assert math.isnan(back.evaluation.combination[0].expected)
    assert back.evaluation.verdict.mu_max == math.inf


def test_damaged_states_are_named() -> None:
    document = WalkState(model(900.0), evaluation(1.0), 3, model(900.0), evaluation(1.0)).to_json()
    assert document["best_protomodel"] is None
    with pytest.raises(ModelFormatError, match="format"):
        WalkState.from_json({**document, "format": 99})
    with pytest.raises(ModelFormatError, match="step"):
        WalkState.from_json({key: value for key, value in document.items() if key != "step"})
    with pytest.raises(ModelFormatError, match="expected a number"):
        evaluation_from_json({**evaluation_to_json(evaluation(1.0)), "k": "many"})
    with pytest.raises(ModelFormatError, match="mu_hat"):
        evaluation_from_json({key: v for key, v in evaluation_to_json(evaluation(1.0)).items() if key != "mu_hat"})


def test_every_key_has_its_own_stream() -> None:
    draws = {tuple(step_rng(s, w, n).integers(0, 2**63, 3)) for s in range(4) for w in range(4) for n in range(4)}
    assert len(draws) == 64
    assert step_rng(2**64 - 1, 2**64 - 1, 2**64 - 1).random() < 1.0
    with pytest.raises(ConfigError, match="seed"):
        step_rng(-1, 0, 0)


def test_streams_are_stable_across_releases() -> None:
    """A stored walk must replay with later releases: numpy guarantees the bit stream of Philox."""
    assert step_rng(1, 2, 3).bit_generator.random_raw() == step_rng(1, 2, 3).integers(0, 2**64 - 1, dtype="uint64", endpoint=True)
    assert step_rng(1, 2, 3).bit_generator.random_raw() == PHILOX_1_2_3


PHILOX_1_2_3 = 1170280437898119671


@pytest.mark.parametrize(
    "document",
    [
        {"unknown": 1},
        {"birth": {"spread": 0.0}},
        {"forbidden_particles": [LBP_PID]},
        {"forbidden_particles": [17]},
        {"ssm": {"knock_out_probability": 0.6, "reset_probability": 0.5}},
        {"start": {"lbp_mass_min_gev": 600.0}},
        {"start": {"initial_particles": [1000006]}, "forbidden_particles": [1000006]},
    ],
)
def test_bad_settings_are_refused(document: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        WalkSettings.model_validate(document)


def test_every_setting_is_described() -> None:
    def check(schema: dict[str, object]) -> None:
        properties = schema.get("properties", {})
        assert isinstance(properties, dict)
        assert all("description" in entry for entry in properties.values())

    schema = WalkSettings.model_json_schema()
    check(schema)
    for definition in schema["$defs"].values():
        check(definition)


def test_impossible_initial_content_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match="2000006"):
        draw_start(step_rng(1, 0, 0), WalkSettings.model_validate({"start": {"initial_particles": [2000006]}}))
