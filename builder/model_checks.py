"""Validation of a protomodel's fields; every error is one sentence that names the field.

Walk: files, moves ──▶ **model checks** ──▶ protomodel.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from builder.decays import Daughters, canonical_daughters, find_channel
from builder.particles import MAX_UNFROZEN_MASS, POOL_PIDS, SM_PIDS, charge_thirds, is_bsm, is_known, is_self_conjugate, particle_of
from database.errors import ModelFormatError
from inference.branches import PROMPT_WIDTH_GEV, STABLE_WIDTH_GEV
from inference.spectrum import LBP_PID, PidPair

BR_SUM_TOLERANCE = 1.0e-6
"""Branching ratios of a particle may miss 1 by this much; readers normalise coarser ones before they come here."""

BranchingRatios = Mapping[int, Mapping[Daughters, float]]


def canonical_pair(pids: Iterable[int], field: str = "pair") -> PidPair:
    """Return a production pair sorted, the sign of self-conjugate particles removed.

    Examples:
        >>> canonical_pair((1000006, -1000006)), canonical_pair((-1000022, 1000023))
        ((-1000006, 1000006), (1000022, 1000023))
    """
    signed = sorted(abs(pid) if is_self_conjugate(pid) else pid for pid in pids)
    if len(signed) != 2:
        raise ModelFormatError(f"{field}: a production pair has two particles, found {len(signed)}.")
    return signed[0], signed[1]


def parse_pid(text: object, field: str) -> int:
    """Return the integer a JSON key stands for; the sentence of the error names the field."""
    try:
        return int(str(text))
    except ValueError:
        raise ModelFormatError(f"{field}: {text!r} is not a PDG id or number.") from None


def parse_pids(text: str, field: str) -> tuple[int, ...]:
    """Return the PDG ids of a JSON key such as "6,1000022"."""
    return tuple(parse_pid(part.strip(), field) for part in text.split(","))


def parse_pairs(document: object, field: str) -> dict[PidPair, float]:
    """Return numbers per production pair of a JSON object such as {"-1000006,1000006": 1.2}."""
    parsed: dict[PidPair, float] = {}
    for key, value in json_object(document, field).items():
        pair = canonical_pair(parse_pids(key, field), f"{field}[{key}]")
        if pair in parsed:
            raise ModelFormatError(f"{field}[{key}]: the pair is given twice.")
        parsed[pair] = value
    return parsed


def json_object(value: object, field: str) -> Mapping[str, Any]:
    """Return the value if it is a JSON object; the sentence of the error names the field."""
    if not isinstance(value, Mapping):
        raise ModelFormatError(f"{field}: expected a JSON object.")
    return value


def join_pids(pids: Iterable[int]) -> str:
    """Return the JSON key of a channel or pair."""
    return ",".join(map(str, pids))


def _number(value: object, field: str, *, is_zero_allowed: bool) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ModelFormatError(f"{field}: expected a number, found {value!r}.")
    try:
        number = float(value)
    except OverflowError:  # an integer of hundreds of digits
        number = math.inf
    if not math.isfinite(number) or number < 0.0 or (number == 0.0 and not is_zero_allowed):
        raise ModelFormatError(f"{field}: expected a finite {'non-negative' if is_zero_allowed else 'positive'} number, found {number!r}.")
    return number


def check_masses(masses: Mapping[int, float]) -> Mapping[int, float]:
    """Return the masses [GeV] in canonical order; X_Z^1 must be there and be the lightest."""
    checked = {}
    for pid in sorted(masses):
        if not is_known(pid):
            raise ModelFormatError(f"masses: particle {pid} is not one of the {len(POOL_PIDS)} of the pool.")
        mass = _number(masses[pid], f"masses[{pid}]", is_zero_allowed=pid == LBP_PID)
        if mass >= MAX_UNFROZEN_MASS:
            raise ModelFormatError(f"masses[{pid}]: {mass:g} GeV is beyond {MAX_UNFROZEN_MASS:g} GeV; leave a frozen particle out.")
        checked[pid] = mass
    if LBP_PID not in checked:
        raise ModelFormatError(f"masses: the lightest particle, X_Z^1 ({LBP_PID}), is missing.")
    lightest = min(checked, key=lambda pid: checked[pid])
    if checked[lightest] < checked[LBP_PID]:
        raise ModelFormatError(f"masses[{lightest}]: {particle_of(lightest).name} is lighter than X_Z^1, which must be the lightest.")
    return MappingProxyType(checked)


def check_branching_ratios(branching_ratios: BranchingRatios, masses: Mapping[int, float]) -> BranchingRatios:
    """Return the branching ratios with canonical keys and order; they must add up to 1 and lead to lighter particles."""
    checked = {}
    for pid in sorted(branching_ratios):
        field = f"branching_ratios[{pid}]"
        channels = branching_ratios[pid]
        if pid not in masses:
            raise ModelFormatError(f"{field}: the particle is not in the model.")
        merged: dict[Daughters, float] = {}
        for daughters, br in channels.items():
            value = _number(br, f"{field}[{join_pids(daughters)}]", is_zero_allowed=True)
            key = canonical_daughters(pid, daughters)
            if find_channel(pid, key) is None:
                _check_channel(pid, daughters, field)
            bsm = [abs(d) for d in daughters if is_bsm(d)]
            if value == 0.0:
                continue
            if any(d not in masses for d in bsm):
                raise ModelFormatError(f"{field}[{join_pids(daughters)}]: a daughter is not in the model.")
            if sum(masses[d] for d in bsm) > masses[pid]:
                raise ModelFormatError(f"{field}[{join_pids(daughters)}]: the daughters are heavier than the mother.")
            merged[key] = merged.get(key, 0.0) + value
        if not merged:
            continue
        if pid == LBP_PID and any(is_bsm(d) for daughters in merged for d in daughters):
            raise ModelFormatError(f"{field}: the lightest particle decays to Standard Model particles only, if at all.")
        total = math.fsum(merged.values())
        if abs(total - 1.0) > BR_SUM_TOLERANCE:
            raise ModelFormatError(f"{field}: the branching ratios add up to {total:.9g}, not to 1.")
        checked[pid] = MappingProxyType({key: merged[key] for key in sorted(merged)})
    _check_no_circle(checked, masses)
    return MappingProxyType(checked)


def _check_no_circle(branching_ratios: BranchingRatios, masses: Mapping[int, float]) -> None:
    """Refuse particles of equal mass that decay into each other."""
    equal = {
        pid: {abs(d) for daughters in channels for d in daughters if is_bsm(d) and masses[abs(d)] == masses[pid]}
        for pid, channels in branching_ratios.items()
    }
    for pid in equal:
        reached, pending = set[int](), list(equal[pid])
        while pending:
            daughter = pending.pop()
            if daughter not in reached:
                reached.add(daughter)
                pending.extend(equal.get(daughter, ()))
        if pid in reached:
            raise ModelFormatError(f"branching_ratios[{pid}]: the particle decays into itself, through particles of the same mass.")


def check_widths(
    widths: Mapping[int, float], branching_ratios: BranchingRatios, masses: Mapping[int, float]
) -> tuple[BranchingRatios, Mapping[int, float]]:
    """Return the decays and the widths [GeV] in canonical form.

    Only widths of particles that decay, and decay late enough to be seen, are kept; particles that live forever lose
    their channels.

    Args:
        widths: total width [GeV] per positive PDG id.
        branching_ratios: checked branching ratios.
        masses: checked masses [GeV].
    """
    if not widths:
        return branching_ratios, MappingProxyType({})
    decays, kept = dict(branching_ratios), {}
    for pid in sorted(widths):
        if pid not in masses:
            raise ModelFormatError(f"widths[{pid}]: the particle is not in the model.")
        width = _number(widths[pid], f"widths[{pid}]", is_zero_allowed=True)
        if width < STABLE_WIDTH_GEV:
            decays.pop(pid, None)
        elif width <= PROMPT_WIDTH_GEV and pid in decays:
            kept[pid] = width
    return MappingProxyType(decays), MappingProxyType(kept)


def _check_channel(pid: int, daughters: Daughters, field: str) -> None:
    """Check a channel the pool does not list: known daughters, at most one of them BSM, charge conserved."""
    name = f"{field}[{join_pids(daughters)}]"
    unknown = [d for d in daughters if not is_bsm(d) and abs(d) not in SM_PIDS]
    if unknown:
        raise ModelFormatError(f"{name}: particle {unknown[0]} is neither in the pool nor in the Standard Model.")
    if sum(map(is_bsm, daughters)) > 1 or len(daughters) < 2:
        raise ModelFormatError(f"{name}: a decay has at most one BSM daughter, and two daughters or more.")
    if sum(map(charge_thirds, daughters)) != charge_thirds(pid):
        raise ModelFormatError(f"{name}: the decay does not conserve electric charge.")


def check_pairs(values: Mapping[PidPair, float], masses: Mapping[int, float], field: str) -> Mapping[PidPair, float]:
    """Return numbers per production pair with canonical keys and order; both particles must be in the model."""
    checked: dict[PidPair, float] = {}
    for pids, value in values.items():
        pair = canonical_pair(pids, field)
        name = f"{field}[{join_pids(pair)}]"
        if abs(pair[0]) not in masses or abs(pair[1]) not in masses:
            raise ModelFormatError(f"{name}: a particle of the pair is not in the model.")
        if pair in checked:
            raise ModelFormatError(f"{name}: the pair is given twice.")
        checked[pair] = _number(value, name, is_zero_allowed=True)
    return MappingProxyType({pair: checked[pair] for pair in sorted(checked)})
