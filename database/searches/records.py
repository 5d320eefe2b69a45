"""Formats of published counts, region maps and catalogue entries.

The same formats serve the packaged catalogue and the files of users: a table says what was counted, a region map says which channel of a
HistFactory workspace each region is.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from database.errors import UserFacingError
from database.yaml_text import load_unique

Model = TypeVar("Model", bound=BaseModel)
Name = Annotated[str, Field(min_length=1)]
Number = Annotated[float, Field(allow_inf_nan=False)]

MAX_FILE_SIZE = 1 << 26
"""Larger files are no tables or maps [bytes]."""


class SearchFileError(UserFacingError):
    """A file of a search (table, region map, catalogue, workspace) cannot be used; the text names file and field."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TableRegion(_Record):
    """What was counted in one region."""

    name: Name = Field(description="name of the region")
    observed: Number = Field(ge=0, description="observed events")
    background: Number = Field(ge=0, description="expected background events")
    background_error: Number = Field(ge=0, description="its uncertainty [events]")
    third_moment: Number | None = Field(None, description="third central moment of the background [events³]")


class PublishedTable(_Record):
    """Counts of a search, and how its regions are combined."""

    analysis: Name = Field(description="name of the analysis, e.g. ATLAS-HIGG-2018-26")
    experiment: Literal["ATLAS", "CMS"] = Field(description="who counted")
    sqrts_tev: int = Field(gt=0, description="centre-of-mass energy [TeV]")
    lumi_ifb: Number = Field(gt=0, description="integrated luminosity [fb⁻¹]")
    source: Name = Field(description="where the numbers come from")
    regions: tuple[TableRegion, ...] = Field(min_length=1, description="the regions")
    sets: dict[Name, tuple[Name, ...]] = Field(
        default_factory=dict, description="regions that share no events, by name of the set; none: all regions, if there is a covariance"
    )
    sets_are_disjoint: bool = Field(False, description="whether different sets share no events either, so that they are all combined")
    covariance: tuple[tuple[Number, ...], ...] | None = Field(None, description="covariance of the backgrounds [events²], order of regions")
    correlation: tuple[tuple[Number, ...], ...] | None = Field(None, description="their correlation, instead of the covariance")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the regions."""
        return tuple(region.name for region in self.regions)

    @model_validator(mode="after")
    def _check(self) -> PublishedTable:
        known = set(self.names)
        if len(known) < len(self.names):
            twice = next(name for name in self.names if self.names.count(name) > 1)
            raise ValueError(f"regions: {twice} is listed twice")
        for name, members in self.sets.items():
            for region in members:
                if region not in known:
                    raise ValueError(f"sets[{name}]: {region} is not one of the regions")
            if not members or len(set(members)) < len(members):
                raise ValueError(f"sets[{name}]: a set needs regions, each once")
        if self.sets_are_disjoint and sum(map(len, self.sets.values())) > len({r for members in self.sets.values() for r in members}):
            raise ValueError("sets_are_disjoint: two sets share a region")
        if self.covariance is not None and self.correlation is not None:
            raise ValueError("covariance: give either covariance or correlation")
        for field, matrix in (("covariance", self.covariance), ("correlation", self.correlation)):
            _check_matrix(field, matrix, len(self.names))
        return self


def _check_matrix(field: str, matrix: tuple[tuple[float, ...], ...] | None, size: int) -> None:
    if matrix is None:
        return
    if len(matrix) != size or any(len(row) != size for row in matrix):
        raise ValueError(f"{field}: expected {size} rows of {size} numbers, one per region")
    for i, row in enumerate(matrix):
        if not row[i] > 0.0:
            raise ValueError(f"{field}: the diagonal entry {i} is {row[i]:g}, not positive")
        if field == "correlation" and not math.isclose(row[i], 1.0, abs_tol=1e-6):
            raise ValueError(f"{field}: the diagonal entry {i} is {row[i]:g}, not 1")
        for j in range(i):
            if not math.isclose(row[j], matrix[j][i], rel_tol=1e-3, abs_tol=1e-6 * math.sqrt(row[i] * matrix[j][j])):
                raise ValueError(f"{field}: entries ({i}, {j}) and ({j}, {i}) differ")


class MappedChannel(_Record):
    """The place of a region in a workspace."""

    channel: Name = Field(description="name of the channel in the workspace")
    bin: int = Field(0, ge=0, description="bin of the channel, counted from 0")
    type: Literal["SR", "CR", "VR"] = Field("SR", description="signal, control or validation region")

    @model_validator(mode="before")
    @classmethod
    def _read_text(cls, value: Any) -> Any:
        """`channel` and `channel[2]` as text."""
        if not isinstance(value, str):
            return value
        channel, bracket, rest = value.partition("[")
        if bracket and rest.endswith("]") and rest[:-1].isdigit():
            return {"channel": channel, "bin": int(rest[:-1])}
        return {"channel": value}


class RegionMap(_Record):
    """Which channel of a HistFactory workspace each region of an analysis is."""

    analysis: Name = Field(description="name of the analysis; a new one, or one of the results or the catalogue")
    set_name: str = Field("", alias="set", description="name of this set of regions, if the analysis has several workspaces")
    experiment: Literal["ATLAS", "CMS"] | None = Field(None, description="who counted; needed for new analyses")
    sqrts_tev: int | None = Field(None, gt=0, description="centre-of-mass energy [TeV]; needed for new analyses")
    lumi_ifb: Number | None = Field(None, gt=0, description="integrated luminosity [fb⁻¹]")
    doi: str | None = Field(None, description="DOI of the published file or archive")
    member: str | None = Field(None, description="path of the workspace within the published archive")
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$", description="sha256 of the file of the workspace")
    content_sha256: str | None = Field(
        None, pattern=r"^[0-9a-f]{64}$", description="sha256 of its sorted JSON, as `pyhf digest` and patch sets of HEPData state it"
    )
    measurement: str | int = Field(0, description="name or position of the measurement")
    includes_crs: bool = Field(False, description="whether all control regions stay in the model and may see signal")
    signal_uncertainty: Number | None = Field(None, ge=0, description="relative uncertainty of signal yields, correlated over the regions")
    regions: dict[Name, MappedChannel] = Field(
        min_length=1, description="place of each region: channel, `channel[bin]`, or {channel, bin, type}"
    )

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    @model_validator(mode="after")
    def _check(self) -> RegionMap:
        places: dict[tuple[str, int], str] = {}
        for region, place in self.regions.items():
            key = place.channel, place.bin
            if key in places:
                raise ValueError(f"regions[{region}]: {place.channel}[{place.bin}] is {places[key]} already")
            places[key] = region
        return self


class NeededFile(_Record):
    """A published file that gives more than what is at hand."""

    what: Name = Field(description="what is in it")
    doi: str | None = Field(None, description="its DOI; none: not published under one")
    url: str | None = Field(None, description="page to look at")


class KnownDigest(_Record):
    """Digest of a published workspace."""

    file: Name = Field(description="the file")
    content_sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="sha256 of its sorted JSON")
    source: Name = Field(description="where this file was found")


class SearchEntry(_Record):
    """One search of the catalogue."""

    analysis: Name = Field(description="name of the analysis")
    aliases: tuple[Name, ...] = Field((), description="other names, e.g. that of CheckMATE")
    title: Name = Field(description="what is searched for")
    arxiv: str = Field(pattern=r"^\d{4}\.\d{4,5}$", description="preprint")
    experiment: Literal["ATLAS", "CMS"] = Field(description="who counted")
    sqrts_tev: int = Field(gt=0, description="centre-of-mass energy [TeV]")
    lumi_ifb: Number = Field(gt=0, description="integrated luminosity [fb⁻¹]")
    num_bins: int = Field(gt=0, description="bins in arXiv:2507.08565")
    result: str | None = Field(None, description="efficiency-map result of the SModelS database that stands for it")
    result_model: str | None = Field(None, description="what that result has for combining its regions")
    is_result_simplified: bool = Field(False, description="whether that is a simplified model, the full one being published elsewhere")
    sets: dict[Name, tuple[Name, ...]] = Field(
        default_factory=dict, description="regions that share no events, by name of the set, where the result does not say"
    )
    sets_are_disjoint: bool = Field(False, description="whether different sets share no events either")
    table: str | None = Field(None, description="packaged table of counts, a file in tables/")
    maps: tuple[str, ...] = Field((), description="packaged region maps of the published workspaces, files in maps/")
    needed: tuple[NeededFile, ...] = Field((), description="published files that give more than what is at hand")
    digests: tuple[KnownDigest, ...] = Field((), description="known workspaces")
    sources: tuple[Name, ...] = Field(min_length=1, description="where the facts come from")
    remarks: tuple[Name, ...] = Field((), description="what to know")


# ------------------------------------------------------------------------------------------------------------- reading


def read_document(path: Path, what: str) -> Mapping[str, Any]:
    """A YAML or JSON file with a mapping in it.

    Raises:
        SearchFileError: it cannot be read, or holds something else.
    """
    try:
        if path.stat().st_size > MAX_FILE_SIZE:
            raise SearchFileError(f"{path}: too large for {what}")
        text = path.read_text(encoding="utf-8")
        document = json.loads(text, object_pairs_hook=_unique_pairs) if text.lstrip()[:1] == "{" else load_unique(text)
    except OSError as error:
        raise SearchFileError(f"{path}: cannot be read ({error.strerror or error})") from None
    except json.JSONDecodeError as error:
        raise SearchFileError(f"{path}: is not valid JSON ({error.msg} at line {error.lineno})") from None
    except (ValueError, yaml.YAMLError) as error:
        place = getattr(error, "problem_mark", None)
        line = f" at line {place.line + 1}" if place is not None else ""
        raise SearchFileError(
            f"{path}: is not YAML or JSON ({getattr(error, 'problem', None) or str(error).partition(chr(10))[0]}{line})"
        ) from None
    if not isinstance(document, Mapping):
        raise SearchFileError(f"{path}: expected {what}, found a {type(document).__name__}")
    return document


def _unique_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for key, _ in pairs if sum(key == other for other, _ in pairs) > 1)
        raise ValueError(f"{twice!r} is given twice")
    return found


def parse_record(model: type[Model], document: Any, name: str) -> Model:
    """A checked record.

    Raises:
        SearchFileError: the first defect, with its field.
    """
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise SearchFileError(f"{name}: {describe_defect(error)}") from None


def describe_defect(error: ValidationError) -> str:
    """The first defect of a document, its field first.

    Examples:
        >>> try:
        ...     TableRegion.model_validate({"name": "SR1", "observed": -1, "background": 1, "background_error": 0})
        ... except ValidationError as found:
        ...     print(describe_defect(found))
        observed: input should be greater than or equal to 0
    """
    defect = error.errors(include_url=False)[0]
    text = defect["msg"].removeprefix("Value error, ")
    field = ""
    for part in map(str, defect["loc"]):
        field += f"[{part}]" if field else part
    if defect["type"] == "extra_forbidden":
        text = "this field is not known"
    if defect["type"] == "missing":
        text = "this field is missing"
    first = text[:1].lower() + text[1:]
    return f"{field}: {first}" if field else text


def read_table(path: Path) -> PublishedTable:
    """The table of counts in a file.

    Raises:
        SearchFileError: it is not valid; names the field.
    """
    return parse_record(PublishedTable, read_document(path, "a table of counts"), str(path))


def read_region_map(path: Path) -> RegionMap:
    """The region map in a file.

    Raises:
        SearchFileError: it is not valid; names the field.
    """
    return parse_record(RegionMap, read_document(path, "a region map"), str(path))
