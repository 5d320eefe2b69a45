"""The particles and channels a walk may use: the standard pool, changed by a user's catalogue, narrowed by restrictions.

Walk: catalogue, restrictions ──▶ **pool** ──▶ moves. What a model read from a file contains is not restricted; what a walk adds is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from builder.catalogue import Catalogue, check_catalogue, load_catalogue, parse_channels, parse_daughters, parse_particle
from builder.decays import CHANNELS, ChannelTable, Daughters, DecayChannel
from builder.model_checks import canonical_pair
from builder.particles import POOL_PIDS, particle_of
from builder.protomodel import ProtoModel
from database.errors import ConfigError, ModelFormatError
from inference.cross_sections import production_pairs
from inference.spectrum import LBP_PID, PidPair


def read_pids(value: Any, field: str) -> Any:
    """A list of particles with names replaced by PDG ids; anything else as it is, for the validation to refuse.

    Raises:
        ValueError: a name is not known.
    """
    if not isinstance(value, list | tuple):
        return value
    try:
        return tuple(parse_particle(item, field) if isinstance(item, str) else item for item in value)
    except ModelFormatError as error:
        raise ValueError(str(error)) from error


@dataclass(frozen=True, eq=False)
class Pool:
    """Particles and channels that a walk may use.

    Attributes:
        pids: positive PDG ids, the lightest particle included, increasing.
        channels: channels per mother, between particles of the pool only.
        merger_groups: positive PDG ids that may be merged with each other, by name of the group.
    """

    pids: tuple[int, ...]
    channels: ChannelTable
    merger_groups: Mapping[str, tuple[int, ...]]


def build_pool(
    catalogue: Catalogue | None,
    allowed: frozenset[int],
    forbidden: frozenset[int],
    allowed_channels: frozenset[tuple[int, Daughters]],
    forbidden_channels: frozenset[tuple[int, Daughters]],
) -> Pool:
    """The pool that is left of a catalogue by restrictions.

    Args:
        catalogue: changes of the standard pool; None: none.
        allowed: positive PDG ids; empty: all.
        forbidden: positive PDG ids that are left out.
        allowed_channels: channels of their mothers; mothers that none of them names keep all.
        forbidden_channels: channels that are left out.
    """
    every = set(POOL_PIDS)
    if catalogue is not None:
        every = (every - catalogue.removed_pids()) | {entry.pid for entry in catalogue.particles}
    pids = {pid for pid in every if pid == LBP_PID or ((not allowed or pid in allowed) and pid not in forbidden)}
    out = forbidden_channels | (catalogue.removed_channels() if catalogue is not None else frozenset())
    restricted = {mother for mother, _ in allowed_channels}
    added: dict[int, list[DecayChannel]] = {}
    for channel in catalogue.added_channels() if catalogue is not None else ():
        added.setdefault(channel.mother, []).append(channel)

    def is_in(channel: DecayChannel) -> bool:
        key = (channel.mother, channel.daughters)
        is_allowed = channel.mother not in restricted or key in allowed_channels
        return is_allowed and key not in out and all(pid in pids for pid in channel.bsm)

    table = {
        mother: tuple(sorted(filter(is_in, (*CHANNELS.get(mother, ()), *added.get(mother, ()))), key=lambda channel: channel.daughters))
        for mother in sorted(pids)
    }
    groups: dict[str, list[int]] = {}
    for pid in sorted(pids):
        group = particle_of(pid).merger_group
        if group is not None:
            groups.setdefault(group, []).append(pid)
    return Pool(tuple(sorted(pids)), MappingProxyType(table), MappingProxyType({name: tuple(group) for name, group in groups.items()}))


STANDARD_POOL = build_pool(None, frozenset(), frozenset(), frozenset(), frozenset())
"""All particles and channels of `builder.particles` and `builder.decays`."""


class PoolSettings(BaseModel):
    """What a walk may use; particles are PDG ids or names, channels are written as "t X_Z^1"."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    catalogue: Catalogue | None = Field(
        None, description="changes of the standard pool: a YAML file, or a packaged catalogue by name; none: the standard pool"
    )
    allowed_particles: tuple[int, ...] = Field((), description="particles that may be added, by PDG id or name; empty: all")
    allowed_channels: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description='per mother the only channels it may use, e.g. X_t^1: ["t X_Z^1"]; mothers not listed: all'
    )
    forbidden_channels: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description='per mother channels that are never opened, e.g. X_Z^2: ["h X_Z^1"]'
    )
    ssm_caps: dict[str, float] = Field(
        default_factory=dict,
        description='largest signal strength multiplier per process, e.g. "X_W^1 X_Z^2": 2.0; both charges; others: ssm_cap [1]',
    )
    susy_like: bool = Field(
        False,
        description="whether every signal strength multiplier is 1: reference cross sections as they are (score.fixed_strength must be on)",
    )

    @field_validator("catalogue", mode="before")
    @classmethod
    def _read_catalogue(cls, value: Any) -> Any:
        if value is None or isinstance(value, Catalogue):
            return value
        try:
            return load_catalogue(value) if isinstance(value, str) else check_catalogue(value, "inline")
        except ConfigError as error:
            raise ValueError(str(error)) from error

    @field_validator("allowed_particles", mode="before")
    @classmethod
    def _read_particles(cls, value: Any) -> Any:
        return read_pids(value, "allowed_particles")

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        try:
            _ = self.allowed_keys, self.forbidden_keys, self.caps
        except ModelFormatError as error:
            raise ValueError(str(error)) from error
        return self

    @cached_property
    def allowed_keys(self) -> frozenset[tuple[int, Daughters]]:
        """`allowed_channels` as (mother, key)."""
        return parse_channels(self.allowed_channels, "allowed_channels")

    @cached_property
    def forbidden_keys(self) -> frozenset[tuple[int, Daughters]]:
        """`forbidden_channels` as (mother, key)."""
        return parse_channels(self.forbidden_channels, "forbidden_channels")

    @cached_property
    def caps(self) -> Mapping[PidPair, float]:
        """`ssm_caps` by sorted pair of positive PDG ids."""
        found: dict[PidPair, float] = {}
        for name, cap in self.ssm_caps.items():
            first, second = canonical_pair((abs(d) for d in parse_daughters(name, "ssm_caps")), f"ssm_caps.{name}")
            if not cap > 0.0:
                raise ModelFormatError(f"ssm_caps.{name}: a cap is positive, not {cap:g}")
            found[first, second] = cap
        return found

    def restrict(self, protomodel: ProtoModel) -> ProtoModel:
        """The model with its multipliers within the caps, or all 1 where the walk is SUSY-like; itself where nothing changes."""
        if self.susy_like:
            changed = {pair: 1.0 for pair in production_pairs(protomodel.masses) if protomodel.ssm(pair) != 1.0}
        else:
            capped = ((pair, self.caps.get(canonical_pair(map(abs, pair)))) for pair in protomodel.ssms) if self.caps else ()
            changed = {pair: cap for pair, cap in capped if cap is not None and protomodel.ssm(pair) > cap}
        return protomodel.with_ssms(changed) if changed else protomodel
