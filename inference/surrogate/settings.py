"""How surrogates are trained."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class SurrogateSettings(BaseModel):
    """Domain, size and effort of a surrogate."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    radius: float | None = Field(
        None,
        gt=0,
        description="domain: signals with √(Σ s²/v) up to this, v = variance of a signal in that region alone; none: 3 × expected limits",
    )
    num_signals: int = Field(6000, ge=20, description="signal patterns for which the source model is evaluated")
    num_strengths: int = Field(2, ge=1, le=20, description="signal strengths per pattern")
    pattern_share: float = Field(
        0.5, ge=0, le=1, description="share of patterns that are taken from published efficiencies, where there are"
    )
    held_out: float = Field(0.15, gt=0, lt=0.9, description="share of patterns that only measure the error")
    hidden: tuple[int, ...] = Field((64, 64), min_length=1, description="neurons per hidden layer")
    num_steps: int = Field(25_000, ge=1, description="steps of the training")
    batch_size: int = Field(128, ge=1, description="signals per step")
    learning_rate: float = Field(4e-3, gt=0, description="largest step size (Adam); falls to 0 as a cosine")
    slope_weight: float = Field(0.1, ge=0, description="weight of slopes against values")
    max_failed: float = Field(0.05, ge=0, le=1, description="share of signals whose fits may fail; more, and no surrogate is made")
    seed: int = Field(1, ge=0, description="seed of signals, start and order of the training")
