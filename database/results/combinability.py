"""Which published results may be combined, i.e. whose likelihoods may be multiplied.

Place in the walk: the combination of a model's results (inference/combination.py) is a clique of the graph built here.

Rules, in this order:

1. A result does not combine with itself, nor with another result of the same analysis: analysis ids are compared without
   the suffixes in `VARIANT_SUFFIXES` (CMS-SUS-16-050-agg is CMS-SUS-16-050), and an analysis that supersedes another one,
   directly or through a third, counts as the same analysis, because the data are the same.
2. An override given by the user decides (it cannot break rule 1).
3. Different experiment or different √s: combinable, no event can be in both.
4. Same experiment and √s: combinable only if the facts list the two analyses, or, where they list signal regions, if
   every signal region of one result is listed with every signal region of the other. Facts on single signal regions stay
   available through `CombinabilityMatrix.regions_combinable`.

The facts are `combinability/*.yaml`, one file per experiment and run, each group of pairs with its source. A pair that
its source listed from one side only is kept for both and flagged, since sharing no events has no direction; `trusts_one_sided`
switches such pairs off.

Two facts that users ask for: ATLAS and CMS results always combine (CMS-EXO-20-004 with ATLAS-EXOT-2018-06), whereas
CMS-EXO-20-004 with CMS-SUS-20-004 is not listed by any source we have and needs an override.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from database.errors import ConfigError
from database.results.combinability_facts import CombinabilityFacts, Pair, analysis_stem, load_combinability, ordered_pair

__all__ = ["CombinabilityFacts", "CombinabilityMatrix", "Override", "analysis_stem", "build_combinability", "load_combinability"]

log = logging.getLogger(__name__)

_ANALYSIS_ID = re.compile(r"(?:(ATLAS|CMS)-)?((?:PAS-|CONF-)?(?:[A-Z]+-)?(?:PAS-)?\d{2,4}-\d{2,3})")


class Override(NamedTuple):
    """A decision of the user about two analyses of one experiment and run."""

    first: str
    second: str
    is_combinable: bool
    reason: str = "override"


class ResultLike(Protocol):
    """What is read of a result (see `ResultRecord` in store.py)."""

    @property
    def analysis_id(self) -> str: ...
    @property
    def experiment(self) -> str: ...
    @property
    def sqrts_tev(self) -> float: ...
    @property
    def dataset_start(self) -> int: ...
    @property
    def dataset_stop(self) -> int: ...
    @property
    def supersedes(self) -> tuple[str, ...]: ...
    @property
    def superseded_by(self) -> tuple[str, ...]: ...


class StoreLike(Protocol):
    """What is read of a results store."""

    @property
    def results(self) -> Sequence[ResultLike]: ...
    @property
    def dataset_ids(self) -> Sequence[str | None]: ...


@dataclass(frozen=True, eq=False)
class CombinabilityMatrix:
    """Which results of a store may be combined.

    Attributes:
        is_combinable: symmetric matrix over `store.results`, shape (R, R), diagonal False.
        content_hash: sha256 over matrix, result ids and overrides: two runs with equal hashes combine alike.
    """

    is_combinable: NDArray[np.bool_]
    content_hash: str
    _reasons: Mapping[tuple[int, int], str]
    _default_reasons: tuple[str, ...]
    _facts: CombinabilityFacts
    _results: tuple[ResultLike, ...]
    _families: tuple[str, ...] = ()

    def is_judgement(self, i: int, j: int) -> bool:
        """Whether a fact or its absence decides on two results: same experiment and run, but not the same data.

        False where logic decides: the same analysis, one that supersedes the other, or different experiments or energies.
        """
        a, b = self._results[i], self._results[j]
        is_same_run = a.experiment == b.experiment and a.sqrts_tev == b.sqrts_tev
        return is_same_run and self._families[i] != self._families[j]

    def reason(self, i: int, j: int) -> str:
        """Why results `i` and `j` may or may not be combined, in one sentence."""
        if i == j:
            return "a result is not combined with itself"
        found = self._reasons.get((min(i, j), max(i, j)))
        if found is not None:
            return found
        a, b = self._results[i], self._results[j]
        if a.experiment != b.experiment:
            return "different experiments share no events"
        if a.sqrts_tev != b.sqrts_tev:
            return "different centre-of-mass energies share no events"
        unknown = [self._default_reasons[k] for k in (i, j) if self._default_reasons[k]]
        return unknown[0] if unknown else "same experiment and run, and no source lists them as free of common events"

    def regions_combinable(self, i: int, region_i: str, j: int, region_j: str) -> bool:
        """Whether two signal regions may be combined: their results may, or a source lists the two regions themselves."""
        if self.is_combinable[i, j]:
            return True
        if (min(i, j), max(i, j)) in self._reasons or i == j:  # same analysis, or decided by the user
            return False
        a, b = self._results[i], self._results[j]
        return self._facts.find_regions(a.analysis_id, region_i, b.analysis_id, region_j) is not None


def build_combinability(
    store: StoreLike,
    facts: CombinabilityFacts | None = None,
    overrides: Iterable[Override | tuple[str, str, bool]] | None = None,
    *,
    trusts_one_sided: bool = True,
) -> CombinabilityMatrix:
    """The combinability of all results of `store`, by the rules at the top of this module.

    Args:
        store: the results.
        facts: listed pairs; the packaged ones if None.
        overrides: decisions of the user; each names two analyses (or variants) and says whether they may be combined.
        trusts_one_sided: whether pairs count that their source lists under one of the two analyses only.

    Raises:
        ConfigError: an override names an analysis that neither the store nor the facts know, or one analysis twice.
    """
    facts = load_combinability() if facts is None else facts
    results = tuple(store.results)
    stems = [analysis_stem(result.analysis_id) for result in results]
    families = _find_families(results, stems)
    decided = _resolve_overrides(overrides or (), {*stems, *(analysis_stem(name) for name in facts.known)})

    matrix = np.zeros((len(results), len(results)), dtype=np.bool_)
    reasons: dict[tuple[int, int], str] = {}
    for i, j in combinations(range(len(results)), 2):
        a, b = results[i], results[j]
        override = decided.get(ordered_pair(stems[i], stems[j]))
        is_combinable, reason = False, None
        if stems[i] == stems[j]:
            reason = f"both are results of {stems[i]}"
        elif families[stems[i]] == families[stems[j]]:
            reason = "one analysis supersedes the other: the data are the same"
        elif override is not None:
            is_combinable, reason = override.is_combinable, f"decided by the user: {override.reason}"
        elif a.experiment != b.experiment or a.sqrts_tev != b.sqrts_tev:
            is_combinable = True
        elif (entry := facts.analyses.get(ordered_pair(stems[i], stems[j]))) is not None:
            is_combinable = trusts_one_sided or not entry.is_one_sided
            side = ", from one side only" if entry.is_one_sided else ""
            unused = "" if is_combinable else ", which is not trusted"
            reason = f"listed as free of common events{side}{unused} ({entry.source}: {entry.citation})"
        elif _are_all_regions_listed(store, facts, a, b):
            is_combinable, reason = True, "every signal region of one is listed with every signal region of the other (taco)"
        matrix[i, j] = matrix[j, i] = is_combinable
        if reason is not None:
            reasons[i, j] = reason
    known_stems = {analysis_stem(name) for name in facts.known}
    defaults = tuple("" if stem in known_stems else f"no combinability facts are known for {stem}" for stem in stems)
    digest = hashlib.sha256(json.dumps([[r.analysis_id, r.experiment, r.sqrts_tev] for r in results]).encode())
    digest.update(np.packbits(matrix).tobytes())
    digest.update(json.dumps(sorted([*pair, choice.is_combinable] for pair, choice in decided.items())).encode())
    digest.update(facts.content_hash.encode())
    matrix.setflags(write=False)
    log.debug("combinability of %d results: %d pairs", len(results), int(matrix.sum()) // 2)
    return CombinabilityMatrix(matrix, digest.hexdigest(), reasons, defaults, facts, results, tuple(families[stem] for stem in stems))


def _are_all_regions_listed(store: StoreLike, facts: CombinabilityFacts, a: ResultLike, b: ResultLike) -> bool:
    if not {a.analysis_id, b.analysis_id} <= facts.analyses_with_regions:
        return False
    regions_a = store.dataset_ids[a.dataset_start : a.dataset_stop]
    regions_b = store.dataset_ids[b.dataset_start : b.dataset_stop]
    if not regions_a or not regions_b:
        return False
    return all(
        x is not None and y is not None and facts.find_regions(a.analysis_id, x, b.analysis_id, y) is not None
        for x in regions_a
        for y in regions_b
    )


def _find_families(results: Sequence[ResultLike], stems: Sequence[str]) -> dict[str, str]:
    """Analysis → representative of all analyses linked to it by superseding."""
    parent: dict[str, str] = {}

    def find(stem: str) -> str:
        parent.setdefault(stem, stem)
        while parent[stem] != stem:
            stem = parent[stem]
        return stem

    for result, stem in zip(results, stems, strict=True):
        find(stem)
        for text in (*result.supersedes, *result.superseded_by):
            for other in read_analysis_ids(text, result.experiment):
                first, second = sorted((find(stem), find(analysis_stem(other))))
                parent[second] = first
    return {stem: find(stem) for stem in parent}


def read_analysis_ids(text: str, experiment: str) -> tuple[str, ...]:
    """The analysis ids in a free text as the results' "supersedes" fields hold it.

    Examples:
        >>> read_analysis_ids("ATLAS_CONF_2013_001;CONF-2012-166", "ATLAS")
        ('ATLAS-CONF-2013-001', 'ATLAS-CONF-2012-166')
        >>> read_analysis_ids("CMS-SUS-PAS-15-002 (more data)", "CMS")
        ('CMS-PAS-SUS-15-002',)
    """
    found = []
    for match in _ANALYSIS_ID.finditer(text.replace("_", "-")):
        name = match.group(2)
        if "-PAS-" in name:
            name = "PAS-" + name.replace("-PAS-", "-")
        found.append(f"{match.group(1) or experiment}-{name}")
    return tuple(found)


def _resolve_overrides(overrides: Iterable[Override | tuple[str, str, bool]], known: set[str]) -> dict[Pair, Override]:
    decided: dict[Pair, Override] = {}
    for given in overrides:
        override = Override(*given)
        stems = [analysis_stem(label) for label in (override.first, override.second)]
        for stem in stems:
            if stem not in known:
                raise ConfigError(f"The combinability override names '{stem}', which is not an analysis of the results.")
        if stems[0] == stems[1]:
            raise ConfigError(f"The combinability override names '{stems[0]}' twice; an analysis is never combined with itself.")
        pair = ordered_pair(*stems)
        if pair in decided and decided[pair].is_combinable != override.is_combinable:
            raise ConfigError(f"Two combinability overrides contradict each other for {pair.first} and {pair.second}.")
        decided[pair] = override
    return decided
