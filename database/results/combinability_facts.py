"""The facts about combinability: reading and checking `combinability/*.yaml`.

Each file holds one experiment and run. A pair of analyses (or of signal regions, "analysis:region") is written once,
under the label that sorts first, in a group with its source; the rules are checked on reading, so a matrix built from
the facts is symmetric, has no self-entries and no label that nothing stands for.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from database.errors import ResultsFormatError
from database.yaml_text import load_unique

COMBINABILITY_FORMAT = 1
PACKAGED_FACTS = tuple(Path(__file__).with_name("combinability") / f"{name}.yaml" for name in ("atlas13", "atlas8", "cms13", "cms8"))
VARIANT_SUFFIXES = ("agg", "ma5", "eff", "adl", "multibin", "exclusive", "incl", "ewk", "strong", "hino", "trim")

_SUFFIX = re.compile(rf"(?<=\d)(?:-(?:{'|'.join(VARIANT_SUFFIXES)}))+$")


def analysis_stem(analysis_id: str) -> str:
    """The analysis behind a result id: the id without its variant suffixes.

    Examples:
        >>> analysis_stem("CMS-SUS-16-050-agg")
        'CMS-SUS-16-050'
        >>> analysis_stem("CMS-SUS-19-006")
        'CMS-SUS-19-006'
    """
    return _SUFFIX.sub("", analysis_id)


def ordered_pair(first: str, second: str) -> Pair:
    """The two labels in sorted order."""
    return Pair(first, second) if first <= second else Pair(second, first)


class Pair(NamedTuple):
    """Two labels that may be combined; `first` sorts before `second`."""

    first: str
    second: str


class Entry(NamedTuple):
    """Where a listed pair comes from."""

    source: str
    """Key of the source, see `CombinabilityFacts.sources`."""
    citation: str
    is_one_sided: bool
    """Whether the source lists the pair under one of the two labels only."""


@dataclass(frozen=True)
class CombinabilityFacts:
    """The validated facts of all files.

    Attributes:
        analyses: listed pairs of analyses (suffix-free ids).
        regions: listed pairs of signal regions, "analysis:region".
        known: every analysis id the files know, variants included.
        content_hash: sha256 over the facts, independent of their order and layout in the files.
    """

    analyses: Mapping[Pair, Entry]
    regions: Mapping[Pair, Entry]
    known: frozenset[str]

    @cached_property
    def content_hash(self) -> str:
        """The facts' hash; comments and layout of the files do not enter."""
        rows = [sorted([*pair, *entry] for pair, entry in level.items()) for level in (self.analyses, self.regions)]
        return hashlib.sha256(json.dumps([COMBINABILITY_FORMAT, rows, sorted(self.known)]).encode()).hexdigest()

    def find_regions(self, first: str, first_region: str, second: str, second_region: str) -> Entry | None:
        """The entry that lists two signal regions, or None."""
        return self.regions.get(ordered_pair(f"{first}:{first_region}", f"{second}:{second_region}"))

    @cached_property
    def analyses_with_regions(self) -> frozenset[str]:
        """Analysis ids that appear in facts on signal regions."""
        return frozenset(label.partition(":")[0] for pair in self.regions for label in pair)


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str = Field(description="key into sources")
    level: str = Field(pattern="^(analysis|region)$", description="what the labels name")
    one_sided: bool = Field(description="whether the source lists these pairs from one side only")
    pairs: dict[str, list[str]]


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int
    experiment: str = Field(pattern="^(ATLAS|CMS)$")
    sqrts_tev: int = Field(gt=0, description="centre-of-mass energy [TeV]")
    sources: dict[str, str] = Field(description="citation of each source")
    analyses: list[str] = Field(description="analyses of the results database")
    analyses_elsewhere: list[str] = Field(description="analyses that only the sources know")
    variants: dict[str, list[str]] = Field(description="result ids that stand for the same analysis")
    groups: list[_Group]


def load_combinability(paths: Sequence[Path] = PACKAGED_FACTS) -> CombinabilityFacts:
    """The facts of `paths`, checked.

    Raises:
        ResultsFormatError: a file is unreadable or breaks a rule: a label that is not declared, a pattern, a label listed
            with itself or with another label of the same analysis, a pair written twice or under the label that sorts
            later. The text names the file and the pair.
    """
    analyses: dict[Pair, Entry] = {}
    regions: dict[Pair, Entry] = {}
    known: set[str] = set()
    for path in paths:
        content = _read_file(path)
        declared = {*content.analyses, *content.analyses_elsewhere, *(v for names in content.variants.values() for v in names)}
        _check_declarations(path, content)
        for group in content.groups:
            if group.source not in content.sources:
                raise ResultsFormatError(f"{path.name}: the source '{group.source}' is not described under 'sources'.")
            target = analyses if group.level == "analysis" else regions
            entry = Entry(group.source, content.sources[group.source].strip(), group.one_sided)
            for first, partners in group.pairs.items():
                for second in partners:
                    _check_pair(path, group.level, first, second, declared)
                    pair = Pair(first, second)
                    if pair in target:
                        raise ResultsFormatError(f"{path.name}: the pair {first}, {second} is listed twice.")
                    target[pair] = entry
        known |= declared
    return CombinabilityFacts(analyses, regions, frozenset(known))


def _read_file(path: Path) -> _File:
    try:
        raw = load_unique(path.read_text(encoding="utf-8"))
        content = _File.model_validate(raw)
    except OSError as error:
        raise ResultsFormatError(f"The combinability facts {path} cannot be read: {error.strerror}.") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise ResultsFormatError(f"{path.name}, line {line}: {error.problem}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ResultsFormatError(f"{path.name}: '{where}': {first['msg']}.") from error
    if content.format != COMBINABILITY_FORMAT:
        raise ResultsFormatError(f"{path.name} has format {content.format}; this version reads format {COMBINABILITY_FORMAT}.")
    return content


def _check_declarations(path: Path, content: _File) -> None:
    for label in (*content.analyses, *content.analyses_elsewhere):
        if not label.startswith(f"{content.experiment}-") or analysis_stem(label) != label:
            raise ResultsFormatError(f"{path.name}: '{label}' is not an analysis of {content.experiment} without a variant suffix.")
    for label, names in content.variants.items():
        for name in names:
            if analysis_stem(name) != label or name == label:
                raise ResultsFormatError(f"{path.name}: '{name}' is not a variant of '{label}'.")


def _check_pair(path: Path, level: str, first: str, second: str, declared: set[str]) -> None:
    stems = []
    for label in (first, second):
        if re.search(r"[*?]", label.partition(":")[0]):
            raise ResultsFormatError(f"{path.name}: '{label}' is a pattern; list the analyses it stands for.")
        analysis, colon, region = label.partition(":")
        if (level == "region") != bool(colon and region):
            wanted = "'analysis:region'" if level == "region" else "an analysis"
            raise ResultsFormatError(f"{path.name}: '{label}' should be {wanted} in a group of level {level}.")
        if analysis not in declared:
            raise ResultsFormatError(f"{path.name}: '{label}' names an analysis that is not declared in this file.")
        if level == "analysis" and analysis_stem(analysis) != analysis:
            raise ResultsFormatError(f"{path.name}: '{label}' is a variant; list its analysis '{analysis_stem(analysis)}'.")
        stems.append(analysis_stem(analysis))
    if stems[0] == stems[1]:
        raise ResultsFormatError(f"{path.name}: '{first}' is listed with '{second}', which is the same analysis.")
    if not first < second:
        raise ResultsFormatError(f"{path.name}: the pair {first}, {second} belongs under '{second}', the label that sorts first.")
