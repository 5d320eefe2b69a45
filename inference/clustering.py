"""Clusters of topologies that one upper-limit map cannot tell apart.

An upper limit constrains the summed cross section of topologies with (nearly) the same limit (arXiv:1312.4175 §4.4,
arXiv:2306.17676): topologies whose limits differ by less than `MAX_DISTANCE` and whose average still lies that close to each of
them are added up; the limit is then read off at the σ-weighted average masses.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from inference.lifetime import NodeWidth, seen_fraction
from inference.settings import Conventions

MAX_DISTANCE = 0.2
"""Largest relative distance 2|a-b|/(a+b) of limits within one cluster."""

Coordinates = tuple[float, ...]


class LimitHit(NamedTuple):
    """One topology in one upper-limit map.

    Attributes:
        number: the caller's number of the hit.
        weight_fb: σ·BR [fb].
        limit_fb: observed limit at the topology's own masses [fb].
        coordinates: masses [GeV] and widths [GeV] in the order of the map's axes.
        masses: masses and widths of all its BSM nodes, to recognise degenerate topologies.
        lifetime_factor: fraction of its decays the search sees; 1 for prompt topologies.
        widths: the states behind that fraction, in the order of the published diagram; empty for prompt topologies.
    """

    number: int
    weight_fb: float
    limit_fb: float
    coordinates: Coordinates
    masses: tuple[float, ...]
    lifetime_factor: float = 1.0
    widths: tuple[NodeWidth, ...] = ()


class Cluster(NamedTuple):
    """Topologies added up, with the coordinates, the limit and the lifetime factor of their average."""

    hits: tuple[LimitHit, ...]
    coordinates: Coordinates
    limit_fb: float
    lifetime_factor: float = 1.0

    @property
    def weight_fb(self) -> float:
        """Summed σ·BR [fb]."""
        return sum(hit.weight_fb for hit in self.hits)


def distance(first: float, second: float) -> float:
    """Relative distance of two limits; 0 if both vanish.

    Examples:
        >>> distance(9.0, 11.0)
        0.2
    """
    return 0.0 if first + second == 0.0 else 2.0 * abs(first - second) / (first + second)


def _round_to_five_digits(value: float) -> float:
    return value if value == 0.0 else round(value, 4 - math.floor(math.log10(abs(value))))


def average_coordinates(hits: Sequence[LimitHit]) -> Coordinates:
    """σ-weighted mean masses and widths, rounded to five significant digits."""
    total = sum(hit.weight_fb for hit in hits)
    return tuple(
        _round_to_five_digits(sum(hit.coordinates[i] * hit.weight_fb for hit in hits) / total) for i in range(len(hits[0].coordinates))
    )


def mean_lifetime_factor(hits: Sequence[LimitHit]) -> float:
    """σ-weighted mean fraction of decays seen; exactly 1 for prompt topologies."""
    if all(hit.lifetime_factor == 1.0 for hit in hits):
        return 1.0
    return sum(hit.lifetime_factor * hit.weight_fb for hit in hits) / sum(hit.weight_fb for hit in hits)


def lifetime_factor_at_average(hits: Sequence[LimitHit], lengths_m: tuple[float, float]) -> float:
    """Fraction of decays seen at the σ-weighted mean widths, rounded to five significant digits (SModelS 3.0.3)."""
    total = sum(hit.weight_fb for hit in hits)
    averages = [
        NodeWidth(
            _round_to_five_digits(sum(node.width * hit.weight_fb for node, hit in zip(nodes, hits, strict=True)) / total), nodes[0].is_leaf
        )
        for nodes in zip(*(hit.widths for hit in hits), strict=True)
    ]
    return seen_fraction(averages, *lengths_m)


def cluster_hits(
    hits: Sequence[LimitHit],
    limit_at: Callable[[Coordinates], float],
    conventions: Conventions,
    lengths_m: tuple[float, float] = (math.nan, math.nan),
) -> list[Cluster]:
    """Group the hits of one map into clusters, largest summed cross section first.

    Args:
        hits: topologies inside the map.
        limit_at: observed prompt limit [fb] at given coordinates; nan outside the map.
        conventions: with SMODELS, distances to clusters of larger index are not recomputed after a merger, rejected mergers
            block rows only, and long-lived topologies are seen as their mean widths are, as SModelS 3.0.3 does; the default is the
            mean of what is seen of each, which is exact.
        lengths_m: effective lengths of the detector [m], nan for the defaults.

    Returns:
        Clusters; every hit is in exactly one.
    """
    is_averaged = conventions.has(Conventions.MEAN_LIFETIMES) and all(hit.widths for hit in hits)

    def factor_of(members: Sequence[LimitHit]) -> float:
        return lifetime_factor_at_average(members, lengths_m) if is_averaged else mean_lifetime_factor(members)

    clusters = _degenerate_groups(hits)
    size = len(clusters)
    distances = [[distance(clusters[i].limit_fb, clusters[j].limit_fb) if i != j else math.inf for j in range(size)] for i in range(size)]
    while len(clusters) > 1:
        nearest = min(min(row) for row in distances)
        if not nearest < MAX_DISTANCE:
            break
        i, j = next((i, j) for i, row in enumerate(distances) for j, value in enumerate(row) if value == nearest)
        merged = _merge((*clusters[i].hits, *clusters[j].hits), limit_at, factor_of)
        if merged is None:
            _block(distances, i, j, conventions)
            continue
        low, high = min(i, j), max(i, j)
        clusters[low] = merged
        del clusters[high], distances[high]
        for row in distances:
            del row[high]
        last = low if conventions.has(Conventions.CLUSTER_DISTANCES) else len(clusters)
        for k in range(last):
            if k != low:
                distances[low][k] = distances[k][low] = distance(clusters[k].limit_fb, merged.limit_fb)
    return sorted(clusters, key=lambda cluster: (-cluster.weight_fb, -len(cluster.hits)))


def _block(distances: list[list[float]], i: int, j: int, conventions: Conventions) -> None:
    """A merger of i and j was rejected: do not try it again."""
    if conventions.has(Conventions.REJECTED_MERGERS):
        for row in (i, j):
            distances[row] = [math.inf if k == row else 2.0 * MAX_DISTANCE for k in range(len(distances))]
    else:
        distances[i][j] = distances[j][i] = 2.0 * MAX_DISTANCE


def _degenerate_groups(hits: Sequence[LimitHit]) -> list[Cluster]:
    groups: dict[tuple[float, tuple[tuple[float, float], ...]], list[LimitHit]] = {}
    for hit in sorted(hits, key=lambda hit: (hit.limit_fb, hit.number)):
        states = tuple(sorted(zip(hit.masses[::2], hit.masses[1::2], strict=True)))  # whatever the order of the branches
        groups.setdefault((hit.limit_fb, states), []).append(hit)
    return [Cluster(tuple(group), group[0].coordinates, group[0].limit_fb, group[0].lifetime_factor) for group in groups.values()]


def _merge(
    hits: tuple[LimitHit, ...], limit_at: Callable[[Coordinates], float], factor_of: Callable[[Sequence[LimitHit]], float]
) -> Cluster | None:
    coordinates, factor = average_coordinates(hits), factor_of(hits)
    limit = limit_at(coordinates) / factor if factor > 0.0 else math.nan
    if math.isnan(limit) or any(distance(limit, hit.limit_fb) > MAX_DISTANCE for hit in hits):
        return None
    return Cluster(hits, coordinates, limit, factor)
