"""Writes a configuration as YAML with every key explained; `python -m configs.document` rewrites production.yaml.

The explanations are the descriptions of the schema, so that file and code cannot drift apart (a test compares them).
"""

from __future__ import annotations

import json
import math
import textwrap
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from configs.schema import RunConfig, load_config

WIDTH = 120
HEADER = """\
# A full campaign: {num_walkers} walkers of {num_steps} steps on the whole database (`protomodels results fetch` or `results import` first).
# Every key is listed with its meaning and unit; keys that are left out keep the value shown in the schema.
# Written by `python -m configs.document` from the descriptions in the code: change values here, descriptions there.
"""


def render_config(config: RunConfig) -> str:
    """The configuration as YAML, every key with its meaning.

    Args:
        config: what to write.
    """
    header = HEADER.format(num_walkers=config.campaign.num_walkers, num_steps=config.campaign.num_steps)
    return header + "\n".join(_section(config, 0)) + "\n"


def _section(settings: BaseModel, depth: int) -> list[str]:
    lines = []
    indent = "  " * depth
    values = settings.model_dump(mode="json")
    for name, info in type(settings).model_fields.items():
        if depth == 0:
            lines.append("")
        comment = textwrap.wrap(info.description or "", WIDTH - len(indent) - 2)
        lines += [f"{indent}# {line}" for line in comment]
        inner = getattr(settings, name)
        if isinstance(inner, BaseModel):
            lines += [f"{indent}{name}:", *_section(inner, depth + 1)]
        else:
            lines += _entry(f"{indent}{name}:", values[name], indent)
    return lines


def _entry(head: str, value: Any, indent: str) -> list[str]:
    """One key, a dict or a list of lists with a line per entry."""
    if isinstance(value, dict) and value:
        return [head, *(f"{indent}  {key}: {_scalar(item)}" for key, item in value.items())]
    if isinstance(value, list) and value and isinstance(value[0], list):
        return [head, *(f"{indent}  - {_scalar(item)}" for item in value)]
    return [f"{head} {_scalar(value)}"]


def _scalar(value: Any) -> str:
    """A YAML flow value; JSON is YAML, except for inf and nan, and words need no quotes."""
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    if isinstance(value, list):
        return "[" + ", ".join(_scalar(item) for item in value) + "]"
    if isinstance(value, str) and value.replace("_", "").replace("-", "").isalnum() and value[0].isalpha():
        return value if value not in ("null", "true", "false", "yes", "no", "on", "off", "y", "n") else json.dumps(value)
    return json.dumps(value, ensure_ascii=False)


def main() -> None:
    """Rewrites production.yaml with its own values and the present descriptions."""
    path = Path(__file__).parent / "production.yaml"
    path.write_text(render_config(load_config(path)), encoding="utf-8")


if __name__ == "__main__":
    main()
