"""Quantum numbers of the particles a topology can contain, and the labels of Standard Model daughters.

Topologies are matched to published results by isSM, spin, colour and electric charge alone. The numbers are those of the
MSSM states with the same PDG id (PDG, Review of Particle Physics, "Monte Carlo particle numbering scheme"); for a
protomodel they are nominal.
"""

from __future__ import annotations

from typing import NamedTuple

from database.errors import ModelFormatError


class QuantumNumbers(NamedTuple):
    """Quantum numbers of one BSM state.

    Attributes:
        charge3: three times the electric charge.
        colour: dimension of the colour representation.
        spin2: twice the spin; -1 where undefined (states made by invisible compression).
    """

    charge3: int
    colour: int
    spin2: int


def _build_bsm() -> dict[int, QuantumNumbers]:
    table: dict[int, QuantumNumbers] = {}
    for offset in (1000000, 2000000):
        for down in (1, 3, 5):
            table[offset + down] = QuantumNumbers(-1, 3, 0)
        for up in (2, 4, 6):
            table[offset + up] = QuantumNumbers(2, 3, 0)
        for lepton in (11, 13, 15):
            table[offset + lepton] = QuantumNumbers(-3, 1, 0)
    for neutrino in (12, 14, 16):
        table[1000000 + neutrino] = QuantumNumbers(0, 1, 0)
    table[1000021] = QuantumNumbers(0, 8, 1)
    for neutralino in (22, 23, 25, 35):
        table[1000000 + neutralino] = QuantumNumbers(0, 1, 1)
    for chargino in (24, 37):
        table[1000000 + chargino] = QuantumNumbers(3, 1, 1)
    table[35] = table[36] = QuantumNumbers(0, 1, 0)
    table[37] = QuantumNumbers(3, 1, 0)
    return table


BSM_QUANTUM_NUMBERS = _build_bsm()
"""Positive PDG id → quantum numbers (PDG numbering scheme)."""


def register_quantum_numbers(pid: int, numbers: QuantumNumbers) -> None:
    """Make a positive PDG id known; doing it again changes nothing.

    Raises:
        ModelFormatError: the id has other quantum numbers, or is that of a Standard Model particle.
    """
    if sm_label(pid) is not None:
        raise ModelFormatError(f"particle {pid} is a Standard Model particle")
    known = BSM_QUANTUM_NUMBERS.setdefault(pid, numbers)
    if known != numbers:
        raise ModelFormatError(
            f"particle {pid} has charge {known.charge3}/3, colour {known.colour} and spin {known.spin2}/2 in the PDG numbering scheme, "
            f"not {numbers.charge3}/3, {numbers.colour} and {numbers.spin2}/2"
        )


VISIBLE_NEUTRALS = frozenset({35, 36})
"""Neutral colour singlets that count as visible although nothing charged is in them (H0, A0)."""

_GROUPED = {
    1: "q",
    2: "q",
    3: "q",
    4: "c",
    5: "b",
    21: "g",
    12: "nu",
    14: "nu",
    16: "nu",
    22: "photon",
    23: "Z",
    25: "higgs",
    111: "pion",
    211: "pion",
}
_CHARGED = {11: ("e-", "e+"), 13: ("mu-", "mu+"), 15: ("ta-", "ta+"), 24: ("W+", "W-"), 6: ("t+", "t-")}

SM_LABELS = tuple(sorted({*_GROUPED.values(), *(label for pair in _CHARGED.values() for label in pair)}))
"""All labels a Standard Model daughter can have."""

INVISIBLE_SM = frozenset({"nu"})


def sm_label(pid: int) -> str | None:
    """Label of a Standard Model daughter; None if the id is not a Standard Model particle.

    Light quarks, charm, bottom, gluons, neutrinos, photon, Z and Higgs are grouped without regard to charge; charged
    leptons, W and top keep theirs.

    Examples:
        >>> sm_label(-2), sm_label(-24), sm_label(11), sm_label(1000022)
        ('q', 'W-', 'e-', None)
    """
    if abs(pid) in _GROUPED:
        return _GROUPED[abs(pid)]
    if abs(pid) in _CHARGED:
        return _CHARGED[abs(pid)][0 if pid > 0 else 1]
    return None


def bsm_quantum_numbers(pid: int) -> QuantumNumbers:
    """Quantum numbers of a BSM state; the charge is flipped for a negative id.

    Raises:
        ModelFormatError: the id is not a known BSM particle.
    """
    numbers = BSM_QUANTUM_NUMBERS.get(abs(pid))
    if numbers is None:
        raise ModelFormatError(f"particle {pid}: quantum numbers of this PDG id are not known")
    return numbers if pid > 0 else QuantumNumbers(-numbers.charge3, numbers.colour, numbers.spin2)
