"""`read_models`: finds out which format a file has, and reads every model in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from builder.model_checks import join_pids
from builder.model_io.json_model import parse_json_model
from builder.model_io.legacy_dict import parse_legacy_models
from builder.model_io.plain_json import is_plain_json, parse_plain_model
from builder.model_io.slha import looks_like_slha, parse_slha
from builder.protomodel import ProtoModel
from database.errors import ModelFormatError
from inference.cross_sections import SQRTS_TEV

MAX_XSEC_FB = 1.0e15
"""No production cross section is larger: ten times the total one of pp collisions at 13 TeV, 1.1e14 fb (TOTEM, arXiv:1712.06153)."""
MAX_FILE_SIZE = 1 << 28
"""Larger files are not model files [bytes]."""


def read_models(path: str | Path) -> list[ProtoModel]:
    """Return all protomodels of a file: our JSON, plain JSON, SLHA, or a `.dict` file of the reference project.

    Args:
        path: the file; its content decides the format, not its name.

    Raises:
        ModelFormatError: the file cannot be read or is none of these; the sentence names file and field.
    """
    file = Path(path)
    try:
        if file.stat().st_size > MAX_FILE_SIZE:
            raise ModelFormatError(f"{file}: too large for a file of protomodels.")
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise ModelFormatError(f"{file}: cannot be read ({error.strerror or error}).") from error
    except UnicodeDecodeError as error:
        raise ModelFormatError(f"{file}: is not a text file.") from error
    return parse_models(text, str(file))


def parse_models(text: str, name: str = "model") -> list[ProtoModel]:
    """Return all protomodels of a text in any of the known formats.

    Args:
        text: content of a model file.
        name: name of the file for errors.

    Raises:
        ModelFormatError: the text is none of the formats or not valid; the sentence names file and field.
    """
    try:
        models = _parse(text.lstrip("\ufeff"))
    except ModelFormatError as error:
        raise ModelFormatError(f"{name}: {error}") from error
    if not models:
        raise ModelFormatError(f"{name}: the file holds no model.")
    for index, model in enumerate(models):
        try:
            _check_production(model)
        except ModelFormatError as error:
            raise ModelFormatError(f"{name}: model {index + 1}: {error}" if len(models) > 1 else f"{name}: {error}") from error
    return models


def _check_production(model: ProtoModel) -> None:
    """Refuse cross sections that nothing can have; beyond them arithmetic ends too."""
    for sqrts_tev in SQRTS_TEV:
        for pair, xsec_fb in model.xsecs_fb(sqrts_tev).items():
            if not xsec_fb <= MAX_XSEC_FB:
                field = "ssms" if model.explicit_xsecs_fb is None else f"xsecs_fb[{sqrts_tev}]"
                raise ModelFormatError(
                    f"{field}[{join_pids(pair)}]: a cross section of {xsec_fb:.3g} fb at {sqrts_tev} TeV is more than all proton "
                    "collisions together have (1.1e14 fb)."
                )


def _parse(text: str) -> list[ProtoModel]:
    if not text.strip():
        raise ModelFormatError("the file is empty.")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        if looks_like_slha(text):
            return [parse_slha(text)]
        try:
            return parse_legacy_models(text)
        except ModelFormatError as literal_error:
            if _starts_like_json(text):
                raise ModelFormatError(f"not valid JSON ({error}).") from error
            if text.lstrip()[:1] in "{[(":
                raise
            raise ModelFormatError("neither JSON, SLHA, nor a .dict file of protomodels.") from literal_error
    entries = document if isinstance(document, list) else [document]
    models = []
    for index, entry in enumerate(entries):
        try:
            models.append(_parse_entry(entry))
        except ModelFormatError as error:
            raise ModelFormatError(f"model {index + 1}: {error}" if isinstance(document, list) else str(error)) from error
    return models


def _parse_entry(entry: Any) -> ProtoModel:
    if not isinstance(entry, Mapping):
        raise ModelFormatError("expected a JSON object.")
    if isinstance(entry.get("protomodel"), Mapping):  # a hiscore: the model with its provenance
        return _parse_entry(entry["protomodel"])
    if is_plain_json(entry):
        return parse_plain_model(entry)
    return parse_json_model(entry)


def _starts_like_json(text: str) -> bool:
    """Return whether a broken text was meant to be JSON: its first key is a double-quoted string."""
    head = text.lstrip("[{( \t\r\n")
    return text.lstrip()[:1] in "[{" and head[:1] == '"'
