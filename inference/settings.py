"""Settings of the predictions; one frozen model, parsed once in services and handed down as a value."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class Conventions(StrEnum):
    """Whose conventions decide where the reference implementation and the right answer differ.

    Members beside the first two are the default with one quirk of SModelS 3.0.3 each, to see what it changes
    (`benchmarks/conventions.py`); code asks `has(QUIRK)` in the one place where a quirk acts.
    """

    DEFAULT = "default"
    SMODELS = "smodels"
    """Reproduce SModelS 3.0.3, all its quirks included; for comparisons only."""
    REGION_NUISANCES = "region-nuisances"
    """Nuisances of single regions stay within ±10 n: pinned to 0 where nothing was observed."""
    COVARIANCE_NUISANCES = "covariance-nuisances"
    """The same for the regions of a covariance model."""
    SIMPLIFIED_WORKSPACES = "simplified-workspaces"
    """Simplified workspaces are used where full ones are published beside them."""
    REMOVED_CONTROL_REGIONS = "removed-control-regions"
    """Control regions leave a workspace unless the analysis says otherwise, even where they measure a background."""
    SINGLE_POPULATED_REGION = "single-populated-region"
    """An analysis with a statistical model is not combined where only one of its regions sees a signal."""
    CLUSTER_DISTANCES = "cluster-distances"
    """After two clusters of upper-limit topologies merge, distances to clusters of larger index keep their old values."""
    REJECTED_MERGERS = "rejected-mergers"
    """A rejected merger of two clusters blocks other mergers of both."""
    MEAN_LIFETIMES = "mean-lifetimes"
    """Clusters of long-lived topologies are seen as a topology with their mean widths would be."""
    KEPT_CONDITIONS = "kept-conditions"
    """Predictions that violate a published condition are kept."""
    COMBINATION_ASIMOV = "combination-asimov"
    """The Asimov data of a combination of analyses are the expected backgrounds, not those of the background-only fits."""

    def has(self, quirk: Conventions) -> bool:
        """Whether a quirk acts: under its own name, and among all of them."""
        return self is quirk or self is Conventions.SMODELS


class CombinationRule(StrEnum):
    """Which sets of combinable likelihoods compete (`inference.combination`)."""

    MAXIMAL = "maximal"
    FREE = "free"
    LEGACY_OFFSET = "legacy-offset"


class PredictionSettings(BaseModel):
    """How a model is decomposed into topologies and compared with the published results."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sigma_cut_fb: float = Field(0.02, ge=0, description="topologies with a smaller σ·BR at every √s are dropped [fb]")
    min_mass_gap_gev: float = Field(10.0, ge=0, description="decays with a smaller mass gap are compressed away [GeV]")
    max_condition_violation: float = Field(0.2, ge=0, description="largest tolerated violation of a published condition")
    compress_mass: bool = Field(True, description="whether soft decays are compressed")
    compress_invisible: bool = Field(True, description="whether invisible decays are compressed")
    conventions: Conventions = Field(Conventions.DEFAULT, description="default, or smodels (or one of its quirks by name) for comparisons")
