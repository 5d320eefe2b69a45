"""From YAML text to a frozen settings model; every mistake becomes one sentence that names the key."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from database.errors import ConfigError

SettingsT = TypeVar("SettingsT", bound=BaseModel)


class _Loader(yaml.SafeLoader):
    """Safe YAML that refuses a key given twice and reads 1e-3 as the number it is."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str) and type(key) is not int:  # PDG ids are numbers
                raise ConfigError(f"line {key_node.start_mark.line + 1}: '{key_node.value}' is not a key; keys are words")
            if str(key) in seen:
                raise ConfigError(f"line {key_node.start_mark.line + 1}: {key} is given twice")
            seen.add(str(key))
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9][0-9_]*)(?:\.[0-9_]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def read_yaml(text: str, source: str) -> dict[str, Any]:
    """The mapping that a YAML text holds; an empty text is an empty mapping.

    Args:
        text: the text.
        source: its name, for messages.

    Raises:
        ConfigError: not YAML, not a mapping, a key twice, or a key that is no word.
    """
    try:
        data = yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        line = f" line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"{source}{line} is not valid YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{source} is not valid YAML: {' '.join(str(error).split())}") from None
    except ConfigError as error:
        raise ConfigError(f"{source} {error}") from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError(f"{source} holds {_kind_of(data)} where sections with keys are expected")
    return data


def set_key(data: dict[str, Any], dotted: str, value: Any) -> None:
    """Sets `section.key` in nested dicts, making sections on the way.

    Examples:
        >>> data = {"campaign": {"seed": 1}}
        >>> set_key(data, "campaign.seed", 2)
        >>> data
        {'campaign': {'seed': 2}}
    """
    *sections, key = dotted.split(".")
    for section in sections:
        inner = data.setdefault(section, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"{dotted} cannot be set: {section} is {_kind_of(inner)}, not a section")
        data = inner
    data[key] = value


def parse_settings(kind: type[SettingsT], data: Mapping[str, Any], source: str | None = None) -> SettingsT:
    """A settings model from nested dicts, read strictly: "many" is no number, 1 is no truth value.

    Args:
        kind: the model.
        data: nested dicts as YAML or JSON give them.
        source: name of the file, put before the sentence.

    Raises:
        ConfigError: a key is unknown, missing or ill-typed; the sentence names the first such key.
    """
    try:
        return kind.model_validate_json(json.dumps(data, default=str), strict=True)
    except ValidationError as error:
        details = min(error.errors(include_url=False), key=lambda e: (e["type"] != "extra_forbidden", len(e["loc"])))
        sentence = describe_error(kind, details)
    raise ConfigError(f"{source}: {sentence}" if source else sentence)


def describe_error(kind: type[BaseModel], error: ErrorDetails) -> str:
    """One sentence for one finding of the validation."""
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        section = _schema_at(kind, error["loc"][:-1]) or {}
        close = difflib.get_close_matches(str(error["loc"][-1]), list(section.get("properties", ())), n=1)
        return f"{key} is not a known key" + (f"; did you mean {close[0]}?" if close else "")
    if error["type"] == "missing":
        return f"{key} is missing"
    if error["type"] == "value_error":
        reason = str(error["ctx"]["error"]) if "ctx" in error else error["msg"]
        return f"{key}: {reason}" if key else reason
    expected = _expectation(kind, _schema_at(kind, error["loc"]))
    found = _shown(error["input"])
    if expected is None:
        return f"{key}: {error['msg'][0].lower()}{error['msg'][1:]}, got {found}"
    return f"{key} must be {expected}, got {found}"


def _shown(value: Any) -> str:
    if isinstance(value, (dict, list)):
        return _kind_of(value)
    text = "none" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _kind_of(value: Any) -> str:
    return "a section" if isinstance(value, dict) else "a list" if isinstance(value, list) else f"the value {_shown(value)}"


def _resolved(kind: type[BaseModel], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    root = kind.model_json_schema()
    while "$ref" in schema or len(schema.get("allOf", ())) == 1:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema["allOf"][0]
    return schema


def _schema_at(kind: type[BaseModel], loc: Sequence[int | str]) -> Mapping[str, Any] | None:
    """JSON schema of the place that `loc` points at, or the nearest value that encloses it."""
    schema: Mapping[str, Any] = _resolved(kind, kind.model_json_schema())
    for part in loc:
        inner = schema.get("properties", {}).get(part)
        if inner is None and isinstance(part, int):
            inner = schema.get("items") if isinstance(schema.get("items"), dict) else None
        if inner is None:
            # inside a union the location names the branch; the key itself is the union
            return schema if "anyOf" in schema or "oneOf" in schema or not schema.get("properties") else None
        schema = _resolved(kind, inner)
    return schema


def _expectation(kind: type[BaseModel], schema: Mapping[str, Any] | None) -> str | None:
    """What a value should be, in words: "a positive integer", "one of fast, slow", "a list"."""
    if schema is None:
        return None
    if "anyOf" in schema:
        parts = [_expectation(kind, _resolved(kind, option)) for option in schema["anyOf"]]
        return None if None in parts else " or ".join(str(part) for part in parts)
    if "enum" in schema:
        return "one of " + ", ".join(str(option) for option in schema["enum"])
    if "const" in schema:
        return str(schema["const"])
    words = {"integer": "integer", "number": "number"}
    name = schema.get("type")
    if name in words:
        return _number_in_words(words[name], schema)
    return {"boolean": "true or false", "string": "a text", "array": "a list", "object": "a section", "null": "none"}.get(str(name))


def _number_in_words(word: str, schema: Mapping[str, Any]) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if high is None and below is None and (above == 0 or (low == 1 and word == "integer")):
        return f"a positive {word}"
    limits = [f"at least {low}"] if low is not None else [f"above {above}"] if above is not None else []
    limits += [f"at most {high}"] if high is not None else [f"below {below}"] if below is not None else []
    article = "an" if word == "integer" else "a"
    return f"{article} {word}" + (" of " + " and ".join(limits) if limits else "")


def find_packaged(name: str) -> Path | None:
    """The configuration of that name that comes with the package, None if there is none."""
    path = Path(__file__).parent / f"{name}.yaml"
    return path if re.fullmatch(r"[a-z0-9_]+", name) and path.is_file() else None


def read_config_file(name: str | Path) -> tuple[dict[str, Any], str]:
    """Content and display name of a configuration: a file, or the name of a packaged one such as "demo".

    Raises:
        ConfigError: there is none, or it cannot be read.
    """
    path = Path(name).expanduser()
    if not path.is_file():
        packaged = find_packaged(str(name))
        if packaged is None:
            names = ", ".join(sorted(p.stem for p in Path(__file__).parent.glob("*.yaml")))
            raise ConfigError(f"there is no configuration file {name}; packaged ones are {names}")
        path = packaged
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    return read_yaml(text, path.name), path.name
