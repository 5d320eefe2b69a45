"""What the particle labels of topology maps stand for.

A Standard Model label is a set of signed PDG ids; a BSM label fixes charge, colour and spin, or leaves them free. Two
particles match if one member of the set agrees in everything that both define (SModelS manual, arXiv:2306.17676).
"""

from __future__ import annotations

from typing import Final, NamedTuple


class ParticleLabel(NamedTuple):
    """Set of particles that a label stands for.

    Attributes:
        is_sm: whether the particles belong to the Standard Model.
        pids: signed PDG ids for Standard Model labels; None where any particle is meant.
        charge_thirds: allowed electric charges in units of e/3; None where free.
        colour_dimension: dimension of the colour representation (1, 3, 8); None where free.
        spin_halves: twice the spin; None where free.
    """

    is_sm: bool
    pids: frozenset[int] | None = None
    charge_thirds: frozenset[int] | None = None
    colour_dimension: int | None = None
    spin_halves: int | None = None


def _sm(*pids: int) -> ParticleLabel:
    return ParticleLabel(True, frozenset(pids))


def _both(*pids: int) -> ParticleLabel:
    return _sm(*pids, *(-pid for pid in pids))


def _bsm(charges: tuple[int, ...] | None = None, colour: int | None = None, spin: int | None = None) -> ParticleLabel:
    return ParticleLabel(False, None, None if charges is None else frozenset(charges), colour, spin)


_LIGHT_QUARKS: Final = (1, 2, 3)
_PIONS: Final = (111, 211, -211)

PARTICLE_LABELS: Final[dict[str, ParticleLabel]] = {
    "e-": _sm(11), "e+": _sm(-11), "mu-": _sm(13), "mu+": _sm(-13), "ta-": _sm(15), "ta+": _sm(-15),
    "e": _both(11), "mu": _both(13), "ta": _both(15),
    "l-": _sm(11, 13), "l+": _sm(-11, -13), "l": _both(11, 13),
    "L-": _sm(11, 13, 15), "L+": _sm(-11, -13, -15), "L": _both(11, 13, 15),
    "nu": _both(12, 14, 16),
    "q": _both(*_LIGHT_QUARKS), "c": _both(4), "b": _both(5), "t+": _sm(6), "t-": _sm(-6), "t": _both(6),
    "g": _sm(21), "photon": _sm(22), "Z": _sm(23), "W+": _sm(24), "W-": _sm(-24), "W": _both(24), "higgs": _sm(25),
    "pion": _sm(*_PIONS),
    "jet": _sm(*_LIGHT_QUARKS, *(-pid for pid in _LIGHT_QUARKS), 4, -4, 21, *_PIONS),
    "jetb": _sm(*_LIGHT_QUARKS, *(-pid for pid in _LIGHT_QUARKS), 4, -4, 5, -5, 21),
    "anySM": ParticleLabel(True),
    "anyBSM": _bsm(),
    "MET": _bsm((0,), 1),
    "HSCP": _bsm((3, -3), 1),
    "RHadronG": _bsm((0,), 8),
    "RHadronU": _bsm((2, -2), 3), "RHadronD": _bsm((1, -1), 3), "RHadronQ": _bsm((1, -1, 2, -2), 3),
    "gluino": _bsm((0,), 8, 1),
    "C1+": _bsm((3,), 1, 1), "C1-": _bsm((-3,), 1, 1), "C1": _bsm((3, -3), 1, 1),
    "H+": _bsm((3,), 1, 0), "H-": _bsm((-3,), 1, 0), "Hpm": _bsm((3, -3), 1, 0),
    "Zprime": _bsm((0,), 1, 2),
    "H0": _bsm((0,), 1, 0),
}  # fmt: skip
"""Labels of the published maps. `jet` has no b quark; `c`, `b`, `g`, `photon`, `Z`, `higgs` do not ask for a charge."""

INCLUSIVE_LABELS: Final = frozenset({"InclusiveNode", "*anySM"})
"""Labels that stand for whole parts of a tree: any decay chain, any number of Standard Model leaves."""

STABLE_CHARGED_LABELS: Final = frozenset({"HSCP", "RHadronG", "RHadronU", "RHadronD", "RHadronQ"})
"""Long-lived charged or coloured final states."""


def is_known_label(label: str) -> bool:
    """Whether a template may use the label.

    Examples:
        >>> is_known_label("*anySM"), is_known_label("graviton")
        (True, False)
    """
    return label in INCLUSIVE_LABELS or label.removeprefix("*") in PARTICLE_LABELS
