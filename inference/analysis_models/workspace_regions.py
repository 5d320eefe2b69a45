"""Which channels of a HistFactory workspace an analysis uses, and which data set fills which bin.

Regions are published in one of two ways. By name: each says which channel it is (`name`, or `name[bin]` for a bin of a channel with
several). By position: the regions go to the channels in the order of the workspace's observations, one per bin, leaving out validation
regions, and control regions too unless the analysis fills them.

Validation regions are removed. Control regions stay if the analysis says so, and (by default) where they measure the normalisation of a
background in a channel that stays: without them it would be free. They are expected to see no signal unless a data set fills them.
SModelS 3.0.3 removes all control regions unless the analysis says otherwise; `Conventions.REMOVED_CONTROL_REGIONS` does the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from database.results.records import RegionRecord

_BIN = re.compile(r"(?P<channel>.*)\[(?P<bin>\d+)\]")
_UNCONSTRAINED = ("normfactor", "shapefactor")


class RegionError(Exception):
    """The regions of an analysis do not fit its workspace; says why, without a full stop."""


class ChannelPlan(NamedTuple):
    """What becomes of the channels of a workspace.

    Attributes:
        kept: channels of the model, in the order of the workspace.
        filled: position of the region per (channel, bin), for regions that may see a signal.
    """

    kept: tuple[str, ...]
    filled: Mapping[tuple[str, int], int]


def guess_type(channel: str) -> str:
    """Type of a channel from its name, where the analysis does not say.

    Examples:
        >>> [guess_type(name) for name in ("VRtt_meff", "WZ_CR_0jets_cuts", "SR_metsigST", "signal")]
        ['VR', 'CR', 'SR', 'SR']
    """
    if channel[:2] in ("CR", "VR", "SR"):
        return channel[:2]
    return "CR" if "CR" in channel else "SR"


def plan_channels(
    spec: Mapping[str, Any], regions: Sequence[RegionRecord], includes_crs: bool, *, removes_crs: bool = False
) -> ChannelPlan:
    """Assigns regions to channels and decides which channels stay.

    Args:
        spec: parsed workspace.
        regions: as published.
        includes_crs: whether the analysis keeps control regions.
        removes_crs: whether others are removed even where they measure a normalisation.

    Raises:
        RegionError: a channel is missing, or there are more bins than regions, or regions than bins.
    """
    sizes = {str(entry["name"]): len(entry["data"]) for entry in spec["observations"]}
    types: dict[str, str] = {}
    filled: dict[tuple[str, int], int] = {}
    if regions and regions[0].pyhf is None:
        _assign_by_position(sizes, regions, includes_crs, types, filled)
    else:
        _assign_by_name(sizes, regions, types, filled)
    for channel in sizes:
        types.setdefault(channel, guess_type(channel))
    used = {channel for channel, _ in filled if types[channel] == "SR"}
    controls = {channel for channel, kind in types.items() if kind == "CR"}
    kept = used | (controls if includes_crs else set())
    if not includes_crs and not removes_crs:
        kept |= {channel for channel in controls if _free_normalisations(spec, {channel}) & _free_normalisations(spec, used)}
    filled = {place: k for place, k in filled.items() if place[0] in kept and (types[place[0]] == "SR" or includes_crs)}
    return ChannelPlan(tuple(channel for channel in sizes if channel in kept), filled)


def select_channels(spec: Mapping[str, Any], kept: Sequence[str]) -> dict[str, Any]:
    """The workspace with these channels only."""
    return {
        **spec,
        "channels": [entry for entry in spec["channels"] if entry["name"] in kept],
        "observations": [entry for entry in spec["observations"] if entry["name"] in kept],
    }


def _assign_by_name(
    sizes: Mapping[str, int], regions: Sequence[RegionRecord], types: dict[str, str], filled: dict[tuple[str, int], int]
) -> None:
    for k, region in enumerate(regions):
        name = region.pyhf or ""
        found = _BIN.fullmatch(name)
        channel, position = (found["channel"], int(found["bin"])) if found and name not in sizes else (name, 0)
        if channel not in sizes:
            raise RegionError(f"the workspace has no channel {channel!r}")
        if position >= sizes[channel]:
            raise RegionError(f"the channel {channel!r} has no bin {position}")
        if found is None and sizes[channel] > 1 and region.type == "SR":
            raise RegionError(f"the channel {channel!r} has {sizes[channel]} bins, so that its regions need to name one each")
        types[channel] = region.type
        if region.type != "VR":
            filled[channel, position] = k


def _assign_by_position(
    sizes: Mapping[str, int],
    regions: Sequence[RegionRecord],
    includes_crs: bool,
    types: dict[str, str],
    filled: dict[tuple[str, int], int],
) -> None:
    num_sr_bins = sum(size for channel, size in sizes.items() if guess_type(channel) == "SR")
    has_filled_controls = includes_crs and num_sr_bins != len(regions)
    position = 0
    for channel, size in sizes.items():
        types[channel] = guess_type(channel)
        if types[channel] == "VR" or (types[channel] == "CR" and not has_filled_controls):
            continue
        if position + size > len(regions):
            raise RegionError(f"there are {len(regions)} regions for more bins than that, the first one left over is {channel!r}")
        for number in range(size):
            filled[channel, number] = position + number
        position += size
    if position < len(regions):
        raise RegionError(f"there are {len(regions)} regions for {position} bins")


def _free_normalisations(spec: Mapping[str, Any], channels: set[str]) -> set[str]:
    """Parameters without a constraint, other than the signal strength, that scale backgrounds in some channels."""
    names = {
        str(modifier["name"])
        for channel in spec["channels"]
        if channel["name"] in channels
        for sample in channel["samples"]
        for modifier in sample["modifiers"]
        if modifier["type"] in _UNCONSTRAINED
    }
    return names - _fixed_or_interesting(spec)


def _fixed_or_interesting(spec: Mapping[str, Any]) -> set[str]:
    names = {"lumi"}
    for measurement in spec.get("measurements", [])[:1]:
        config = measurement.get("config", {})
        names.add(str(config.get("poi", "")))
        names |= {str(entry["name"]) for entry in config.get("parameters", []) if entry.get("fixed")}
    return names
