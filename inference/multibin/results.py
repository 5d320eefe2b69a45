"""Results as a file: what was asked, the yields, what came out. JSON, versioned, read back by `protomodels limits --stat-only`.

Numbers that do not exist are null; the outcome of an entry says why. Nothing in the file depends on when or where it was made: the same
yields and settings give the same bytes.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from database.searches.records import PublishedTable, RegionMap, SearchFileError, parse_record, read_document
from inference.multibin.limit_values import LimitOutcome, LimitValues, Verdict
from inference.multibin.settings import MultibinSettings
from inference.multibin.yields import AnalysisYields

FORMAT = "protomodels-limits"
VERSION = 1


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LimitRecord(_Record):
    """Limits of one likelihood; null where not asked for or not found."""

    mu_ul_obs: float | None = Field(description="observed upper limit on μ; null with outcome nothing_excluded: no μ is excluded")
    mu_ul_exp: tuple[float | None, ...] = Field(description="expected limits for backgrounds that fluctuate by -2, -1, 0, 1, 2 σ")
    cls_obs: float | None = Field(description="observed CLs at μ = 1")
    cls_exp: tuple[float | None, ...] = Field(description="expected CLs at μ = 1, same fluctuations")
    mu_hat: float | None = Field(description="best μ >= 0")
    sigma_mu: float | None = Field(description="its uncertainty")
    r_obs: float | None = Field(description="1/μ_UL, observed")
    r_exp: float | None = Field(description="1/μ_UL, expected")
    verdict: Verdict = Field(description="excluded if μ_UL < 1, else if CLs is small; undecided without both")
    outcome: LimitOutcome = Field(description="ok, or what went wrong")
    reason: str = Field(description="in words")


class ModelRecord(_Record):
    """The statistical model that stands for an analysis."""

    kind: str = Field(description="full, simplified, covariance, network or single_region")
    description: str = Field(description="in words, with its file")
    set: str = Field(description="set of regions, or region")
    backend: str = Field(description="what evaluated it")


class SetRecord(_Record):
    """One set of regions of an analysis."""

    set: str = Field(description="its name")
    description: str = Field(description="its model")
    num_regions: int = Field(description="regions that see the signal")
    mu_ul_apriori: float | None = Field(description="limit expected before looking, where sets compete")
    is_used: bool = Field(description="whether it speaks for the analysis")
    problem: str = Field(description="why it does not enter")


class AnalysisRecord(_Record):
    """One analysis."""

    analysis: str = Field(description="its name")
    experiment: str
    sqrts_tev: float = Field(description="centre-of-mass energy [TeV]")
    lumi_ifb: float | None = Field(description="integrated luminosity [fb⁻¹]")
    origin: str = Field(description="where its data come from")
    is_approximate: bool = Field(description="whether they are for demonstration only")
    num_signal_events: float = Field(description="signal in all of its regions together [events]")
    model: ModelRecord | None = Field(description="null without one")
    sets: tuple[SetRecord, ...] = Field(description="sets of regions that could have been used")
    limits: LimitRecord
    num_timeouts: int = Field(description="fits that took too long")
    notes: tuple[str, ...] = Field(description="what to know")


class LeftOutRecord(_Record):
    """An analysis that is not in the combination."""

    analysis: str
    reason: str


class CombinationRecord(_Record):
    """The combination with the smallest expected limit."""

    members: tuple[str, ...] = Field(description="its analyses")
    mu_ul_apriori: float | None = Field(description="its limit expected before looking")
    limits: LimitRecord
    left_out: tuple[LeftOutRecord, ...] = Field(description="the other analyses")


class InputRecord(_Record):
    """One signal."""

    name: str = Field(description="of the file, with a number if it holds several models")
    yields: dict[str, AnalysisYields] = Field(description="expected signal events, as in a file of yields")
    analyses: tuple[AnalysisRecord, ...]
    combination: CombinationRecord | None
    verdict: Verdict = Field(description="that of the combination")
    num_failed: int = Field(description="analyses whose fits failed or took too long")


class WorkspaceRecord(_Record):
    """A workspace of the user."""

    name: str = Field(description="file, archive or DOI as given")
    content_sha256: str = Field(description="sha256 of its sorted JSON")
    regions: RegionMap = Field(description="its region map")


class ResultsRecord(_Record):
    """Compiled results that were used."""

    text_version: str
    content_hash: str


class SourcesRecord(_Record):
    """Everything besides the yields that decides what the numbers are."""

    results: ResultsRecord
    workspaces: tuple[WorkspaceRecord, ...] = ()
    tables: tuple[PublishedTable, ...] = ()
    surrogates: dict[str, tuple[str, ...]] = Field(default_factory=dict, description="files by analysis")


class ResultsFile(_Record):
    """Limits of one or several signals."""

    format: Literal["protomodels-limits"]
    version: Literal[1]
    settings: MultibinSettings
    sources: SourcesRecord
    inputs: tuple[InputRecord, ...]


def number_or_none(value: float) -> float | None:
    """The value, None where it is not finite."""
    return value if math.isfinite(value) else None


def limit_record(values: LimitValues, confidence_level: float) -> LimitRecord:
    """Limits as they are stored."""
    median = values.mu_ul_exp[2]
    return LimitRecord(
        mu_ul_obs=number_or_none(values.mu_ul_obs),
        mu_ul_exp=tuple(map(number_or_none, values.mu_ul_exp)),
        cls_obs=number_or_none(values.cls_obs),
        cls_exp=tuple(map(number_or_none, values.cls_exp)),
        mu_hat=number_or_none(values.mu_hat),
        sigma_mu=number_or_none(values.sigma_mu),
        r_obs=_inverse(values.mu_ul_obs),
        r_exp=_inverse(median),
        verdict=values.verdict(confidence_level),
        outcome=values.outcome,
        reason=values.reason,
    )


def _inverse(limit: float) -> float | None:
    return 1.0 / limit if limit > 0.0 else None


def dump_results(results: ResultsFile) -> str:
    """The text of a results file."""
    document: Mapping[str, Any] = results.model_dump(mode="json", by_alias=True)
    return json.dumps(document, ensure_ascii=False, allow_nan=False, indent=1) + "\n"


def write_results(results: ResultsFile, path: Path) -> None:
    """Writes a results file: complete, or not at all.

    Raises:
        SearchFileError: it cannot be written.
    """
    write_text(dump_results(results), path)


def write_text(text: str, path: Path) -> None:
    """Writes a text file beside its place and moves it there.

    Raises:
        SearchFileError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise SearchFileError(f"{path}: cannot be written ({error.strerror or error})") from None
    partial = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        partial.chmod(0o644)
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise SearchFileError(f"{path}: cannot be written ({error.strerror or error})") from None


def read_results(path: Path) -> ResultsFile:
    """A results file.

    Raises:
        SearchFileError: it is none, or of another version; names the field.
    """
    document = read_document(path, "a results file")
    if document.get("format") != FORMAT:
        raise SearchFileError(f"{path}: format: this is no results file of 'protomodels limits'")
    if document.get("version") != VERSION:
        raise SearchFileError(f"{path}: version: {document.get('version')!r} is not known, only {VERSION}")
    return parse_record(ResultsFile, document, str(path))
