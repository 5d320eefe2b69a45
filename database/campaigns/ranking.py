"""The rule of the hiscore list, shared by every storage: a pure function of the set of candidates."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Protocol, TypeVar


class Ranked(Protocol):
    """What the rule looks at."""

    @property
    def k(self) -> float: ...
    @property
    def model_hash(self) -> str: ...
    @property
    def step(self) -> int: ...
    @property
    def walker_number(self) -> int: ...
    @property
    def protomodel(self) -> Mapping[str, Any]: ...


RankedT = TypeVar("RankedT", bound=Ranked)


def particle_content(entry: Ranked) -> tuple[str, ...]:
    """PDG ids of a candidate's particles, sorted; its hash where the model lists no masses."""
    masses = entry.protomodel.get("masses_gev")
    return tuple(sorted(masses)) if isinstance(masses, Mapping) and masses else (entry.model_hash,)


def rank_hiscores(candidates: Iterable[RankedT], keep: int) -> tuple[RankedT, ...]:
    """The `keep` best particle contents by K downwards, each by its best model; ties by hash.

    A walk that improves a model little by little would fill a list of models with one of them; a list of contents
    shows the alternatives. Of several finds of one model the earliest stays (smallest step, then walker number). The
    result depends on the set of candidates only, so offering them in batches, in any order and by any number of workers,
    ends in the same list. Candidates without a finite K are left out.

    Args:
        candidates: listed entries and new ones.
        keep: length of the list.
    """
    earliest: dict[str, RankedT] = {}
    for candidate in candidates:
        if not math.isfinite(candidate.k):
            continue
        known = earliest.get(candidate.model_hash)
        if known is None or (candidate.step, candidate.walker_number) < (known.step, known.walker_number):
            earliest[candidate.model_hash] = candidate
    best: dict[tuple[str, ...], RankedT] = {}
    for entry in sorted(earliest.values(), key=lambda entry: (-entry.k, entry.model_hash)):
        best.setdefault(particle_content(entry), entry)
    return tuple(best.values())[:keep]
