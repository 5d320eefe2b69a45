"""Published conditions on the composition of a signal, and how badly a model violates them.

Some maps hold only if final states come in given proportions, e.g. as many muons as electrons. A condition is a list of
`Csim(a, b, …)` (all equal) and `Cgtr(a, b)` (a at least b) on sums of topology cross sections; its violation is 0 when fulfilled
and 1 at worst (arXiv:1312.4175 §4.2).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from database.results.constraints import ConstraintError, Template, parse_constraint
from database.results.store import ResultsStore
from inference.matching import TemplateMatcher
from inference.topologies import Topology
from inference.types import IntArray

MAX_REMEMBERED = 50_000
"""Matches of signatures with the diagrams of conditions remembered at most."""

_CALL = re.compile(r"^\s*[cC](?P<kind>sim|gtr|Sim|Gtr)\s*\((?P<arguments>.*)\)\s*$", re.DOTALL)

Sum = tuple[tuple[Template, float], ...]
"""A sum of topologies with coefficients."""


class Condition(NamedTuple):
    """One condition: "sim" (all arguments equal) or "gtr" (first at least second)."""

    kind: str
    arguments: tuple[Sum, ...]


def parse_condition(text: str) -> Condition:
    """A published condition.

    Raises:
        ConstraintError: the text is not Csim(…) or Cgtr(…) of sums of topologies.

    Examples:
        >>> condition = parse_condition("Cgtr([[['mu+']],[['mu-']]],2.*[[['e+']],[['e-']]])")
        >>> condition.kind, [len(argument) for argument in condition.arguments], condition.arguments[1][0][1]
        ('gtr', [1, 1], 2.0)
    """
    call = _CALL.match(text)
    if call is None:
        raise ConstraintError(f"cannot read the condition {text!r}")
    arguments = tuple(
        tuple((atom.template, atom.coefficient) for atom in parse_constraint(argument).atoms)
        for argument in _split_arguments(call["arguments"])
    )
    return Condition(call["kind"].lower(), arguments)


def _split_arguments(text: str) -> list[str]:
    arguments, depth, start = [], 0, 0
    for i, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0:
            arguments.append(text[start:i])
            start = i + 1
    arguments.append(text[start:])
    return arguments


def similarity_violation(weights: Sequence[float]) -> float:
    """Largest |a-b|/(a+b) among all pairs; pairs that vanish are ignored.

    Examples:
        >>> similarity_violation([1.0, 3.0])
        0.5
    """
    return max((abs(a - b) / abs(a + b) for a, b in combinations(weights, 2) if a + b != 0.0), default=0.0)


def excess_violation(first: float, second: float) -> float:
    """0 if first is at least second, else (second-first)/(first+second); 0 if both vanish.

    Examples:
        >>> excess_violation(1.0, 3.0), excess_violation(3.0, 1.0)
        (0.5, 0.0)
    """
    return 0.0 if first >= second or first + second == 0.0 else (second - first) / (first + second)


def violation(conditions: Sequence[Condition], weight_of: Callable[[Template], float]) -> float:
    """Largest violation of several conditions.

    Args:
        conditions: the conditions of one map.
        weight_of: summed weight [fb] of the signal's topologies that match a template.
    """
    worst = 0.0
    for condition in conditions:
        weights = [sum(coefficient * weight_of(template) for template, coefficient in argument) for argument in condition.arguments]
        worst = max(worst, similarity_violation(weights) if condition.kind == "sim" else excess_violation(weights[0], weights[1]))
    return worst


class ConditionsOfMaps:
    """Published conditions of the maps that have any; parsed once, matched once per signature."""

    def __init__(self, store: ResultsStore) -> None:
        self._conditions: dict[int, tuple[Condition, ...]] = {
            map_id: tuple(parse_condition(text) for text in texts) for map_id, texts in enumerate(store.map_conditions) if texts
        }
        self._matchers: dict[Template, TemplateMatcher] = {}
        self._known: dict[tuple[str, Template], bool] = {}

    def groups(self, group: IntArray, atom_map: IntArray, num_groups: int) -> NDArray[np.bool_]:
        """Whether any map of a group has a condition, shape (num_groups,)."""
        out = np.zeros(num_groups, dtype=np.bool_)
        out[group[np.isin(atom_map, list(self._conditions))]] = True
        return out

    def violation(self, maps: Sequence[int], weights: Sequence[tuple[Topology, float]]) -> float:
        """Largest violation over the maps, given (topology, weight [fb]) of the signal."""

        def weight_of(template: Template) -> float:
            return sum(weight for topology, weight in weights if self._fits(topology, template))

        return max(violation(self._conditions.get(map_id, ()), weight_of) for map_id in maps)

    def _fits(self, topology: Topology, template: Template) -> bool:
        key = (topology.signature, template)
        if key not in self._known:
            if len(self._known) >= MAX_REMEMBERED:
                self._known.clear()
            matcher = self._matchers.setdefault(template, TemplateMatcher(template))
            self._known[key] = any(True for _ in matcher.match(topology.branches))
        return self._known[key]
