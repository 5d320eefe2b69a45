"""The rule of the hiscore list, shared by every storage: a pure function of the set of candidates."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Protocol, TypeVar


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


RankedT = TypeVar("RankedT", bound=Ranked)


def rank_hiscores(candidates: Iterable[RankedT], keep: int) -> tuple[RankedT, ...]:
    """The `keep` best candidates by K downwards, one per model hash, ties by hash.

    Of several finds of one model the earliest stays (smallest step, then walker number). The result depends on the
    set of candidates only, so offering them in batches, in any order and by any number of workers, ends in the same
    list. Candidates without a finite K are left out.

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
    return tuple(sorted(earliest.values(), key=lambda entry: (-entry.k, entry.model_hash))[:keep])
