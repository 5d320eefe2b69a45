"""Decay channels of the pool, and which of them a spectrum leaves open.

Walk: particles ──▶ **decays** ──▶ moves, protomodel. A channel is a sorted tuple of signed daughter pids of the
positive-pid mother; antiparticles decay to the conjugate. For a self-conjugate mother one key stands for both charge
modes, half the branching ratio each: of the two conjugate tuples the larger one, so that X_Z^2 → W⁻ X_W⁺ is
(-24, 1000024). A channel is open when mother and BSM daughters exist and the daughters' masses (Standard Model masses
of `builder.particles.SM_MASSES`) add up to less than the mother's mass.

The three-body channels of X_Z^2 and X_W^1 are off-shell modes: open when, and only when, the on-shell decay they
replace (Z X_Z^1, W X_Z^1) is closed, so that no mass difference is without a channel. Those of X_g are open on their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from builder.particles import POOL_PIDS, conjugate, is_bsm, is_self_conjugate, sm_mass
from database.errors import ModelFormatError
from inference.spectrum import LBP_PID, Decay

Daughters = tuple[int, ...]
"""Sorted signed PDG ids of the daughters of the positive-pid mother."""


@dataclass(frozen=True, slots=True)
class DecayChannel:
    """One decay channel of the pool.

    Attributes:
        mother: positive PDG id.
        daughters: canonical key (sorted signed pids).
        group: channels of one mother with the same group always share one branching ratio each (lepton universality
            of the off-shell modes); elsewhere the group is the channel's own.
        sm_mass: summed mass of the Standard Model daughters [GeV].
        bsm: positive PDG ids of the BSM daughters.
        on_shell: the on-shell channel that closes this off-shell one; None for channels that open on their own.
        off_shell_weight: branching ratio in the democratic off-shell mix, 0 for all other channels.
    """

    mother: int
    daughters: Daughters
    group: str
    sm_mass: float
    bsm: tuple[int, ...]
    on_shell: Daughters | None = None
    off_shell_weight: float = 0.0


def conjugate_daughters(daughters: Daughters) -> Daughters:
    """Return the sorted conjugate final state.

    Examples:
        >>> conjugate_daughters((5, 1000024))
        (-1000024, -5)
    """
    return tuple(sorted(conjugate(pid) for pid in daughters))


def canonical_daughters(mother: int, daughters: Daughters) -> Daughters:
    """Return the key of a channel: sorted, and for self-conjugate mothers the larger of the two charge modes.

    Examples:
        >>> canonical_daughters(1000023, (24, -1000024))
        (-24, 1000024)
        >>> canonical_daughters(1000006, (1000022, 6))
        (6, 1000022)
    """
    key = tuple(sorted(daughters))
    return max(key, conjugate_daughters(key)) if is_self_conjugate(mother) else key


@lru_cache(maxsize=4096)
def charge_modes(mother: int, daughters: Daughters) -> tuple[Daughters, ...]:
    """Return the final states one key stands for: two for a self-conjugate mother with a charged final state, else one."""
    other = conjugate_daughters(daughters)
    return (daughters, other) if is_self_conjugate(mother) and other != daughters else (daughters,)


def expand_channel(mother: int, daughters: Daughters, branching_ratio: float) -> tuple[Decay, ...]:
    """Return the channels of a `Spectrum` for one key, the branching ratio shared by the charge modes.

    Examples:
        >>> expand_channel(1000023, (-24, 1000024), 0.5)
        (((-24, 1000024), 0.25), ((-1000024, 24), 0.25))
    """
    modes = charge_modes(mother, daughters)
    return tuple((mode, branching_ratio / len(modes)) for mode in modes)


def build_channel(
    mother: int, daughters: Daughters, *, on_shell: Daughters | None = None, weight: float = 0.0, group: str | None = None
) -> DecayChannel:
    """Return a channel with its canonical key and masses.

    Args:
        mother: positive PDG id.
        daughters: signed PDG ids in any order.
        on_shell: the on-shell channel that closes this off-shell one.
        weight: share in the democratic off-shell mix.
        group: name of the channels that share one branching ratio each; None: a group of its own.
    """
    key = canonical_daughters(mother, daughters)
    return DecayChannel(
        mother=mother,
        daughters=key,
        group=group or ",".join(map(str, key)),
        sm_mass=sum(sm_mass(pid) for pid in key if not is_bsm(pid)),
        bsm=tuple(abs(pid) for pid in key if is_bsm(pid)),
        on_shell=None if on_shell is None else canonical_daughters(mother, on_shell),
        off_shell_weight=weight,
    )


_QUARK_PAIRS = ((1, 2), (3, 4), (5, 6))
"""(down-type, up-type) quark of each generation."""


def _list_template() -> dict[int, list[tuple[Daughters, Daughters | None, float, str | None]]]:
    """Return (daughters, on-shell channel, off-shell weight, group) of all channels per mother, before sorting."""
    zs, ws = (1000022, 1000023, 1000025), (1000024, 1000037)
    template: dict[int, list[tuple[Daughters, Daughters | None, float, str | None]]] = {pid: [] for pid in POOL_PIDS}

    def add(mother: int, *daughters: int, on_shell: Daughters | None = None, weight: float = 0.0, group: str | None = None) -> None:
        template[mother].append((daughters, on_shell, weight, group))

    for down, up in ((1, 2), (3, 4)):
        for z in zs:
            add(1000000 + down, down, z)
            add(1000000 + up, up, z)
        for w in ws:
            add(1000000 + down, up, -w)
            add(1000000 + up, down, w)
        add(1000000 + down, down, 1000021)
        add(1000000 + up, up, 1000021)
    for b_like in (1000005, 2000005):
        for z in zs:
            add(b_like, 5, z)
        for w in ws:
            add(b_like, 6, -w)
        add(b_like, -24, 1000006)
        add(b_like, 5, 1000021)
    for t_like in (1000006, 2000006):
        for z in zs[:2]:
            add(t_like, 6, z)
        for w in ws:
            add(t_like, 5, w)
        add(t_like, 24, 1000005)
        add(t_like, 6, 1000021)
    add(2000006, 23, 1000006)
    for lepton in (11, 13, 15):
        for z in zs:
            add(1000000 + lepton, lepton, z)
            add(1000001 + lepton, lepton + 1, z)
        for w in ws:
            add(1000000 + lepton, lepton + 1, -w)
            add(1000001 + lepton, lepton, w)
    gluino = 1000021
    for z in zs:
        add(gluino, 21, z)
        for quark in (1, 4, 5, 6):
            add(gluino, quark, -quark, z)
    for w in ws:
        for down, up in _QUARK_PAIRS:
            add(gluino, down, -up, w)
    for quark in (1, 2, 3, 4, 5, 6):
        add(gluino, -quark, 1000000 + quark)
    for quark in (5, 6):
        add(gluino, -quark, 2000000 + quark)
    add(1000023, 23, LBP_PID)
    add(1000023, 25, LBP_PID)
    add(1000023, -24, 1000024)
    z_mode = (23, LBP_PID)
    add(1000023, 2, -2, LBP_PID, on_shell=z_mode, weight=12 / 18)
    add(1000023, 5, -5, LBP_PID, on_shell=z_mode, weight=3 / 18)
    for lepton in (11, 13, 15):
        add(1000023, lepton, -lepton, LBP_PID, on_shell=z_mode, weight=1 / 18, group="off-shell leptons")
    for z in zs[:2]:
        add(1000025, 23, z)
        add(1000025, 25, z)
    add(1000025, -24, 1000024)
    w_mode = (24, LBP_PID)
    add(1000024, 24, LBP_PID)
    add(1000024, 24, 1000023)
    add(1000024, 2, -1, LBP_PID, on_shell=w_mode, weight=6 / 9)
    for lepton in (11, 13, 15):
        add(1000024, -lepton, lepton + 1, LBP_PID, on_shell=w_mode, weight=1 / 9, group="off-shell leptons")
    for z in zs[:2]:
        add(1000037, 24, z)
    add(1000037, 23, 1000024)
    add(1000037, 25, 1000024)
    return template


def _build_channels() -> dict[int, tuple[DecayChannel, ...]]:
    channels: dict[int, tuple[DecayChannel, ...]] = {}
    for mother, entries in _list_template().items():
        built = [build_channel(mother, raw, on_shell=on_shell, weight=weight, group=group) for raw, on_shell, weight, group in entries]
        channels[mother] = tuple(sorted(built, key=lambda channel: channel.daughters))
    return channels


ChannelTable = Mapping[int, tuple[DecayChannel, ...]]
"""Channels per positive PDG id of the mother, in the order of their keys."""

CHANNELS: ChannelTable = _build_channels()
"""All channels of the standard pool; X_Z^1 has none."""

_BY_KEY: dict[tuple[int, Daughters], DecayChannel] = {
    (mother, channel.daughters): channel for mother, channels in CHANNELS.items() for channel in channels
}


def find_channel(mother: int, daughters: Daughters) -> DecayChannel | None:
    """Return the channel of the standard pool, or of a user's catalogue, for a canonical key; None if none has it."""
    return _BY_KEY.get((mother, daughters))


def register_channel(channel: DecayChannel) -> None:
    """Make a channel of a user's catalogue known to this process; doing it again changes nothing.

    Raises:
        ModelFormatError: the channel is known and differs: in the standard pool, or in another catalogue.
    """
    if _BY_KEY.setdefault((channel.mother, channel.daughters), channel) != channel:
        raise ModelFormatError(f"channels: {channel.mother} -> {channel.daughters} is there already, with another mode or group")


def _is_reachable(channel: DecayChannel, mass: float, masses: Mapping[int, float]) -> bool:
    total = channel.sm_mass
    for pid in channel.bsm:
        daughter = masses.get(pid)
        if daughter is None:
            return False
        total += daughter
    return total < mass


def is_open(channel: DecayChannel, masses: Mapping[int, float]) -> bool:
    """Return whether a channel is open in a model with the given masses [GeV] (positive PDG ids)."""
    mass = masses.get(channel.mother)
    if mass is None or not _is_reachable(channel, mass, masses):
        return False
    if channel.on_shell is None:
        return True
    on_shell = _BY_KEY.get((channel.mother, channel.on_shell)) or build_channel(channel.mother, channel.on_shell)
    return not _is_reachable(on_shell, mass, masses)


def open_channels(pid: int, masses: Mapping[int, float], table: ChannelTable = CHANNELS) -> tuple[Daughters, ...]:
    """Return the keys of the open channels of a particle, in increasing order.

    Args:
        pid: positive PDG id of the mother.
        masses: mass [GeV] of every unfrozen particle by positive PDG id.
        table: channels that exist (`builder.pool`).

    Examples:
        At a mass difference of 85 GeV X_W^1 is on shell, X_Z^2 is not:

        >>> open_channels(1000024, {1000022: 100.0, 1000024: 185.0})
        ((24, 1000022),)
        >>> len(open_channels(1000023, {1000022: 100.0, 1000023: 185.0}))
        5
    """
    return tuple(channel.daughters for channel in table.get(pid, ()) if is_open(channel, masses))


def is_off_shell(pid: int, masses: Mapping[int, float], table: ChannelTable = CHANNELS) -> bool:
    """Return whether the particle decays through its off-shell modes: it has some, and their on-shell decay is closed."""
    return any(channel.on_shell is not None and is_open(channel, masses) for channel in table.get(pid, ()))


def group_channels(pid: int, masses: Mapping[int, float], table: ChannelTable = CHANNELS) -> tuple[tuple[Daughters, ...], ...]:
    """Return the open channels of a particle, those that share one branching ratio together."""
    groups: dict[str, list[Daughters]] = {}
    for channel in table.get(pid, ()):
        if is_open(channel, masses):
            groups.setdefault(channel.group, []).append(channel.daughters)
    return tuple(tuple(members) for members in groups.values())


def off_shell_branching_ratios(pid: int, masses: Mapping[int, float], table: ChannelTable = CHANNELS) -> dict[Daughters, float]:
    """Return the democratic branching ratios of the open off-shell modes, normalised; empty where there are none.

    The mix is that of real Z and W bosons: uū 12/18, bb̄ 3/18, each lepton pair 1/18; ud̄ 6/9, each lepton 1/9.
    """
    weights = {c.daughters: c.off_shell_weight for c in table.get(pid, ()) if c.on_shell is not None and is_open(c, masses)}
    total = sum(weights.values())
    return {daughters: weight / total for daughters, weight in weights.items()}
