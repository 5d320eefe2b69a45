"""Settings of the critics."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class CriticName(StrEnum):
    """Critics by name, in the order of their cost."""

    UPPER_LIMIT_V1 = "upper_limit_v1"
    """Caps the signal strength (arXiv:2012.12246)."""
    UPPER_LIMIT_V2 = "upper_limit_v2"
    """Counts excluding results and vetoes (second version of the reference program)."""
    LIKELIHOOD_V2 = "likelihood_v2"
    """Vetoes what the most sensitive combination of likelihoods excludes (likewise)."""


class CriticSettings(BaseModel):
    """Which critics judge, and their thresholds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    critics: tuple[CriticName, ...] = Field(
        (CriticName.UPPER_LIMIT_V1,),
        description="critics that judge, cheapest first whatever their order here: upper_limit_v1 (caps μ), upper_limit_v2 (vetoes), "
        "likelihood_v2 (vetoes)",
    )
    v1_threshold: float = Field(1.3, gt=0, description="upper_limit_v1: largest allowed σ/σ_UL")
    v1_safety: float = Field(0.999, gt=0, le=1, description="upper_limit_v1: factor that keeps the scaled model below the threshold")
    v1_one_limit_per_analysis: bool = Field(
        False, description="upper_limit_v1: whether one limit stands for all topologies of an analysis, as published; else each for itself"
    )
    v2_threshold: float = Field(1.38, gt=0, description="upper_limit_v2: σ/σ_UL above which a sensitive prediction excludes")
    v2_sensitivity: float = Field(0.7, ge=0, description="upper_limit_v2: smallest expected σ/σ_UL of a prediction that counts")
    v2_probability: float = Field(0.05, gt=0, lt=1, description="upper_limit_v2: probability that a result excludes by chance")
    v2_quantile: float = Field(0.66, gt=0, lt=1, description="upper_limit_v2: quantile of the number of chance exclusions that is allowed")
    likelihood_threshold: float = Field(1.0, gt=0, description="likelihood_v2: σ/σ_UL of the combination from which on it excludes")
    likelihood_min_r_exp: float = Field(0.1, ge=0, description="likelihood_v2: smallest expected σ/σ_UL of a result that enters")
