"""Settings of the predictions; one frozen model, parsed once in services and handed down as a value."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class Conventions(StrEnum):
    """Whose conventions decide where the reference implementation and the right answer differ."""

    DEFAULT = "default"
    SMODELS = "smodels"
    """Reproduce SModelS 3.0.3, its quirks included; for comparisons only."""


class PredictionSettings(BaseModel):
    """How a model is decomposed into topologies and compared with the published results."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sigma_cut_fb: float = Field(0.02, ge=0, description="topologies with a smaller σ·BR at every √s are dropped [fb]")
    min_mass_gap_gev: float = Field(10.0, ge=0, description="decays with a smaller mass gap are compressed away [GeV]")
    max_condition_violation: float = Field(0.2, ge=0, description="largest tolerated violation of a published condition")
    compress_mass: bool = Field(True, description="whether soft decays are compressed")
    compress_invisible: bool = Field(True, description="whether invisible decays are compressed")
    conventions: Conventions = Field(Conventions.DEFAULT, description="default, or smodels for comparisons")
