"""Reference cross sections of pair production: σ = κ · σ_ref, and this module is σ_ref.

Walk: protomodel ──▶ **cross sections** ──▶ spectrum ──▶ predictions. The numbers are the published ones of the
LHC SUSY cross section working group and of CMS (sources: `cross_sections.json`, one per table). Only seven
processes are published; the others borrow a table, and κ makes up for the rest:

| pair | table | share |
|---|---|---|
| X_g X_g | gluino pair | 1 |
| X_q anti-X_q, q = d, u, s, c | squark-antisquark, ten degenerate squarks | 1/10: one X_q is one squark |
| X_b anti-X_b, X_t anti-X_t | stop pair | 1 |
| X_q X_g, anti-X_q X_g, q = d, u, s, c | squark-antisquark, ten squarks (stand-in) | 1/2 per charge |
| X_b X_g, X_t X_g and conjugates | squark-antisquark, ten squarks (stand-in) | 1/20 per charge |
| X_l anti-X_l | slepton pair of one generation | left share (0.74 at 50 GeV to 0.71 at 1 TeV) |
| X_ν anti-X_ν | slepton pair (stand-in) | left share |
| X_l X_ν of one generation, both charges | slepton pair (stand-in) | 1 per charge |
| X_W⁺ X_W⁻, also mixed | wino-like chargino pair | 1 |
| X_W^± X_Z | wino-like chargino-neutralino, own table per charge | 1 |
| X_Z X_Z | wino-like chargino pair (stand-in) | 1 |

A single X_l is the partner of the left-handed lepton (it decays to ν X_W and is produced with X_ν), hence the left
share. Associated X_q X_g production at equal masses is about six times the ten-squark table, summed over ten squarks
and both charges; a valence flavour takes about an eighth of it, hence the undivided table for both charges of one X_q.
No reference: X_Z^1 X_Z^1, X_Z^1 X_Z^3, X_Z^1 X_W^2, same-sign X_q, and different members of a family.

The tables are read at the mean mass of the pair and interpolated linearly in log σ. Below the first point log σ goes on
linearly in log mass, down to half the first mass, and is constant below; above the last point it goes on linearly in
mass with the slope of the last 100 GeV, up to a mean mass of `MAX_MEAN_MASS`, above which there is no reference.
"""

from __future__ import annotations

import json
import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from inference.spectrum import PidPair

SQRTS_TEV: tuple[int, ...] = (8, 13)
"""Centre-of-mass energies with reference cross sections [TeV]."""

MAX_MEAN_MASS = 3000.0
"""Largest mean mass of a pair with a reference [GeV]; protomodel masses end at 2400 GeV."""

_EXTRAPOLATION_BASE = 100.0
"""Length of the last stretch of a table that fixes the slope above it [GeV]: single points scatter."""

_LIGHT_SQUARKS = (1000001, 1000002, 1000003, 1000004)
_HEAVY_SQUARKS = (1000005, 1000006, 2000005, 2000006)
_SLEPTONS = (1000011, 1000013, 1000015)
_GLUINO = 1000021
_NEUTRALINOS = (1000022, 1000023, 1000025)
_CHARGINOS = (1000024, 1000037)
_NEUTRALINO_PAIRS = ((1000022, 1000023), (1000023, 1000023), (1000023, 1000025), (1000025, 1000025))
_NO_CHARGINO_NEUTRALINO = (1000022, 1000037)


class XsecTable(NamedTuple):
    """One published table, ready for interpolation.

    Attributes:
        process: e.g. "stop_stop".
        sqrts_tev: centre-of-mass energy [TeV].
        mass_gev: published masses [GeV], increasing.
        xsec_fb: published cross sections [fb].
        source: address of the publication.
        order: order of the calculation.
        nodes: masses [GeV] of the interpolation, extrapolation nodes included.
        log_xsec: ln(σ/fb) at the nodes.
    """

    process: str
    sqrts_tev: int
    mass_gev: tuple[float, ...]
    xsec_fb: tuple[float, ...]
    source: str
    order: str
    nodes: tuple[float, ...]
    log_xsec: tuple[float, ...]

    def log_xsec_at(self, mass: float) -> float:
        """Return ln(σ/fb) at a mass [GeV], `-inf` above `MAX_MEAN_MASS`."""
        nodes = self.nodes
        if mass >= nodes[-1]:
            return self.log_xsec[-1] if mass == nodes[-1] else -math.inf
        if mass <= nodes[0]:
            return self.log_xsec[0]
        index = bisect_right(nodes, mass) - 1
        low, high = nodes[index], nodes[index + 1]
        below, above = self.log_xsec[index], self.log_xsec[index + 1]
        return below + (above - below) * (mass - low) / (high - low)

    def log_slope_at(self, mass: float) -> float:
        """Return d ln σ/dm [1/GeV] of the interpolation: at a node to the right of it, 0 where it is constant or ends."""
        nodes = self.nodes
        if mass < nodes[0] or mass >= nodes[-1]:
            return 0.0
        index = bisect_right(nodes, mass) - 1
        return (self.log_xsec[index + 1] - self.log_xsec[index]) / (nodes[index + 1] - nodes[index])


class _Share(NamedTuple):
    """Which table a pair reads, and which part of it."""

    process: str
    factor: float


@lru_cache(maxsize=1)
def load_xsec_tables() -> Mapping[tuple[str, int], XsecTable]:
    """Return all tables per (process, √s [TeV]), the left share of the slepton pair as "slepton_pair_L" among them."""
    document = json.loads(Path(__file__).with_name("cross_sections.json").read_text(encoding="utf-8"))
    tables: dict[tuple[str, int], XsecTable] = {}
    for entry in document["tables"]:
        table = _build_table(
            entry["process"], entry["sqrts_tev"], entry["mass_gev"], [1000.0 * x for x in entry["xsec_pb"]], entry["source"], entry["order"]
        )
        tables[table.process, table.sqrts_tev] = table
    share = document["left_share_of_slepton_pair"]
    for sqrts_tev in SQRTS_TEV:
        whole = tables["slepton_pair_LR", sqrts_tev]
        left = [x * _interpolate(m, share["mass_gev"], share["share"]) for m, x in zip(whole.mass_gev, whole.xsec_fb, strict=True)]
        tables["slepton_pair_L", sqrts_tev] = _build_table("slepton_pair_L", sqrts_tev, whole.mass_gev, left, whole.source, whole.order)
    return tables


def _build_table(process: str, sqrts_tev: int, mass_gev: Iterable[float], xsec_fb: Iterable[float], source: str, order: str) -> XsecTable:
    masses = tuple(float(m) for m in mass_gev)
    xsecs = tuple(float(x) for x in xsec_fb)
    nodes, logs = list(masses), [math.log(x) for x in xsecs]
    power = (logs[1] - logs[0]) / math.log(nodes[1] / nodes[0])
    first_mass, first_log = nodes[0], logs[0]
    lower = [first_mass * (0.5 + 0.025 * step) for step in range(20)]
    slope = (logs[-1] - _interpolate(nodes[-1] - _EXTRAPOLATION_BASE, nodes, logs)) / _EXTRAPOLATION_BASE
    if nodes[-1] < MAX_MEAN_MASS:
        logs.append(logs[-1] + slope * (MAX_MEAN_MASS - nodes[-1]))
        nodes.append(MAX_MEAN_MASS)
    return XsecTable(
        process=process,
        sqrts_tev=sqrts_tev,
        mass_gev=masses,
        xsec_fb=xsecs,
        source=source,
        order=order,
        nodes=(*lower, *nodes),
        log_xsec=(*(first_log + power * math.log(m / first_mass) for m in lower), *logs),
    )


def _interpolate(x: float, nodes: list[float], values: list[float]) -> float:
    """Return the piecewise linear function at x, constant outside."""
    if x <= nodes[0]:
        return values[0]
    if x >= nodes[-1]:
        return values[-1]
    index = bisect_right(nodes, x) - 1
    return values[index] + (values[index + 1] - values[index]) * (x - nodes[index]) / (nodes[index + 1] - nodes[index])


def _list_shares() -> dict[PidPair, _Share]:
    """Return table and share of every pair that has a reference."""
    shares: dict[PidPair, _Share] = {(_GLUINO, _GLUINO): _Share("gluino_gluino", 1.0)}

    def put(a: int, b: int, process: str, factor: float = 1.0) -> None:
        shares[(a, b) if a <= b else (b, a)] = _Share(process, factor)

    for pid in _LIGHT_SQUARKS:
        put(-pid, pid, "squark_antisquark_10fold", 0.1)
        put(-pid, _GLUINO, "squark_antisquark_10fold", 0.5)
        put(pid, _GLUINO, "squark_antisquark_10fold", 0.5)
    for pid in _HEAVY_SQUARKS:
        put(-pid, pid, "stop_stop")
        put(-pid, _GLUINO, "squark_antisquark_10fold", 0.05)
        put(pid, _GLUINO, "squark_antisquark_10fold", 0.05)
    for pid in _SLEPTONS:
        sneutrino = pid + 1
        put(-pid, pid, "slepton_pair_L")
        put(-sneutrino, sneutrino, "slepton_pair_L")
        put(-pid, sneutrino, "slepton_pair_LR")
        put(pid, -sneutrino, "slepton_pair_LR")
    for chargino in _CHARGINOS:
        for other in _CHARGINOS:
            put(-chargino, other, "wino_C1C1")
        for neutralino in _NEUTRALINOS:
            if (neutralino, chargino) != _NO_CHARGINO_NEUTRALINO:
                put(chargino, neutralino, "wino_C1pN2")
                put(-chargino, neutralino, "wino_C1mN2")
    for pair in _NEUTRALINO_PAIRS:
        put(*pair, "wino_C1C1")
    return shares


_SHARES: dict[PidPair, _Share] = _list_shares()

_STANDARD_SHARES: Mapping[PidPair, _Share] = dict(_SHARES)


def register_like(pid: int, like: int) -> None:
    """Give a new particle the reference cross sections of another one: every pair of that with it in its place.

    Args:
        pid: positive PDG id of the new particle.
        like: positive PDG id of the one it resembles. Pairs of the two with each other have no reference.
    """

    def renamed(member: int) -> int:
        return (pid if member > 0 else -pid) if abs(member) == like else member

    for pair, share in _STANDARD_SHARES.items():
        if like in (abs(pair[0]), abs(pair[1])):
            first, second = sorted(map(renamed, pair))
            _SHARES[first, second] = share
    _pairs_of.cache_clear()
    _xsec_fb.cache_clear()


@lru_cache(maxsize=4096)
def _pairs_of(pids: frozenset[int]) -> tuple[PidPair, ...]:
    return tuple(sorted(pair for pair in _SHARES if abs(pair[0]) in pids and abs(pair[1]) in pids))


def production_pairs(pids: Iterable[int]) -> tuple[PidPair, ...]:
    """Return the pairs of the given particles that have a reference cross section.

    Args:
        pids: positive PDG ids of the particles of a model.

    Returns:
        Sorted pairs of signed PDG ids, in increasing order.

    Examples:
        >>> production_pairs([1000022, 1000006])
        ((-1000006, 1000006),)
        >>> production_pairs([1000022, 1000024])
        ((-1000024, 1000022), (-1000024, 1000024), (1000022, 1000024))
    """
    return _pairs_of(frozenset(pids))


@lru_cache(maxsize=1 << 16)
def _xsec_fb(pair: PidPair, mean_mass: float, sqrts_tev: int) -> float | None:
    share = _SHARES.get(pair)
    if share is None:
        return None
    table = load_xsec_tables().get((share.process, sqrts_tev))
    if table is None:
        return None
    log_xsec = table.log_xsec_at(mean_mass)
    return None if log_xsec == -math.inf else share.factor * math.exp(log_xsec)


def reference_xsec_fb(pair: PidPair, masses: Mapping[int, float], sqrts_tev: int) -> float | None:
    """Return the reference cross section [fb] of a pair, None where there is none.

    Args:
        pair: sorted pair of signed PDG ids.
        masses: mass [GeV] per positive PDG id; both members must be listed to have a cross section.
        sqrts_tev: centre-of-mass energy [TeV], 8 or 13.

    Examples:
        A stop of 1 TeV: 6.83 fb at 13 TeV (NNLO(approx)+NNLL).

        >>> round(reference_xsec_fb((-1000006, 1000006), {1000006: 1000.0}, 13), 2)
        6.83
    """
    mass_a, mass_b = masses.get(abs(pair[0])), masses.get(abs(pair[1]))
    if mass_a is None or mass_b is None:
        return None
    return _xsec_fb(pair, 0.5 * (mass_a + mass_b), sqrts_tev)


def reference_log_slope(pair: PidPair, masses: Mapping[int, float], sqrts_tev: int) -> float:
    """Return d ln σ_ref/d m̄ [1/GeV], m̄ the mean mass of the pair; 0 for pairs without reference.

    Args:
        pair: sorted pair of signed PDG ids.
        masses: mass [GeV] per positive PDG id.
        sqrts_tev: centre-of-mass energy [TeV], 8 or 13.

    Examples:
        The stop cross section falls by about 0.7 % per GeV at 1 TeV:

        >>> round(reference_log_slope((-1000006, 1000006), {1000006: 1000.0}, 13), 4)
        -0.0072
    """
    share = _SHARES.get(pair)
    mass_a, mass_b = masses.get(abs(pair[0])), masses.get(abs(pair[1]))
    if share is None or mass_a is None or mass_b is None:
        return 0.0
    table = load_xsec_tables().get((share.process, sqrts_tev))
    return 0.0 if table is None else table.log_slope_at(0.5 * (mass_a + mass_b))


def reference_xsecs_fb(masses: Mapping[int, float], sqrts_tev: int) -> dict[PidPair, float]:
    """Return the reference cross sections [fb] of all pairs of a model that have one.

    Args:
        masses: mass [GeV] per positive PDG id.
        sqrts_tev: centre-of-mass energy [TeV], 8 or 13.
    """
    xsecs: dict[PidPair, float] = {}
    for pair in _pairs_of(frozenset(masses)):
        xsec = _xsec_fb(pair, 0.5 * (masses[abs(pair[0])] + masses[abs(pair[1])]), sqrts_tev)
        if xsec is not None:
            xsecs[pair] = xsec
    return xsecs
