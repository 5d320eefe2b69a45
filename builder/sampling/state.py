"""One point of the model space that the sampler moves in, with every coordinate explicit.

Walk: prior, moves ──▶ **state** ──▶ protomodel ──▶ likelihood. What a `ProtoModel` holds implicitly is explicit here:

- masses [GeV] by positive PDG id, X_Z^1 among them;
- decays: per particle the branching ratio of each open *group* of channels (`DecayChannel.group`; the members of a group share it
  equally). A group that is not listed is closed; the values of a particle sum to one;
- kappa_class and kappas: every process (sign class of production pairs with a reference cross section) is off, class -1, or
  belongs to one class of processes with one common κ. Classes are numbered in the order of their first process.

Coordinates of the densities: masses in GeV; of k open groups the first k - 1 branching ratios; ln κ per class.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from builder.decays import CHANNELS, ChannelTable, Daughters, is_open
from builder.protomodel import ProtoModel
from database.errors import ModelFormatError
from inference.cross_sections import production_pairs
from inference.spectrum import LBP_PID, PidPair

OFF = -1
"""Class of a process that is switched off."""


@dataclass(frozen=True, slots=True)
class SamplerState:
    """Content, masses, decays and multipliers of one model; see the module for the conventions. Treated as immutable.

    Attributes:
        masses: mass [GeV] per positive PDG id, in increasing order of the ids.
        decays: branching ratio of each open group per positive PDG id (X_Z^1 has none), in alphabetical order.
        kappa_class: class per process, in increasing order of the processes; `OFF` for those without production.
        kappas: κ per class.
    """

    masses: Mapping[int, float]
    decays: Mapping[int, Mapping[str, float]]
    kappa_class: Mapping[PidPair, int]
    kappas: tuple[float, ...]

    @property
    def content(self) -> tuple[int, ...]:
        """Return the positive PDG ids of the particles, X_Z^1 included, increasing."""
        return tuple(self.masses)

    @property
    def others(self) -> tuple[int, ...]:
        """Return the particles without X_Z^1, increasing."""
        return tuple(pid for pid in self.masses if pid != LBP_PID)

    def class_members(self) -> tuple[tuple[PidPair, ...], ...]:
        """Return the processes of each class."""
        members: list[list[PidPair]] = [[] for _ in self.kappas]
        for process, number in self.kappa_class.items():
            if number != OFF:
                members[number].append(process)
        return tuple(tuple(some) for some in members)

    def to_protomodel(self, table: ChannelTable = CHANNELS) -> ProtoModel:
        """Return the model; κ is listed for every pair that has a reference, 0 where the process is off.

        Args:
            table: channels that exist (`builder.pool`).
        """
        decays: dict[int, dict[Daughters, float]] = {}
        for pid, groups in self.decays.items():
            members = group_members(pid, self.masses, table)
            decays[pid] = {daughters: br / len(members[group]) for group, br in groups.items() for daughters in members[group]}
        variants = processes_of(self.content)
        ssms = {}
        for process, number in self.kappa_class.items():
            ssms.update(dict.fromkeys(variants[process], 0.0 if number == OFF else self.kappas[number]))
        return ProtoModel(self.masses, decays, ssms)

    def to_json(self) -> dict[str, Any]:
        """Return the state as a JSON object; floats are exact."""
        return {
            "masses": {str(pid): mass for pid, mass in self.masses.items()},
            "decays": {str(pid): dict(groups) for pid, groups in self.decays.items()},
            "kappa_class": [[*process, number] for process, number in self.kappa_class.items()],
            "kappas": list(self.kappas),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> SamplerState:
        """Return the state of a JSON object.

        Raises:
            ModelFormatError: a field is missing or not valid.
        """
        try:
            return cls(
                masses={int(pid): float(mass) for pid, mass in document["masses"].items()},
                decays={int(pid): {str(g): float(br) for g, br in groups.items()} for pid, groups in document["decays"].items()},
                kappa_class={(int(a), int(b)): int(number) for a, b, number in document["kappa_class"]},
                kappas=tuple(float(kappa) for kappa in document["kappas"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ModelFormatError(f"sampler state: {type(error).__name__} {error}.") from error


def build_state(
    masses: Mapping[int, float],
    decays: Mapping[int, Mapping[str, float]],
    kappa_class: Mapping[PidPair, int],
    kappas: tuple[float, ...],
) -> SamplerState:
    """Return the state in canonical order: particles, groups and processes sorted, classes renumbered, empty ones gone."""
    numbers: dict[int, int] = {}
    classes: dict[PidPair, int] = {}
    for process in sorted(kappa_class):
        number = kappa_class[process]
        classes[process] = OFF if number == OFF else numbers.setdefault(number, len(numbers))
    return SamplerState(
        masses={pid: masses[pid] for pid in sorted(masses)},
        decays={pid: {group: decays[pid][group] for group in sorted(decays[pid])} for pid in sorted(decays)},
        kappa_class=classes,
        kappas=tuple(kappas[number] for number in numbers),
    )


def group_members(pid: int, masses: Mapping[int, float], table: ChannelTable = CHANNELS) -> dict[str, tuple[Daughters, ...]]:
    """Return the channels that share a branching ratio, per group that the masses [GeV] make available."""
    groups: dict[str, tuple[Daughters, ...]] = {}
    for channel in table.get(pid, ()):
        if is_open(channel, masses):
            groups[channel.group] = (*groups.get(channel.group, ()), channel.daughters)
    return groups


def available_groups(pid: int, masses: Mapping[int, float], table: ChannelTable = CHANNELS) -> tuple[str, ...]:
    """Return the groups of channels that a particle can have at these masses [GeV], in the order of the pool."""
    return tuple(dict.fromkeys(channel.group for channel in table.get(pid, ()) if is_open(channel, masses)))


@lru_cache(maxsize=4096)
def processes_of(content: tuple[int, ...]) -> dict[PidPair, tuple[PidPair, ...]]:
    """Return the production pairs with a reference cross section per process, the sorted pair of positive PDG ids.

    Examples:
        >>> processes_of((1000022, 1000024))[1000022, 1000024]
        ((-1000024, 1000022), (1000022, 1000024))
    """
    classes: dict[PidPair, list[PidPair]] = {}
    for first, second in production_pairs(content):
        low, high = sorted((abs(first), abs(second)))
        classes.setdefault((low, high), []).append((first, second))
    return {process: tuple(classes[process]) for process in sorted(classes)}


def state_from_protomodel(protomodel: ProtoModel, table: ChannelTable = CHANNELS) -> SamplerState:
    """Return the state of a model; processes with exactly the same κ are tied, those with κ = 0 are off.

    Args:
        protomodel: prompt, with decays that the pool knows and that are open, without explicit cross sections.
        table: channels that exist (`builder.pool`).

    Raises:
        ModelFormatError: the model has something that the sampler has no coordinate for.
    """
    if protomodel.explicit_xsecs_fb is not None or protomodel.widths:
        raise ModelFormatError("sampler state: models with explicit cross sections or finite widths have no place in the sampled space.")
    masses = dict(protomodel.masses)
    decays: dict[int, dict[str, float]] = {}
    for pid in masses:
        if pid == LBP_PID:
            continue
        members = group_members(pid, masses, table)
        found = protomodel.branching_ratios.get(pid, {})
        if not found or not set(found) <= {daughters for some in members.values() for daughters in some}:
            raise ModelFormatError(f"branching_ratios[{pid}]: the sampled space has open channels of the pool only, at least one.")
        totals = {group: sum(found.get(daughters, 0.0) for daughters in some) for group, some in members.items()}
        total = sum(totals.values())
        decays[pid] = {group: br / total for group, br in totals.items() if br > 0.0}
    values: dict[float, int] = {}
    classes: dict[PidPair, int] = {}
    for process, pairs in processes_of(tuple(masses)).items():
        kappas = {protomodel.ssm(pair) for pair in pairs}
        if len(kappas) > 1:
            raise ModelFormatError(f"ssms: the sign variants of {process} have different values; the sampled space has one per process.")
        kappa = kappas.pop()
        classes[process] = OFF if kappa == 0.0 else values.setdefault(kappa, len(values))
    return build_state(masses, decays, classes, tuple(values))
