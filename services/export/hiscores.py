"""Hiscores as text for other programs: JSON, SLHA, the reference project's .dict, CSV."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from builder.model_io import write_slha
from builder.particles import PARTICLES
from database.campaigns.records import HiscoreRecord
from database.errors import UserFacingError
from services.campaign.hiscores import restore_protomodel


class ExportError(UserFacingError):
    """Something cannot be written."""


def export_text(entries: Sequence[HiscoreRecord], format_: str) -> str:
    """Hiscores in one text.

    Args:
        entries: what to write; exactly one for "slha".
        format_: "json", "slha", "dict" or "csv".

    Raises:
        ExportError: the format is unknown, or does not take that many models.
    """
    if format_ == "json":
        return json.dumps([_json_entry(entry) for entry in entries], indent=1, allow_nan=False) + "\n"
    if format_ == "dict":
        return write_legacy_dict(entries)
    if format_ == "csv":
        return write_csv(entries)
    if format_ != "slha":
        raise ExportError(f"'{format_}' is not a format; json, slha, dict and csv are")
    if len(entries) != 1:
        raise ExportError("an SLHA file holds one model")
    return write_slha(restore_protomodel(entries[0]))


def write_slha_files(entries: Sequence[HiscoreRecord], folder: Path) -> list[Path]:
    """Writes one SLHA file per hiscore, `hiscore-<number>.slha`; returns their paths.

    Raises:
        ExportError: the folder cannot be written.
    """
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for entry in entries:
            path = folder / f"hiscore-{entry.hiscore_id}.slha"
            path.write_text(write_slha(restore_protomodel(entry)), encoding="utf-8")
            written.append(path)
    except OSError as error:
        raise ExportError(f"{folder} cannot be written: {error.strerror or error}") from None
    return written


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _json_entry(entry: HiscoreRecord) -> dict[str, Any]:
    """A protomodel document, which every command that takes a MODEL reads, is under "protomodel"."""
    return {
        "hiscore_id": entry.hiscore_id,
        "campaign_id": entry.campaign_id,
        "walker_number": entry.walker_number,
        "step": entry.step,
        "k": _finite(entry.k),
        "t_l": _finite(entry.tl),
        "mu_hat": _finite(entry.mu_hat),
        "mu_max": _finite(entry.mu_max),
        "log_prior": _finite(entry.log_prior),
        "combination": [
            {name: _finite(value) if isinstance(value, float) else value for name, value in member.items()} for member in entry.combination
        ],
        "model_hash": entry.model_hash,
        "protomodel": entry.protomodel,
    }


def write_legacy_dict(entries: Sequence[HiscoreRecord]) -> str:
    """Hiscores as a Python literal with the keys of the reference project's hiscores.dict.

    Its numbers are in GeV and fb; signal strength multipliers are contained in the cross sections.
    """
    content = []
    for entry in entries:
        protomodel = restore_protomodel(entry)
        content.append(
            {
                "masses": dict(protomodel.masses),
                "ssmultipliers": dict(protomodel.ssms),
                "decays": {pid: dict(channels) for pid, channels in protomodel.branching_ratios.items()},
                "xsecs[fb]": {
                    (pair, sqrts_tev): xsec for sqrts_tev, xsecs in protomodel.spectrum().xsecs_fb.items() for pair, xsec in xsecs.items()
                },
                "TL": entry.tl,
                "K": entry.k,
                "muhat": entry.mu_hat,
                "mumax": _finite(entry.mu_max),
                "walkerid": entry.walker_number,
                "step": entry.step,
                "timestamp": entry.created_at.strftime("%Y-%m-%d %H:%M:%S"),
                "description": ",".join(":".join(filter(None, (m["analysis_id"], m["dataset_id"]))) for m in entry.combination),
                "critic_description": entry.verdict["reason"],
            }
        )
    return "[" + ",\n ".join(repr(model) for model in content) + "]\n"


def write_csv(entries: Sequence[HiscoreRecord]) -> str:
    """Hiscores as a table, one row each; a mass column per particle of the pool, empty where the model lacks it."""
    models = [restore_protomodel(entry) for entry in entries]
    present = {pid for model in models for pid in model.masses}
    pids = [pid for pid in (*PARTICLES, *sorted(present - PARTICLES.keys())) if pid in present]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    head = ["hiscore_id", "campaign_id", "walker_number", "step", "k", "t_l", "mu_hat", "mu_max", "log_prior", "num_particles"]
    writer.writerow([*head, *(f"mass_{pid}_gev" for pid in pids), "combination", "model_hash"])
    for entry, model in zip(entries, models, strict=True):
        found = [entry.hiscore_id, entry.campaign_id, entry.walker_number, entry.step]
        scores = [entry.k, entry.tl, entry.mu_hat, entry.mu_max, entry.log_prior]
        members = ";".join(member["analysis_id"] for member in entry.combination)
        masses = [repr(model.masses[pid]) if pid in model.masses else "" for pid in pids]
        writer.writerow([*found, *(repr(value) for value in scores), model.num_particles, *masses, members, entry.model_hash])
    return text.getvalue()
