"""What can become of a topology in a published map whose diagram it fits."""

from __future__ import annotations

from enum import StrEnum


class Fate(StrEnum):
    """What became of a topology in a map whose diagram it fits; the closer to a prediction, the earlier."""

    COUNTED = "counted"
    """It is part of a prediction."""
    CONDITION = "condition"
    """The prediction was dropped, because the signal violates a published condition."""
    RELATED = "related"
    """A related topology (same decay chain, compressed or not) with a larger weight counts in its place."""
    NEGLIGIBLE = "negligible"
    """The predicted cross section is smaller than 1e-6 fb."""
    NO_EFFICIENCY = "no_efficiency"
    """The published efficiency is zero here."""
    LIFETIME = "lifetime"
    """Long-lived particles decay where the search does not look."""
    OFF_PLANE = "off_plane"
    """The map covers related masses only (equal branches, say), and the value changes too fast away from them."""
    OUTSIDE = "outside"
    """The masses are outside the published points."""
    SINGLE_POINT = "single_point"
    """The map was published for one point only, nothing can be interpolated."""
    NO_PRODUCTION = "no_production"
    """The topology is not produced at the result's √s."""


CLOSENESS = {fate: number for number, fate in enumerate(Fate)}
"""Position of a fate between "part of a prediction" (0) and "not even produced"."""

FATE_WORDS = {
    Fate.COUNTED: "part of a prediction",
    Fate.CONDITION: "the published condition on the composition of the signal is violated",
    Fate.RELATED: "a related topology with a larger weight counts instead",
    Fate.NEGLIGIBLE: "the predicted cross section is negligible (below 1e-6 fb)",
    Fate.NO_EFFICIENCY: "the published efficiency is zero here",
    Fate.LIFETIME: "a long-lived particle decays where the search does not look",
    Fate.OFF_PLANE: "the map was published for related masses (equal branches, say), these are not",
    Fate.OUTSIDE: "outside the published masses",
    Fate.SINGLE_POINT: "published for a single point only",
    Fate.NO_PRODUCTION: "not produced at this √s",
}
"""Each fate in words."""
NO_DIAGRAM_WORDS = "no published map with this diagram"
