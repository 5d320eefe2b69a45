"""The effect of turning round one statement on combinability equals a new search on the changed graph."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from builder.protomodel import ProtoModel
from database.errors import UserFacingError
from database.results.combinability import CombinabilityMatrix, Override, build_combinability
from database.results.importer import open_embedded_store
from database.results.store import ResultsStore
from inference.edges import find_edge_effects
from inference.predictions import Predictor
from inference.score import ScoreSettings, score
from inference.settings import CombinationRule, PredictionSettings
from inference.types import Predictions
from services.cli.combinability import register

MODEL = ProtoModel(
    {1000022: 160.0, 1000006: 1000.0, 1000001: 900.0},
    {1000006: {(6, 1000022): 1.0}, 1000001: {(1, 1000022): 1.0}},
    {},
)


@pytest.fixture(scope="module")
def store() -> ResultsStore:
    return open_embedded_store()


@pytest.fixture(scope="module")
def predictions(store: ResultsStore) -> Predictions:
    return Predictor(store, PredictionSettings()).predict(MODEL.spectrum())


@pytest.fixture(scope="module")
def matrix(store: ResultsStore) -> CombinabilityMatrix:
    return build_combinability(store)


@pytest.mark.parametrize(
    "settings", [ScoreSettings(), ScoreSettings(combination_rule=CombinationRule.FREE), ScoreSettings(fixed_strength=True)]
)
def test_effects_are_those_of_the_users_decision(
    store: ResultsStore, predictions: Predictions, matrix: CombinabilityMatrix, settings: ScoreSettings
) -> None:
    now = score(predictions, store, matrix.is_combinable, 0.7, settings)
    effects = find_edge_effects(predictions, store, matrix, 0.7, settings)
    members = {member.candidate.analysis_id for member in now.members}
    assert effects
    assert [abs(e.delta_tl) for e in effects] == sorted((abs(e.delta_tl) for e in effects), reverse=True)
    for effect in effects:
        decided = build_combinability(store, overrides=[Override(effect.first, effect.second, not effect.is_combinable)])
        after = score(predictions, store, decided.is_combinable, 0.7, settings)
        assert effect.delta_tl == pytest.approx(after.tl - now.tl, abs=1e-9)
        assert set(effect.members) == {member.candidate.analysis_id for member in after.members}
        assert any(name.startswith((effect.first, effect.second)) for name in members)


def test_logic_is_no_judgement(store: ResultsStore, matrix: CombinabilityMatrix) -> None:
    ids = [record.analysis_id for record in store.results]
    for i, a in enumerate(store.results):
        for j, b in enumerate(store.results):
            is_same_run = (a.experiment, a.sqrts_tev) == (b.experiment, b.sqrts_tev)
            if not is_same_run or a.analysis_id == b.analysis_id:
                assert not matrix.is_judgement(i, j), (ids[i], ids[j])
    assert any(matrix.is_judgement(i, j) for i in range(len(ids)) for j in range(len(ids)))


def test_a_model_without_score_has_no_edges(store: ResultsStore, predictions: Predictions, matrix: CombinabilityMatrix) -> None:
    nothing = ProtoModel({1000022: 100.0}, {}, {})
    empty = Predictor(store, PredictionSettings()).predict(nothing.spectrum())
    assert find_edge_effects(empty, store, matrix, np.inf, ScoreSettings()) == ()


def invoke(*arguments: str) -> Any:
    application = typer.Typer()
    register(application)
    return CliRunner().invoke(application, ["combinability", *arguments])


def test_commands(tmp_path: Any) -> None:
    path = tmp_path / "model.json"
    path.write_text(json.dumps(MODEL.to_json()))
    answer = invoke("sensitivity", str(path), "--results", "embedded", "--json", "--top", "3")
    assert answer.exit_code == 0, answer.output
    document = json.loads(answer.stdout)
    assert len(document["edges"]) == min(3, document["num_edges"])
    first = document["edges"][0]
    why = json.loads(invoke("why", first["first"], first["second"], "--results", "embedded", "--json").stdout)
    assert (why["is_combinable"], " ".join(why["reason"].split())) == (first["is_combinable"], first["reason"])
    assert "ΔK" in invoke("sensitivity", str(path), "--results", "embedded").stdout
    config = tmp_path / "mine.yaml"
    key = "never_combine" if first["is_combinable"] else "combine"
    config.write_text(f"results:\n  {key}: [[{first['first']}, {first['second']}]]\n")
    decided = json.loads(invoke("why", first["first"], first["second"], "--config", str(config), "--json").stdout)
    assert decided["is_combinable"] is not first["is_combinable"]
    assert "decided by the user" in decided["reason"]


def test_bad_names_are_one_sentence(tmp_path: Any) -> None:
    unknown = invoke("why", "CMS-SUS-19-06", "CMS-SUS-16-050", "--results", "embedded")
    assert isinstance(unknown.exception, UserFacingError) and "did you mean" in str(unknown.exception)
    broken = tmp_path / "facts.yaml"
    broken.write_text("format: 1\n")
    assert isinstance(invoke("check", str(broken)).exception, UserFacingError)
