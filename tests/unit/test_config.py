"""Configurations: every mistake is one sentence that names the key."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict, Field

from configs.document import render_config
from configs.loading import parse_settings, read_config_file, read_yaml
from configs.schema import RunConfig, dump_config, load_config, restore_config
from database.errors import ConfigError


class Speed(StrEnum):
    FAST = "fast"
    SLOW = "slow"


class Inner(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    num_steps: int = Field(5, ge=1)
    fraction: float = Field(0.5, ge=0, le=1)
    width: float = Field(1.0, gt=0)
    is_on: bool = True
    speed: Speed = Speed.FAST
    workers: int | None = Field(None, ge=0)
    names: tuple[str, ...] = ()


class Outer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    inner: Inner = Field(default_factory=Inner)
    needed: str


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("inner: {num_stepz: 3}", "inner.num_stepz is not a known key; did you mean num_steps?"),
        ("innr: {num_steps: 3}", "innr is not a known key; did you mean inner?"),
        ("inner: {zzz: 3}", "inner.zzz is not a known key"),
        ("inner: {num_steps: many}", "inner.num_steps must be a positive integer, got 'many'"),
        ("inner: {num_steps: 0}", "inner.num_steps must be a positive integer, got 0"),
        ("inner: {num_steps: '5'}", "inner.num_steps must be a positive integer, got '5'"),
        ("inner: {num_steps: true}", "inner.num_steps must be a positive integer, got true"),
        ("inner: {num_steps: 2.5}", "inner.num_steps must be a positive integer, got 2.5"),
        ("inner: {num_steps: [1]}", "inner.num_steps must be a positive integer, got a list"),
        ("inner: {fraction: 2}", "inner.fraction must be a number of at least 0 and at most 1, got 2"),
        ("inner: {width: -1.0}", "inner.width must be a positive number, got -1.0"),
        ("inner: {width: .nan}", "inner.width must be a positive number, got nan"),
        ("inner: {is_on: 1}", "inner.is_on must be true or false, got 1"),
        ("inner: {speed: quick}", "inner.speed must be one of fast, slow, got 'quick'"),
        ("inner: {workers: few}", "inner.workers must be an integer of at least 0 or none, got 'few'"),
        ("inner: {names: T2tt}", "inner.names must be a list, got 'T2tt'"),
        ("inner: {names: [1]}", "inner.names.0 must be a text, got 1"),
        ("inner: 3", "inner must be a section, got 3"),
        ("inner: {}", "needed is missing"),
    ],
)
def test_mistakes_are_named(text: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_settings(Outer, {"needed": "x"} | read_yaml(text, "a.yaml") if "missing" not in sentence else read_yaml(text, "a.yaml"))
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: 1\nb: 2\na: 3\n", "a.yaml line 3: a is given twice"),
        ("a: {b: 1, b: 2}", "a.yaml line 1: b is given twice"),
        ("a: [1, 2\nb: 3", "a.yaml line 2 is not valid YAML"),
        ("- a\n- b", "a.yaml holds a list where sections with keys are expected"),
        ("just words", "a.yaml holds the value 'just words' where sections with keys are expected"),
        ("true: 2", "a.yaml line 1: 'true' is not a key"),
        ("a: !!python/object/apply:os.getcwd []", "a.yaml line 1 is not valid YAML"),
    ],
)
def test_broken_files_are_named(text: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_yaml(text, "a.yaml")
    assert str(caught.value).startswith(sentence)
    assert "\n" not in str(caught.value)


def test_numbers_in_exponent_notation_are_numbers() -> None:
    assert read_yaml("a: 1e-3\nb: 2E5\nc: -1.5e+2\nd: e3", "a.yaml") == {"a": 1e-3, "b": 2e5, "c": -150.0, "d": "e3"}


def test_absent_files_and_unknown_names_are_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no configuration file .*nothing.yaml; packaged ones are demo, production, quickstart"):
        read_config_file(tmp_path / "nothing.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"campaign: {name: \xe9}")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_config_file(tmp_path / "latin.yaml")


@pytest.mark.parametrize("name", ["demo", "quickstart", "production"])
def test_packaged_configurations_are_found_by_name(name: str) -> None:
    assert isinstance(load_config(name), RunConfig)


def test_production_explains_every_key() -> None:
    config = load_config("production")
    assert (config.campaign.num_walkers, config.campaign.num_steps, config.results.store) == (50, 1000, "default")
    text = (Path(__file__).parents[2] / "configs" / "production.yaml").read_text(encoding="utf-8")
    assert text == render_config(config), "run: python -m configs.document"
    assert parse_settings(RunConfig, read_yaml(text, "production.yaml")) == config
    assert "# independent chains\n  num_walkers: 50" in text


def test_overrides_win_and_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("campaign: {seed: 3, num_steps: 10}\n")
    config = load_config(path, {"campaign.seed": 9, "campaign.num_workers": None, "campaign.database": "x.db"})
    assert (config.campaign.seed, config.campaign.num_steps, config.campaign.num_workers) == (9, 10, None)
    with pytest.raises(ConfigError, match=r"run.yaml: campaign.seed must be an integer of at least 0"):
        load_config(path, {"campaign.seed": -1})


def test_empty_file_means_all_defaults(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    assert load_config(tmp_path / "empty.yaml") == RunConfig()


def test_configuration_survives_storage() -> None:
    config = load_config("demo", {"campaign.seed": 11})
    assert restore_config(json.loads(json.dumps(dump_config(config)))) == config
    with pytest.raises(ConfigError, match=r"stored configuration: campaign.num_steps"):
        restore_config(dump_config(config), {"campaign.num_steps": 0})


def test_every_key_has_a_description() -> None:
    def check(kind: type[BaseModel], path: str) -> None:
        for name, info in kind.model_fields.items():
            assert info.description, f"{path}{name}"
            if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
                check(info.annotation, f"{path}{name}.")

    check(RunConfig, "")
