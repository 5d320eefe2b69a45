"""How processes join and leave tied classes, reversibly.

Processes that come into being (with a particle, or by being switched on) are assigned one after the other, in increasing order: off
with `off_probability` (only where that is an option); else a class of their own with `new_class_probability`, ln κ uniform; else one
of the classes there are by then, each with the same probability. Where there is no class yet they get one of their own. Where every κ
is 1 there is one class, and nothing to draw.

An assignment is a tuple of (process, number, ln κ): number `OFF`, or the class. Classes of the remaining processes come first, in
their canonical order, then those the assignment creates; ln κ is given where a class is created, else None.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from builder.sampling.space import Space
from builder.sampling.state import OFF, SamplerState
from inference.spectrum import PidPair

Assignment = tuple[tuple[PidPair, int, float | None], ...]


class Rest(NamedTuple):
    """Processes that stay, with their classes in canonical order.

    Attributes:
        kappa_class: class per process.
        kappas: κ per class.
    """

    kappa_class: dict[PidPair, int]
    kappas: tuple[float, ...]


def take_out(state: SamplerState, leaving: Iterable[PidPair]) -> tuple[Rest, Assignment]:
    """Return what is left without some processes, and the assignment that would bring these back."""
    gone = set(leaving)
    numbers: dict[int, int] = {}
    staying: dict[PidPair, int] = {}
    for process, number in state.kappa_class.items():
        if process not in gone:
            staying[process] = OFF if number == OFF else numbers.setdefault(number, len(numbers))
    kappas = tuple(state.kappas[number] for number in numbers)
    assignment: list[tuple[PidPair, int, float | None]] = []
    for process in sorted(gone):
        number = state.kappa_class[process]
        if number == OFF:
            assignment.append((process, OFF, None))
        elif number in numbers:
            assignment.append((process, numbers[number], None))
        else:
            numbers[number] = len(numbers)
            assignment.append((process, numbers[number], math.log(state.kappas[number])))
    return Rest(staying, kappas), tuple(assignment)


def draw_assignment(
    rng: np.random.Generator, processes: Sequence[PidPair], num_classes: int, space: Space, *, can_be_off: bool = True
) -> Assignment:
    """Return an assignment of new processes next to some classes."""
    if space.is_susy_like:
        return tuple((process, 0, None if num_classes or number else 0.0) for number, process in enumerate(sorted(processes)))
    settings, proposals = space.settings, space.settings.proposals
    low, high = math.log(settings.kappa_min), math.log(settings.kappa_max)
    assignment: list[tuple[PidPair, int, float | None]] = []
    for process in sorted(processes):
        if can_be_off and rng.random() < proposals.off_probability:
            assignment.append((process, OFF, None))
        elif num_classes == 0 or rng.random() < proposals.new_class_probability:
            assignment.append((process, num_classes, float(rng.uniform(low, high))))
            num_classes += 1
        else:
            assignment.append((process, int(rng.integers(num_classes)), None))
    return tuple(assignment)


def log_probability(assignment: Assignment, num_classes: int, space: Space, *, can_be_off: bool = True) -> tuple[float, float]:
    """Return ln of the probability of an assignment's discrete part and of the density of its values of ln κ."""
    selection = density = 0.0
    if space.is_susy_like:
        return selection, density
    settings, proposals = space.settings, space.settings.proposals
    for _, number, log_kappa in assignment:
        if number == OFF:
            selection += math.log(proposals.off_probability)
            continue
        if can_be_off:
            selection += math.log1p(-proposals.off_probability)
        if log_kappa is None:
            selection += math.log1p(-proposals.new_class_probability) - math.log(num_classes)
            continue
        if num_classes:
            selection += math.log(proposals.new_class_probability)
        density -= math.log(math.log(settings.kappa_max / settings.kappa_min))
        num_classes += 1
    return selection, density


def put_in(rest: Rest, assignment: Assignment) -> tuple[Mapping[PidPair, int], tuple[float, ...]]:
    """Return classes and κ with an assignment added."""
    classes, kappas = dict(rest.kappa_class), list(rest.kappas)
    for process, number, log_kappa in assignment:
        classes[process] = number
        if log_kappa is not None:
            kappas.append(math.exp(log_kappa))
    return classes, tuple(kappas)
