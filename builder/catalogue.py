"""A user's catalogue of particles and decay channels: a YAML file that changes the standard pool.

Walk: catalogue, restrictions ──▶ pool (`builder.pool`) ──▶ moves. An example, every field but `format` optional:

    format: 1
    name: light sleptons and a fourth neutralino
    remove: [Xnue, Xnumu, Xnutau]           # particles of the standard pool that leave
    particles:                              # new ones
      - pid: 1000035
        name: X_Z^4
        ascii_id: X4Z
        charge_thirds: 0                    # electric charge in units of e/3
        colour: 1                           # dimension of the colour representation
        spin_twice: 1
        is_self_conjugate: true
        like: X_Z^3                         # borrows its reference cross sections; left out: produced in decays only
        merger_group: Z
    channels:                               # further channels, per mother
      X_Z^2: ["e -Xe", "mu -Xmu"]
      X_Z^4:
        - Z X_Z^1
        - {daughters: u -u X_Z^1, weight: 0.7, instead_of: Z X_Z^1}       # off-shell: open where Z X_Z^1 is closed
    remove_channels: {X_Z^2: ["h X_Z^1"]}

Particles are PDG ids or names ("X_t^1", "Xt", "t", "W", "nu_e"), a minus sign in front means the antiparticle. Every defect
is one sentence that names the entry.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from builder.decays import Daughters, DecayChannel, build_channel, register_channel
from builder.particles import Particle, charge_thirds, find_pid, is_bsm, particle_of, register_particle
from database.errors import ConfigError, ModelFormatError
from database.yaml_text import load_unique
from inference.spectrum import LBP_PID

CATALOGUE_FORMAT = 1
_PACKAGED = Path(__file__).with_name("catalogues")

SM_NAMES = {
    "d": 1, "u": 2, "s": 3, "c": 4, "b": 5, "t": 6, "e": 11, "mu": 13, "tau": 15, "nu_e": 12, "nu_mu": 14, "nu_tau": 16,
    "nue": 12, "numu": 14, "nutau": 16, "g": 21, "gamma": 22, "z": 23, "w": 24, "h": 25,
}  # fmt: skip
"""Standard Model particles by name."""


class CatalogueParticle(BaseModel):
    """A particle that the standard pool does not have."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pid: int = Field(gt=100, description="positive PDG id")
    name: str = Field(pattern=r"^\S+$", description="the field's name, e.g. X_Z^4")
    ascii_id: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9]*$", description="short name, e.g. X4Z")
    symbol: str | None = Field(None, description="name for terminals and pages; none: the short name")
    latex: str | None = Field(None, description="name for papers, without dollar signs; none: the name")
    charge_thirds: int = Field(ge=-6, le=6, description="electric charge in units of e/3")
    colour: Literal[1, 3, 8] = Field(description="dimension of the colour representation")
    spin_twice: Literal[0, 1, 2] = Field(description="twice the spin")
    is_self_conjugate: bool = Field(description="whether particle and antiparticle are the same state")
    like: int | str | None = Field(None, description="particle whose reference cross sections it borrows; none: it has none")
    merger_group: str | None = Field(None, description="particles of the same group may be merged; none: never merged")

    def to_particle(self) -> Particle:
        """The member of the pool."""
        return Particle(
            pid=self.pid,
            name=self.name,
            ascii_id=self.ascii_id,
            symbol=self.symbol or self.ascii_id,
            latex=self.latex or self.name,
            charge_thirds=self.charge_thirds,
            colour=self.colour,
            spin_twice=self.spin_twice,
            is_self_conjugate=self.is_self_conjugate,
            merger_group=self.merger_group,
        )


class OffShellChannel(BaseModel):
    """A channel that replaces an on-shell one where that is closed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    daughters: str = Field(description="the decay products")
    instead_of: str = Field(description="the on-shell channel that it replaces")
    weight: float = Field(gt=0, description="share in the mix of off-shell modes")
    group: str | None = Field(None, description="channels of one mother with the same group share one branching ratio each")


class Catalogue(BaseModel):
    """Changes of the standard pool; see the module."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = Field(description="version of this format")
    name: str = Field("", description="what it is called in reports")
    remove: tuple[int | str, ...] = Field((), description="particles of the standard pool that leave")
    particles: tuple[CatalogueParticle, ...] = Field((), description="new particles")
    channels: dict[str, tuple[str | OffShellChannel, ...]] = Field(default_factory=dict, description="further channels, per mother")
    remove_channels: dict[str, tuple[str, ...]] = Field(default_factory=dict, description="channels that leave, per mother")

    @model_validator(mode="after")
    def _check(self) -> Catalogue:
        """Registers the new particles and resolves every name once, so that a defect is found on reading."""
        try:
            for entry in self.particles:
                self._register(entry)
            self.removed_pids()
            for channel in self.added_channels():
                register_channel(channel)
            self.removed_channels()
        except ModelFormatError as error:
            raise ValueError(str(error)) from error
        return self

    def _register(self, entry: CatalogueParticle) -> None:
        if entry.is_self_conjugate and entry.charge_thirds:
            raise ModelFormatError(f"particles: {entry.name} is charged and cannot be its own antiparticle")
        like = None if entry.like is None else parse_particle(entry.like, f"particles: {entry.name}: like")
        if like is not None and (particle_of(like).charge_thirds, particle_of(like).is_self_conjugate) != (
            entry.charge_thirds,
            entry.is_self_conjugate,
        ):
            raise ModelFormatError(
                f"particles: {entry.name} cannot borrow the cross sections of {particle_of(like).name}: their charges differ, or only one "
                "is its own antiparticle"
            )
        register_particle(entry.to_particle(), like)

    def removed_pids(self) -> frozenset[int]:
        """Particles of the standard pool that leave."""
        pids = frozenset(parse_particle(name, "remove") for name in self.remove)
        if LBP_PID in pids:
            raise ModelFormatError("remove: X_Z^1 is the lightest particle of every model and cannot leave")
        return pids

    def added_channels(self) -> tuple[DecayChannel, ...]:
        """Further channels, checked: one new particle among the daughters, electric charge conserved."""
        built = []
        for mother_name, entries in self.channels.items():
            mother = parse_particle(mother_name, "channels")
            for entry in entries:
                field = f"channels.{mother_name}"
                if isinstance(entry, str):
                    built.append(build_channel(mother, _checked_daughters(mother, entry, field)))
                    continue
                on_shell = _checked_daughters(mother, entry.instead_of, field)
                daughters = _checked_daughters(mother, entry.daughters, field)
                built.append(build_channel(mother, daughters, on_shell=on_shell, weight=entry.weight, group=entry.group))
        return tuple(built)

    def removed_channels(self) -> frozenset[tuple[int, Daughters]]:
        """Channels that leave, as (mother, canonical key)."""
        return parse_channels(self.remove_channels, "remove_channels")


def parse_particle(name: int | str, field: str) -> int:
    """Positive PDG id of a particle of the pool or of a catalogue.

    Raises:
        ModelFormatError: there is none of that name.
    """
    text = str(name)
    try:
        return find_pid(text)
    except KeyError:
        raise ModelFormatError(f"{field}: {text} is not a particle of the pool") from None


def parse_daughters(text: str, field: str) -> Daughters:
    """Signed PDG ids of a channel written as "t X_Z^1", "-b Xb" or "6,1000022"; not sorted.

    Raises:
        ModelFormatError: a name is not known, or there are fewer than two.

    Examples:
        >>> parse_daughters("t X_Z^1", "channels"), parse_daughters("-24, 1000024", "channels")
        ((6, 1000022), (-24, 1000024))
    """
    daughters = []
    for token in re.split(r"[\s,]+", text.strip()):
        sign, name = (-1, token[1:]) if token.startswith("-") else (1, token)
        pid = SM_NAMES.get(name.lower())
        if pid is None and name.isdigit() and not is_bsm(int(name)):
            pid = int(name) if int(name) in SM_NAMES.values() else None
        if pid is None:
            pid = parse_particle(name, field)
        daughters.append(sign * pid)
    if len(daughters) < 2:
        raise ModelFormatError(f"{field}: '{text}' has fewer than two daughters")
    return tuple(daughters)


def parse_channels(channels: dict[str, tuple[str, ...]], field: str) -> frozenset[tuple[int, Daughters]]:
    """(mother, canonical key) of channels given per mother by name.

    Raises:
        ModelFormatError: a name is not known, or a channel is not possible.
    """
    found = set()
    for mother_name, entries in channels.items():
        mother = parse_particle(mother_name, field)
        for entry in entries:
            found.add((mother, build_channel(mother, _checked_daughters(mother, entry, f"{field}.{mother_name}")).daughters))
    return frozenset(found)


def _checked_daughters(mother: int, text: str, field: str) -> Daughters:
    daughters = parse_daughters(text, field)
    if sum(map(is_bsm, daughters)) != 1:
        raise ModelFormatError(f"{field}: '{text}' has {sum(map(is_bsm, daughters))} new particles among the daughters, it needs one")
    if any(abs(d) == mother for d in daughters):
        raise ModelFormatError(f"{field}: '{text}' has the mother among the daughters")
    if sum(map(charge_thirds, daughters)) != charge_thirds(mother):
        raise ModelFormatError(f"{field}: '{text}' does not conserve electric charge")
    return daughters


def read_catalogue(name: str) -> dict[str, Any]:
    """Plain content of a catalogue: a file, or the name of a packaged one.

    Raises:
        ConfigError: there is none, or it is not YAML with sections.
    """
    path = Path(name).expanduser()
    if not path.is_file():
        path = _PACKAGED / f"{name}.yaml"
        if not re.fullmatch(r"[a-z0-9_]+", name) or not path.is_file():
            packaged = ", ".join(sorted(p.stem for p in _PACKAGED.glob("*.yaml")))
            raise ConfigError(f"there is no particle catalogue {name}; packaged ones are {packaged}")
    try:
        content = load_unique(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the particle catalogue {path} cannot be read: {error}") from error
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"the particle catalogue {path.name}{line} is not valid: {error.problem}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"the particle catalogue {path.name} has no sections")
    return content


def load_catalogue(name: str) -> Catalogue:
    """A catalogue by the path of its file or its packaged name, checked.

    Raises:
        ConfigError: there is none, or it has a defect; one sentence that names it.
    """
    return check_catalogue(read_catalogue(name), f"particle catalogue {name}")


def check_catalogue(content: Any, source: str) -> Catalogue:
    """A catalogue from plain values.

    Raises:
        ConfigError: it has a defect; one sentence that names it, after `source`.
    """
    try:
        return Catalogue.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        reason = str(first["ctx"]["error"]) if first["type"] == "value_error" else first["msg"]
        raise ConfigError(f"{source}: {where + ': ' if where else ''}{reason}") from error
