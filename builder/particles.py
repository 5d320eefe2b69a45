"""The pool of twenty particles a protomodel is built from, and the Standard Model facts that go with it.

Walk: **particles** ──▶ decays, moves, protomodel. Names, charges and colours are those of the corresponding MSSM
states; spins are nominal. All states are pair-produced and decay promptly to the lightest one, X_Z^1 (pid 1000022).
Channels are in `builder.decays`, walls and orderings in `builder.particle_rules`.

A user's catalogue (`builder.catalogue`) can add particles. What is known of them, like all particle facts, holds for the whole
process: an id means one particle, whoever names it first; a second, different description is refused. `PARTICLES` stays the
standard pool; `find_particle` knows the others, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from database.errors import ModelFormatError
from inference.cross_sections import register_like
from inference.quantum_numbers import QuantumNumbers, register_quantum_numbers
from inference.spectrum import LBP_PID

FROZEN_MASS = 1.0e6
"""Mass [GeV] a file gives to a frozen (absent) particle."""

MAX_UNFROZEN_MASS = 1.0e5
"""A particle of a file is unfrozen when its |mass| [GeV] is smaller than this."""


@dataclass(frozen=True, slots=True)
class Particle:
    """One member of the pool.

    Attributes:
        pid: positive PDG id.
        name: the field's name, e.g. "X_t^1".
        ascii_id: short name for command lines and configurations, e.g. "Xt".
        symbol: name for terminals and pages, e.g. "Xt¹".
        latex: name for papers, without dollar signs.
        charge_thirds: electric charge in units of e/3.
        colour: dimension of the colour representation: 1, 3 or 8.
        spin_twice: twice the (nominal) spin.
        is_self_conjugate: whether particle and antiparticle are the same state.
        merger_group: particles of the same group may be merged; None: never merged.
    """

    pid: int
    name: str
    ascii_id: str
    symbol: str
    latex: str
    charge_thirds: int
    colour: int
    spin_twice: int
    is_self_conjugate: bool
    merger_group: str | None

    @property
    def charge(self) -> float:
        """Return the electric charge [e]."""
        return self.charge_thirds / 3.0

    @property
    def has_antiparticle(self) -> bool:
        """Return whether -pid is a state of its own."""
        return not self.is_self_conjugate


def _particle(
    pid: int, index: str, state: str, ascii_id: str, charge_thirds: int, colour: int, spin_twice: int, group: str | None
) -> Particle:
    """Build a pool member; `index` is the subscript, `state` the superscript ("" if there is one state only)."""
    greek = {"nu_e": r"\nu_e", "nu_mu": r"\nu_\mu", "nu_tau": r"\nu_\tau", "mu": r"\mu", "tau": r"\tau"}
    plain = {"nu_e": "νe", "nu_mu": "νμ", "nu_tau": "ντ", "mu": "μ", "tau": "τ"}
    superscript = {"": "", "1": "¹", "2": "²", "3": "³"}[state]
    return Particle(
        pid=pid,
        name=f"X_{index}" + (f"^{state}" if state else ""),
        ascii_id=ascii_id,
        symbol=f"X{plain.get(index, index)}{superscript}",
        latex=f"X_{{{greek.get(index, index)}}}" + (f"^{{{state}}}" if state else ""),
        charge_thirds=charge_thirds,
        colour=colour,
        spin_twice=spin_twice,
        is_self_conjugate=charge_thirds == 0 and spin_twice == 1,
        merger_group=group,
    )


_POOL = (
    _particle(1000001, "d", "", "Xd", -1, 3, 0, "light_quarks"),
    _particle(1000002, "u", "", "Xu", 2, 3, 0, "light_quarks"),
    _particle(1000003, "s", "", "Xs", -1, 3, 0, "light_quarks"),
    _particle(1000004, "c", "", "Xc", 2, 3, 0, "light_quarks"),
    _particle(1000005, "b", "1", "Xb", -1, 3, 0, "b"),
    _particle(2000005, "b", "2", "Xb2", -1, 3, 0, "b"),
    _particle(1000006, "t", "1", "Xt", 2, 3, 0, "t"),
    _particle(2000006, "t", "2", "Xt2", 2, 3, 0, "t"),
    _particle(1000011, "e", "", "Xe", -3, 1, 0, None),
    _particle(1000012, "nu_e", "", "Xnue", 0, 1, 0, None),
    _particle(1000013, "mu", "", "Xmu", -3, 1, 0, None),
    _particle(1000014, "nu_mu", "", "Xnumu", 0, 1, 0, None),
    _particle(1000015, "tau", "", "Xtau", -3, 1, 0, None),
    _particle(1000016, "nu_tau", "", "Xnutau", 0, 1, 0, None),
    _particle(1000021, "g", "", "Xg", 0, 8, 1, None),
    _particle(1000022, "Z", "1", "X1Z", 0, 1, 1, None),
    _particle(1000023, "Z", "2", "X2Z", 0, 1, 1, "Z"),
    _particle(1000024, "W", "1", "X1W", 3, 1, 1, "W"),
    _particle(1000025, "Z", "3", "X3Z", 0, 1, 1, "Z"),
    _particle(1000037, "W", "2", "X2W", 3, 1, 1, "W"),
)

PARTICLES: Mapping[int, Particle] = {particle.pid: particle for particle in _POOL}
"""The standard pool by positive PDG id."""

_ADDED: dict[int, tuple[Particle, int | None]] = {}
"""Particles of users' catalogues by positive PDG id, with the particle whose cross sections they borrow."""

POOL_PIDS: tuple[int, ...] = tuple(sorted(PARTICLES))
"""Positive PDG ids of the pool, increasing."""

MERGER_GROUPS: Mapping[str, tuple[int, ...]] = {
    group: tuple(p for p in POOL_PIDS if PARTICLES[p].merger_group == group) for group in ("light_quarks", "b", "t", "Z", "W")
}
"""Positive PDG ids that may be merged with each other."""

SM_MASSES: Mapping[int, float] = {6: 173.0, 24: 81.0, 23: 92.0, 25: 125.0, 15: 1.77, 4: 1.2, 5: 5.0}
"""Standard Model masses [GeV] in the sum that decides whether a decay is open; all others count as massless."""

_SM_CHARGE_THIRDS: Mapping[int, int] = {
    1: -1,
    2: 2,
    3: -1,
    4: 2,
    5: -1,
    6: 2,
    11: -3,
    12: 0,
    13: -3,
    14: 0,
    15: -3,
    16: 0,
    21: 0,
    22: 0,
    23: 0,
    24: 3,
    25: 0,
    111: 0,
    211: 3,
}

SM_PIDS: frozenset[int] = frozenset(_SM_CHARGE_THIRDS)
"""Positive PDG ids of the Standard Model particles a decay may contain."""

_SM_SELF_CONJUGATE = frozenset({21, 22, 23, 25, 111})

_SM_SYMBOLS: Mapping[int, tuple[str, str]] = {
    1: ("d", "d"),
    2: ("u", "u"),
    3: ("s", "s"),
    4: ("c", "c"),
    5: ("b", "b"),
    6: ("t", "t"),
    11: ("e", "e"),
    13: ("μ", r"\mu"),
    15: ("τ", r"\tau"),
    12: ("νe", r"\nu_e"),
    14: ("νμ", r"\nu_\mu"),
    16: ("ντ", r"\nu_\tau"),
    21: ("g", "g"),
    22: ("γ", r"\gamma"),
    23: ("Z", "Z"),
    24: ("W", "W"),
    25: ("h", "h"),
    111: ("π⁰", r"\pi^0"),
    211: ("π", r"\pi"),
}

_BY_NAME: dict[str, int] = {
    **{p.name.lower(): p.pid for p in _POOL},
    **{p.ascii_id.lower(): p.pid for p in _POOL},
    **{p.symbol.lower(): p.pid for p in _POOL},
    **{f"{p.name}^1".lower(): p.pid for p in _POOL if p.merger_group == "light_quarks"},
    "x_t": 1000006,
    "x_b": 1000005,
}


def find_particle(pid: int) -> Particle | None:
    """Return the particle of a signed PDG id: of the standard pool or of a user's catalogue; None if there is none."""
    found = PARTICLES.get(abs(pid))
    if found is None and abs(pid) in _ADDED:
        found = _ADDED[abs(pid)][0]
    return found


def particle_of(pid: int) -> Particle:
    """Return the particle of a signed PDG id.

    Raises:
        KeyError: there is none.
    """
    found = find_particle(pid)
    if found is None:
        raise KeyError(pid)
    return found


def is_known(pid: int) -> bool:
    """Return whether a positive PDG id is a particle."""
    return pid > 0 and find_particle(pid) is not None


def like_of(pid: int) -> int | None:
    """Return the particle whose reference cross sections an added one borrows; None: it has none, or is of the standard pool."""
    return _ADDED[pid][1] if pid in _ADDED else None


def register_particle(particle: Particle, like: int | None) -> None:
    """Make a particle of a user's catalogue known to this process; doing it again changes nothing.

    Args:
        particle: what it is.
        like: positive PDG id of the particle whose reference cross sections it borrows; None: it has none.

    Raises:
        ModelFormatError: the id, or one of the names, means another particle already.
    """
    known = _ADDED.get(particle.pid)
    if known is not None and known != (particle, like):
        raise ModelFormatError(f"particle {particle.pid} ({particle.name}) was described differently before in this process")
    if known is not None:
        return
    if particle.pid in PARTICLES:
        raise ModelFormatError(
            f"particle {particle.pid} is {PARTICLES[particle.pid].name} of the standard pool and cannot be described anew"
        )
    for name in (particle.name, particle.ascii_id, particle.symbol):
        if _BY_NAME.get(name.lower(), particle.pid) != particle.pid:
            raise ModelFormatError(f"particle {particle.pid}: the name {name} means particle {_BY_NAME[name.lower()]} already")
    register_quantum_numbers(particle.pid, QuantumNumbers(particle.charge_thirds, particle.colour, particle.spin_twice))
    if like is not None:
        register_like(particle.pid, like)
    _ADDED[particle.pid] = (particle, like)
    _BY_NAME.update({name.lower(): particle.pid for name in (particle.name, particle.ascii_id, particle.symbol)})


def describe_added(pid: int) -> dict[str, Any]:
    """Return what a catalogue says of an added particle, as `register_described` takes it."""
    particle, like = _ADDED[pid]
    return {**asdict(particle), "like": like}


def register_described(document: object, field: str) -> None:
    """Make a particle known that a file describes.

    Raises:
        ModelFormatError: the description is not complete, or the id means another particle.
    """
    if not isinstance(document, Mapping):
        raise ModelFormatError(f"{field}: expected a JSON object.")
    try:
        values = dict(document)
        like = values.pop("like", None)
        particle = Particle(**values)
        numbers = (particle.pid, particle.charge_thirds, particle.colour, particle.spin_twice)
        texts = (particle.name, particle.ascii_id, particle.symbol, particle.latex)
        is_valid = all(type(n) is int for n in numbers) and all(isinstance(t, str) and t for t in texts)
        if not is_valid or type(particle.is_self_conjugate) is not bool or not (like is None or like in PARTICLES):
            raise TypeError
    except TypeError:
        raise ModelFormatError(f"{field}: the description of a particle is not complete, or a value has the wrong type.") from None
    register_particle(particle, like)


def is_bsm(pid: int) -> bool:
    """Return whether a signed PDG id is a particle of the standard pool or of a user's catalogue."""
    return abs(pid) in PARTICLES or abs(pid) in _ADDED


def is_self_conjugate(pid: int) -> bool:
    """Return whether a signed PDG id is its own antiparticle; unknown ids count as not self-conjugate."""
    particle = find_particle(pid)
    return particle.is_self_conjugate if particle is not None else abs(pid) in _SM_SELF_CONJUGATE


def conjugate(pid: int) -> int:
    """Return the signed PDG id of the antiparticle.

    Examples:
        >>> conjugate(1000006), conjugate(-24), conjugate(1000022), conjugate(23)
        (-1000006, 24, 1000022, 23)
    """
    return pid if is_self_conjugate(pid) else -pid


def charge_thirds(pid: int) -> int:
    """Return the electric charge of a signed PDG id in units of e/3.

    Raises:
        KeyError: the id is neither in the pool nor in the Standard Model list.
    """
    particle = find_particle(pid)
    charge = particle.charge_thirds if particle is not None else _SM_CHARGE_THIRDS[abs(pid)]
    return charge if pid > 0 else -charge


def sm_mass(pid: int) -> float:
    """Return the mass [GeV] of a Standard Model particle as used in the sum of daughter masses."""
    return SM_MASSES.get(abs(pid), 0.0)


def find_pid(text: str) -> int:
    """Return the positive PDG id for a name ("X_t^1"), an ascii id ("Xt") or a number; upper and lower case are equal.

    Raises:
        KeyError: nothing in the pool is called that.

    Examples:
        >>> find_pid("X_t^1"), find_pid("xd"), find_pid("1000024")
        (1000006, 1000001, 1000024)
    """
    key = text.strip().lower()
    if key in _BY_NAME:
        return _BY_NAME[key]
    if key.isdigit() and is_known(int(key)):
        return int(key)
    raise KeyError(text)


def symbol(pid: int) -> str:
    """Return the Unicode symbol of a signed PDG id, charge included where it distinguishes.

    Examples:
        >>> symbol(1000006), symbol(-6), symbol(24), symbol(-1000024), symbol(-11)
        ('Xt¹', 't̄', 'W⁺', 'XW¹⁻', 'e⁺')
    """
    return _decorate(pid, is_latex=False)


def latex(pid: int) -> str:
    """Return the LaTeX symbol of a signed PDG id, without dollar signs.

    Examples:
        >>> latex(1000022), latex(-5), latex(-1000024)
        ('X_{Z}^{1}', '\\\\bar{b}', 'X_{W}^{1-}')
    """
    return _decorate(pid, is_latex=True)


def _decorate(pid: int, *, is_latex: bool) -> str:
    absolute = abs(pid)
    particle = find_particle(pid)
    if particle is not None:
        base = particle.latex if is_latex else particle.symbol
    elif absolute in _SM_SYMBOLS:
        base = _SM_SYMBOLS[absolute][1 if is_latex else 0]
    else:
        return str(pid)
    charge = charge_thirds(pid)
    if abs(charge) == 3:
        if not is_latex:
            return base + ("⁺" if charge > 0 else "⁻")
        sign = "+" if charge > 0 else "-"
        return f"{base[:-1]}{sign}}}" if "^" in base else f"{base}^{{{sign}}}"
    if pid > 0 or is_self_conjugate(pid):
        return base
    return rf"\bar{{{base}}}" if is_latex else f"{base[0]}\u0304{base[1:]}"


LBP: Particle = PARTICLES[LBP_PID]
"""The lightest particle, X_Z^1, always present."""
