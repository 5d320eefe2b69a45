"""Models of the reference project: `.dict` files, Python literals with one model or a list (`hiscores.dict`, `pmodel.dict`).

Keys `masses`, `decays`, `ssmultipliers` and, in newer files, "xsecs[fb]" {((pid, pid), √s): fb} with κ applied. Frozen
particles (1e6 GeV) are dropped with everything that refers to them; provenance (K, TL, step, …) is not read, but may be nan.
What differs from our conventions is translated: decay keys may lack signs and, in the oldest files, the second quark of
a gluino's three-body decay; sneutrinos have no antiparticle there, so that X_ν X_ν stands for X_ν anti-X_ν. Where
cross sections are given they are kept as they are, defects of the old reference tables included; κ too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from builder.decays import CHANNELS, Daughters
from builder.model_checks import canonical_pair, check_masses
from builder.model_io.common import fold_channels, read_number, unfrozen_masses
from builder.model_io.literals import parse_literal
from builder.particles import SM_PIDS, is_bsm
from builder.protomodel import ProtoModel
from database.errors import ModelFormatError
from inference.cross_sections import SQRTS_TEV
from inference.spectrum import PidPair

_SLEPTONS = (1000011, 1000013, 1000015)
_GLUINO = 1000021
_NEUTRALINOS = (1000022, 1000023, 1000025)
_CHARGINOS = (1000024, 1000037)


def _list_aliases() -> dict[tuple[int, Daughters], Daughters]:
    """Return our key for every (mother, sorted unsigned daughters) a file may use."""
    aliases = {
        (mother, tuple(sorted(map(abs, channel.daughters)))): channel.daughters
        for mother, channels in CHANNELS.items()
        for channel in channels
    }
    for z in _NEUTRALINOS:
        for quark in (1, 4, 5, 6):
            aliases[_GLUINO, (quark, z)] = (-quark, quark, z)
    for w in _CHARGINOS:
        for down, up in ((1, 2), (3, 4), (5, 6)):
            aliases[_GLUINO, (down, w)] = aliases[_GLUINO, (up, w)] = (-up, down, w)
    return aliases


_ALIASES = _list_aliases()


def parse_legacy_models(text: str) -> list[ProtoModel]:
    """Return the protomodels of a `.dict` file.

    Raises:
        ModelFormatError: the text is not a literal, or a field is missing or not valid.
    """
    content = parse_literal(text)
    entries = [content] if isinstance(content, dict) else content
    if not isinstance(entries, (list, tuple)) or not all(isinstance(entry, dict) for entry in entries):
        raise ModelFormatError("expected a model (dict) or a list of models.")
    models = []
    for index, entry in enumerate(entries):
        try:
            models.append(_parse_entry(entry))
        except ModelFormatError as error:
            raise ModelFormatError(f"model {index + 1}: {error}" if len(entries) > 1 else str(error)) from error
    return models


def _parse_entry(entry: Mapping[str, Any]) -> ProtoModel:
    if "masses" not in entry:
        raise ModelFormatError("masses: the field is missing.")
    given = {_pid(pid, "masses"): read_number(mass, f"masses[{pid}]") for pid, mass in _dict(entry["masses"], "masses").items()}
    masses = check_masses(unfrozen_masses(given, "masses"))
    branching_ratios = {}
    for pid, channels in _dict(entry.get("decays", {}), "decays").items():
        mother, field = _pid(pid, "decays"), f"decays[{pid}]"
        if mother in masses:
            branching_ratios[mother] = _parse_channels(mother, _dict(channels, field), masses, field)
    ssms = _parse_pairs(_dict(entry.get("ssmultipliers", {}), "ssmultipliers"), masses, "ssmultipliers")
    if not entry.get("xsecs[fb]"):
        return ProtoModel(masses, branching_ratios, ssms)
    by_sqrts: dict[int, dict[Any, Any]] = {sqrts_tev: {} for sqrts_tev in SQRTS_TEV}
    for key, xsec in _dict(entry["xsecs[fb]"], "xsecs[fb]").items():
        if not isinstance(key, tuple) or len(key) != 2 or key[1] not in by_sqrts:
            raise ModelFormatError(f"xsecs[fb]: {key!r} is not ((pid, pid), 8 or 13).")
        by_sqrts[int(key[1])][key[0]] = xsec
    explicit = {sqrts: _parse_pairs(pairs, masses, "xsecs[fb]") for sqrts, pairs in by_sqrts.items()}
    return ProtoModel(masses, branching_ratios, ssms, explicit)


def _parse_channels(mother: int, channels: Mapping[Any, Any], masses: Mapping[int, float], field: str) -> dict[Daughters, float]:
    listed: dict[Daughters, float] = {}
    for key, value in channels.items():
        daughters = tuple(_pid(pid, field) for pid in (key if isinstance(key, tuple) else (key,)))
        br = read_number(value, f"{field}[{key}]")
        if br == 0.0 or any(is_bsm(pid) and abs(pid) not in masses for pid in daughters):
            continue
        known = _ALIASES.get((mother, tuple(sorted(map(abs, daughters)))), daughters)
        if any(not is_bsm(pid) and abs(pid) not in SM_PIDS for pid in known):
            raise ModelFormatError(f"{field}: {key!r} is not a decay of the pool.")
        listed[known] = listed.get(known, 0.0) + br
    return fold_channels(mother, listed, field)


def _parse_pairs(values: Mapping[Any, Any], masses: Mapping[int, float], field: str) -> dict[PidPair, float]:
    """Return numbers per pair; pairs with frozen particles are dropped, sneutrino signs set."""
    parsed: dict[PidPair, float] = {}
    is_translated: dict[PidPair, bool] = {}
    for key, value in values.items():
        if not isinstance(key, tuple) or len(key) != 2:
            raise ModelFormatError(f"{field}: {key!r} is not a pair of PDG ids.")
        pids = (_pid(key[0], field), _pid(key[1], field))
        if abs(pids[0]) not in masses or abs(pids[1]) not in masses:
            continue
        pair = canonical_pair(pids, field)
        ours = _with_sneutrino_signs(pair)
        if ours not in parsed or is_translated[ours]:
            parsed[ours], is_translated[ours] = read_number(value, f"{field}[{key}]"), ours != pair
    return parsed


def _with_sneutrino_signs(pair: PidPair) -> PidPair:
    """Return the pair with the sign a sneutrino has in pair and in slepton-sneutrino production."""
    first, second = sorted(pair, key=abs)
    for slepton in _SLEPTONS:
        sneutrino = slepton + 1
        if first == second == sneutrino:
            return -sneutrino, sneutrino
        if abs(first) == slepton and abs(second) == sneutrino:
            return canonical_pair((first, -sneutrino if first > 0 else sneutrino))
    return pair


def _dict(value: object, field: str) -> Mapping[Any, Any]:
    if not isinstance(value, dict):
        raise ModelFormatError(f"{field}: expected a dict.")
    return value


def _pid(value: object, field: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ModelFormatError(f"{field}: {value!r} is not a PDG id.")
    return value
