"""How many structures there are: what turns the score's prior on parameter numbers into a normalised law of structures.

Walk: space ──▶ **counting** ──▶ prior. Three kinds of structure, with the count n that the score's prior punishes:

    contents         n = number of particles, X_Z^1 included
    channel sets     n = Σ over particles (open groups - 1)
    tied classes     n = classes + 0.1 (sign variants of the processes that are on - classes)

With weights w(n) = π(n)/π(0) of the score's prior, a single structure has probability

    per_count   w(n) / (N(n) Σ w),       per_model   w(n) / Σ N w,

N(n) being the number of structures with that count (for tied classes: with the same numbers of processes that are on and of
classes; under per_count their weights are averaged over which processes are on).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import cache, lru_cache

import numpy as np

from builder.prior_terms import MEMBER_COST
from builder.sampling.settings import Complexity

LogWeight = Callable[[float], float]
"""ln w(n) of one kind of count."""


@cache
def stirling(num_elements: int, num_classes: int) -> int:
    """Return the number of ways to tie elements into non-empty classes (Stirling numbers of the second kind).

    Examples:
        >>> [stirling(4, c) for c in range(5)]
        [0, 1, 7, 6, 1]
    """
    if num_elements == num_classes:
        return 1
    if num_classes == 0 or num_classes > num_elements:
        return 0
    return num_classes * stirling(num_elements - 1, num_classes) + stirling(num_elements - 1, num_classes - 1)


def log_law(counts: Sequence[int], log_weight: LogWeight, complexity: Complexity, offset: int = 0) -> list[float]:
    """Return ln P of a single structure per count n, -inf where there is none.

    Args:
        counts: number of structures N(n), n = 0, 1, ...
        log_weight: ln w.
        complexity: what the weights are a law of.
        offset: added to n before it is weighed.

    Examples:
        >>> [round(math.exp(p), 3) for p in log_law([1, 3], lambda n: -n * math.log(2), Complexity.PER_COUNT)]
        [0.667, 0.111]
    """
    weights = [log_weight(n + offset) for n in range(len(counts))]
    if complexity is Complexity.PER_MODEL:
        total = log_sum(math.log(c) + w for c, w in zip(counts, weights, strict=True) if c)
        return [w - total if c else -math.inf for c, w in zip(counts, weights, strict=True)]
    total = log_sum(w for c, w in zip(counts, weights, strict=True) if c)
    return [w - total - math.log(c) if c else -math.inf for c, w in zip(counts, weights, strict=True)]


def log_sum(values: Iterable[float]) -> float:
    """Return ln Σ exp(value) of some numbers, one at least."""
    numbers = list(values)
    top = max(numbers)
    return top + math.log(math.fsum(math.exp(value - top) for value in numbers))


@lru_cache(maxsize=65536)
def channel_set_counts(num_groups: tuple[int, ...]) -> tuple[int, ...]:
    """Return the number of channel sets per n = Σ (open - 1), for particles with the given numbers of available groups.

    Examples:
        >>> channel_set_counts((2,)), channel_set_counts((2, 2))
        ((2, 1), (4, 4, 1))
    """
    counts = np.array([1], dtype=object)
    for size in num_groups:
        counts = np.convolve(counts, np.array([math.comb(size, k) for k in range(1, size + 1)], dtype=object))
    return tuple(int(c) for c in counts)


def class_count(num_variants: int, num_classes: int) -> float:
    """Return n of tied classes: each class counts 1, each further sign variant that is on 0.1.

    Examples:
        >>> class_count(3, 1)
        1.2
    """
    return num_classes + MEMBER_COST * (num_variants - num_classes)


class TieLaw:
    """The law of tied classes for processes with given numbers of sign variants.

    Args:
        num_variants: sign variants per process, in the order of the processes.
        log_weight: ln w of the count.
        complexity: what the weights are a law of.

    Examples:
        >>> law = TieLaw((1,), lambda n: 0.0, Complexity.PER_MODEL)
        >>> round(math.exp(law.log_probability(1, 1, 1)), 3), round(math.exp(law.log_probability(0, 0, 0)), 3)
        (0.5, 0.5)
    """

    def __init__(self, num_variants: tuple[int, ...], log_weight: LogWeight, complexity: Complexity) -> None:
        self._num_variants = num_variants
        self._log_weight = log_weight
        self._is_per_count = complexity is Complexity.PER_COUNT
        # tables[k][on, variants]: subsets of the processes from number k on
        self._tables: list[dict[tuple[int, int], int]] = [{(0, 0): 1}]
        for variants in reversed(num_variants):
            last = self._tables[0]
            grown = dict(last)
            for (on, total), number in last.items():
                key = on + 1, total + variants
                grown[key] = grown.get(key, 0) + number
            self._tables.insert(0, grown)
        self._levels = [(on, total, classes) for on, total in sorted(self._tables[0]) for classes in (range(1, on + 1) if on else (0,))]
        self._log_levels = [
            math.log(self._tables[0][on, total]) + self._log_single(on, total, classes) + math.log(stirling(on, classes))
            for on, total, classes in self._levels
        ]
        self._log_norm = log_sum(self._log_levels)

    def _log_single(self, num_on: int, total: int, num_classes: int) -> float:
        """ln of the unnormalised weight of one structure."""
        weight = self._log_weight(class_count(total, num_classes))
        if self._is_per_count:
            weight -= math.log(math.comb(len(self._num_variants), num_on)) + math.log(stirling(num_on, num_classes))
        return weight

    def log_probability(self, num_on: int, total: int, num_classes: int) -> float:
        """Return ln P of one structure.

        Args:
            num_on: processes that are on.
            total: sign variants of these.
            num_classes: classes they are tied in.
        """
        return self._log_single(num_on, total, num_classes) - self._log_norm

    def level_probabilities(self) -> dict[tuple[int, int, int], float]:
        """Return P of all structures with (processes on, sign variants of these, classes) together."""
        return {level: math.exp(value - self._log_norm) for level, value in zip(self._levels, self._log_levels, strict=True)}

    def draw(self, rng: np.random.Generator) -> tuple[int, ...]:
        """Return the class of each process, -1 for off; classes are numbered in the order of their first process."""
        on, total, num_classes = self._levels[draw_index(rng, self._log_levels)]
        chosen = []
        for position, variants in enumerate(self._num_variants):
            with_it = self._tables[position + 1].get((on - 1, total - variants), 0)
            if rng.random() * self._tables[position].get((on, total), 0) < with_it:
                chosen.append(position)
                on, total = on - 1, total - variants
        labels = draw_classes(rng, len(chosen), num_classes)
        classes = [-1] * len(self._num_variants)
        for position, label in zip(chosen, labels, strict=True):
            classes[position] = label
        return tuple(classes)


def draw_classes(rng: np.random.Generator, num_elements: int, num_classes: int) -> tuple[int, ...]:
    """Return a uniformly drawn way to tie elements into classes, numbered by first appearance."""
    labels: list[int] = []
    remaining: list[tuple[int, int]] = []
    size, classes = num_elements, num_classes
    while size:
        is_alone = rng.random() * stirling(size, classes) < stirling(size - 1, classes - 1)
        remaining.append((size, -1 if is_alone else int(rng.integers(classes))))
        size, classes = size - 1, classes - 1 if is_alone else classes
    count = 0
    for _, joined in reversed(remaining):
        if joined < 0:
            labels.append(count)
            count += 1
        else:
            labels.append(joined)
    numbers: dict[int, int] = {}
    return tuple(numbers.setdefault(label, len(numbers)) for label in labels)


def draw_index(rng: np.random.Generator, log_weights: Sequence[float]) -> int:
    """Return an index with probability proportional to exp(log_weights)."""
    top = max(log_weights)
    weights = np.exp(np.asarray(log_weights) - top)
    return int(np.searchsorted(np.cumsum(weights), rng.random() * weights.sum(), side="right"))


def draw_channel_sizes(rng: np.random.Generator, num_groups: tuple[int, ...], total: int) -> tuple[int, ...]:
    """Return how many groups each particle has open, drawn uniformly over all channel sets with Σ (open - 1) = total."""
    sizes = []
    rest = total
    for position, available in enumerate(num_groups):
        later = channel_set_counts(num_groups[position + 1 :])
        ways = [math.comb(available, k + 1) * later[rest - k] if 0 <= rest - k < len(later) else 0 for k in range(available)]
        k = draw_index(rng, [math.log(way) if way else -math.inf for way in ways])
        sizes.append(k + 1)
        rest -= k
    return tuple(sizes)
