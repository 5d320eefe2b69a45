"""What an explanation holds: every topology of a model, the maps it fits, and why some of them say nothing.

Values only; `inference.explain` makes them. `to_json` gives plain values whose names carry units, nan as None.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from inference.fates import FATE_WORDS, NO_DIAGRAM_WORDS, Fate
from inference.topologies import SQRTS_TEV

Namer = Callable[[tuple[int, ...]], str]
"""Turns the possible PDG ids of a node into a name."""


def join_pids(pids: tuple[int, ...]) -> str:
    """The ids separated by slashes.

    Examples:
        >>> join_pids((1000001, 1000002))
        '1000001/1000002'
    """
    return "/".join(map(str, pids))


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None


@dataclass(frozen=True, slots=True)
class Node:
    """A BSM particle of a topology and what it decays to.

    Attributes:
        pids: PDG ids of the model's particles that it can be (several if they are degenerate), signed by their charge.
        mass: its mass [GeV], as the topology has it.
        width: its total width [GeV]; 0 for stable ones.
        sm: labels of its Standard Model daughters.
        daughters: its BSM daughters.
    """

    pids: tuple[int, ...]
    mass: float
    width: float
    sm: tuple[str, ...]
    daughters: tuple[Node, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "pids": list(self.pids),
            "mass_gev": self.mass,
            "width_gev": self.width,
            "sm": list(self.sm),
            "daughters": [daughter.to_json() for daughter in self.daughters],
        }

    def describe(self, name: Namer = join_pids) -> str:
        """The decay chain in words."""
        own = f"{name(self.pids)}({self.mass:g})"
        if not self.sm and not self.daughters:
            return own
        return f"{own} → {' '.join([*self.sm, *(_in_brackets(daughter, name) for daughter in self.daughters)])}"


def _in_brackets(node: Node, name: Namer) -> str:
    text = node.describe(name)
    return f"[{text}]" if node.sm or node.daughters else text


@dataclass(frozen=True, slots=True)
class Axis:
    """One coordinate of a map, the model's value and what was published.

    Attributes:
        quantity: "mass" or "width".
        branch: number of the branch, from 1.
        depth: position in the decay chain, 0 for the produced particle.
        pids: positive PDG ids that the node can be.
        value: the model's value [GeV].
        low: smallest published value [GeV].
        high: largest published value [GeV].
        nearest: value [GeV] at the published point nearest to the model.
    """

    quantity: str
    branch: int
    depth: int
    pids: tuple[int, ...]
    value: float
    low: float
    high: float
    nearest: float

    @property
    def is_outside(self) -> bool:
        """Whether the value is outside the published range, whatever the other coordinates are."""
        return not self.low <= self.value <= self.high

    def to_json(self) -> dict[str, Any]:
        return {
            "quantity": self.quantity,
            "branch": self.branch,
            "depth": self.depth,
            "pids": list(self.pids),
            "value_gev": self.value,
            "published_low_gev": self.low,
            "published_high_gev": self.high,
            "nearest_published_gev": self.nearest,
            "is_outside": self.is_outside,
        }

    def symbol(self, name: Namer = join_pids) -> str:
        """E.g. "m(1000006)"."""
        return f"{'m' if self.quantity == 'mass' else 'Γ'}({name(self.pids)})"


@dataclass(frozen=True, slots=True)
class MapReport:
    """What became of one topology in the maps of one txname of one result, all signal regions of the same fate together.

    Attributes:
        result: index into the store's results.
        analysis_id: e.g. "CMS-SUS-19-006".
        folder: the result's folder in the text database.
        sqrts_tev: its centre-of-mass energy [TeV].
        kind: "upperLimit" or "efficiencyMap".
        txname: name of the simplified model.
        fate: what became of it.
        map_ids: indices of the maps.
        dataset_ids: their signal regions; None for limits.
        value: published limit [fb] or largest efficiency, lifetimes included; nan where the maps say nothing.
        weight_fb: the topology's σ·BR at the result's √s [fb].
        axes: for OUTSIDE, OFF_PLANE and SINGLE_POINT: the coordinates, with what was published.
        distance: distance to the nearest published point in units of the map's extent; nan where the model is inside.
        related_to: for RELATED: topologies that count instead.
        violation: for CONDITION: how badly, 0 to 1; else nan.
    """

    result: int
    analysis_id: str
    folder: str
    sqrts_tev: int
    kind: str
    txname: str
    fate: Fate
    map_ids: tuple[int, ...]
    dataset_ids: tuple[str | None, ...]
    value: float
    weight_fb: float
    axes: tuple[Axis, ...] = ()
    distance: float = math.nan
    related_to: tuple[int, ...] = ()
    violation: float = math.nan

    def to_json(self) -> dict[str, Any]:
        unit = "limit_fb" if self.kind == "upperLimit" else "largest_efficiency"
        return {
            "analysis": self.analysis_id,
            "result": self.folder,
            "sqrts_tev": self.sqrts_tev,
            "type": self.kind,
            "txname": self.txname,
            "fate": self.fate.value,
            "reason": self.describe(),
            "datasets": list(self.dataset_ids),
            "weight_fb": self.weight_fb,
            unit: _plain(self.value),
            "axes": [axis.to_json() for axis in self.axes],
            "distance": _plain(self.distance),
            "related_to": list(self.related_to),
            "condition_violation": _plain(self.violation),
        }

    def describe(self, name: Namer = join_pids) -> str:
        """Why, in words and numbers.

        Args:
            name: turns PDG ids into names.
        """
        words = FATE_WORDS[self.fate]
        if self.fate is Fate.RELATED:
            return f"{words}: {', '.join(f'#{number}' for number in self.related_to)}"
        if self.fate is Fate.CONDITION:
            return f"{words} (by {self.violation:.2f})"
        if self.fate in (Fate.OUTSIDE, Fate.OFF_PLANE, Fate.SINGLE_POINT):
            parts = [f"{axis.symbol(name)} = {axis.value:.4g} GeV, published up to {axis.high:.4g} GeV" for axis in self.slow_axes]
            return f"the map is for long-lived particles: {'; '.join(dict.fromkeys(parts))}" if parts else self._describe_axes(words, name)
        return words

    @property
    def slow_axes(self) -> tuple[Axis, ...]:
        """Axes of the map that end at smaller widths, that is at longer lifetimes, than the model has."""
        return tuple(axis for axis in self.axes if axis.quantity == "width" and axis.value > axis.high)

    def _describe_axes(self, words: str, name: Namer) -> str:
        outside = [axis for axis in self.axes if axis.is_outside]
        if self.fate is Fate.OUTSIDE and outside:
            parts = [f"{axis.symbol(name)} = {axis.value:.4g} GeV, published {axis.low:.4g} to {axis.high:.4g} GeV" for axis in outside]
        else:
            parts = [f"{axis.symbol(name)} = {axis.value:.4g} GeV, nearest published {axis.nearest:.4g} GeV" for axis in self.axes]
        return f"{words}: {'; '.join(dict.fromkeys(parts))}"


@dataclass(frozen=True, slots=True)
class TopologyReport:
    """One topology of a model and what the published maps say of it.

    Attributes:
        index: its number in the model's topologies.
        diagram: decay chains with masses, e.g. "(800 > t+ 100) (800 > t- 100)".
        branches: the same with particles.
        weight_fb: σ·BR at 8 and 13 TeV [fb].
        is_compressed: whether it exists only with soft or invisible decays left out.
        origins: topologies (indices) that it stems from, itself included if it is not compressed.
        maps: what became of it in every map whose diagram it fits; empty if there is none.
    """

    index: int
    diagram: str
    branches: tuple[Node, ...]
    weight_fb: tuple[float, float]
    is_compressed: bool
    origins: tuple[int, ...]
    maps: tuple[MapReport, ...]

    @property
    def is_seen(self) -> bool:
        """Whether it is part of a prediction."""
        return any(report.fate is Fate.COUNTED for report in self.maps)

    def to_json(self) -> dict[str, Any]:
        return {
            "index": self.index,
            "sms": self.diagram,
            "branches": [branch.to_json() for branch in self.branches],
            "weight_fb": _by_sqrts(self.weight_fb),
            "is_compressed": self.is_compressed,
            "origins": list(self.origins),
            "is_seen": self.is_seen,
            "reason": None if self.maps else NO_DIAGRAM_WORDS,
            "maps": [report.to_json() for report in self.maps],
        }

    def describe(self, name: Namer = join_pids) -> str:
        """The decay chains in words."""
        return " + ".join(_in_brackets(branch, name) for branch in self.branches)


@dataclass(frozen=True, slots=True)
class MissingTopology:
    """A topology that no result sees, compressed or not.

    Attributes:
        index: its number.
        weight_fb: σ·BR at 8 and 13 TeV [fb].
        closest: the map that comes closest to seeing it or one of its compressed copies; None if no map has such a diagram.
        closest_index: the topology that this map is about.
    """

    index: int
    weight_fb: tuple[float, float]
    closest: MapReport | None
    closest_index: int

    def to_json(self) -> dict[str, Any]:
        return {
            "index": self.index,
            "weight_fb": _by_sqrts(self.weight_fb),
            "reason": NO_DIAGRAM_WORDS if self.closest is None else self.closest.describe(),
            "closest": None if self.closest is None else {"index": self.closest_index, **self.closest.to_json()},
        }


@dataclass(frozen=True, slots=True)
class ProductionReport:
    """One production pair and what the σ·BR cut takes away from it.

    Attributes:
        pids: the pair, signed.
        xsec_fb: production cross section at 8 and 13 TeV [fb].
        cut_fb: summed σ·BR of its channels below the cut [fb].
    """

    pids: tuple[int, int]
    xsec_fb: tuple[float, float]
    cut_fb: tuple[float, float]

    def to_json(self) -> dict[str, Any]:
        return {"pids": list(self.pids), "xsec_fb": _by_sqrts(self.xsec_fb), "cut_fb": _by_sqrts(self.cut_fb)}


@dataclass(frozen=True, slots=True)
class Coverage:
    """Which part of the produced cross section the results of one √s see: total = covered + missing + cut.

    A particle that may decay in the detector or leave it counts with both possibilities, each with weight 1.

    Attributes:
        sqrts_tev: centre-of-mass energy [TeV].
        total_fb: all that is produced [fb].
        covered_fb: in topologies that some result of this √s sees [fb].
        missing_fb: in topologies that none sees [fb].
        cut_fb: in channels below the σ·BR cut [fb].
        num_results: results of this √s with a prediction.
    """

    sqrts_tev: int
    total_fb: float
    covered_fb: float
    missing_fb: float
    cut_fb: float
    num_results: int

    def to_json(self) -> dict[str, Any]:
        return {
            "sqrts_tev": self.sqrts_tev,
            "total_fb": self.total_fb,
            "covered_fb": self.covered_fb,
            "missing_fb": self.missing_fb,
            "cut_fb": self.cut_fb,
            "num_results": self.num_results,
        }


@dataclass(frozen=True, slots=True)
class ResultReport:
    """Whether a published result sees the model, and if not, why.

    Attributes:
        result: index into the store's results.
        analysis_id: e.g. "CMS-SUS-19-006".
        folder: its folder in the text database.
        sqrts_tev: its centre-of-mass energy [TeV].
        kind: "upperLimit" or "efficiencyMap".
        best: the fate closest to a prediction among all topologies; None if none of its diagrams occurs.
    """

    result: int
    analysis_id: str
    folder: str
    sqrts_tev: int
    kind: str
    best: Fate | None

    @property
    def reason(self) -> str:
        """Why, in words."""
        return "none of its diagrams occurs in the model" if self.best is None else FATE_WORDS[self.best]

    def to_json(self) -> dict[str, Any]:
        return {
            "analysis": self.analysis_id,
            "result": self.folder,
            "sqrts_tev": self.sqrts_tev,
            "type": self.kind,
            "is_seen": self.best is Fate.COUNTED,
            "best_fate": None if self.best is None else self.best.value,
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a model has the predictions it has.

    Attributes:
        sigma_cut_fb: channels with a smaller σ·BR at every √s were dropped [fb].
        coverage: per √s.
        topologies: all topologies of the model.
        missing: uncompressed topologies that no result sees, largest first.
        production: production pairs, largest first.
        results: every result of the store, in its order.
    """

    sigma_cut_fb: float
    coverage: tuple[Coverage, ...]
    topologies: tuple[TopologyReport, ...]
    missing: tuple[MissingTopology, ...]
    production: tuple[ProductionReport, ...]
    results: tuple[ResultReport, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values; names carry units, numbers that do not exist are None."""
        return {
            "sigma_cut_fb": self.sigma_cut_fb,
            "coverage": [entry.to_json() for entry in self.coverage],
            "topologies": [entry.to_json() for entry in self.topologies],
            "missing": [entry.to_json() for entry in self.missing],
            "production": [entry.to_json() for entry in self.production],
            "results": [entry.to_json() for entry in self.results],
        }


def _by_sqrts(values: tuple[float, float]) -> dict[str, float]:
    return {str(sqrts): value for sqrts, value in zip(SQRTS_TEV, values, strict=True)}
