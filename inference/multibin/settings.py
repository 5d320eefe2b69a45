"""What the limits of searches with several regions are made of."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field, model_validator

from database.errors import UserFacingError
from inference.limits import CONFIDENCE_LEVEL, AsimovConvention, LimitSettings, TestStatistic


class LimitsError(UserFacingError):
    """Limits cannot be computed from what was given; the text names the field or option."""


class ModelChoice(StrEnum):
    """Which statistical model stands for an analysis; covariances (CMS) are used as published whatever is chosen."""

    SIMPLE = "simple"
    """Total background with one correlated nuisance (ATL-PHYS-PUB-2021-038)."""
    FULL = "full"
    """HistFactory workspace, evaluated here."""
    FULLPYHF = "fullpyhf"
    """HistFactory workspace, evaluated by pyhf."""
    SURROGATE = "surrogate"
    """Neural network trained on a workspace."""


class Backend(StrEnum):
    """What evaluates workspaces, published or simplified."""

    NUMBA = "numba"
    NUMPY = "numpy"
    """pyhf with numpy."""
    JAX = "jax"
    """pyhf with JAX."""


class Quantity(StrEnum):
    """What is computed."""

    UPLIM = "uplim"
    """Upper limits on μ."""
    CLS = "cls"
    """CLs at μ = 1."""
    EXPECTED = "expected"
    """Expected values of these too."""


class ExpectedData(StrEnum):
    """Which background expected values are for."""

    APOSTERIORI = "aposteriori"
    """As fitted to the observed data without signal: as experiments and pyhf do."""
    APRIORI = "apriori"
    """Before looking at the data: the nominal background."""


class MultibinSettings(BaseModel):
    """How limits are computed; stored with the results."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: ModelChoice = Field(ModelChoice.FULL, description="statistical model: simple, full, fullpyhf or surrogate")
    backend: Backend = Field(Backend.NUMBA, description="what evaluates workspaces: numba (built in), or numpy or jax through pyhf")
    quantities: tuple[Quantity, ...] = Field(tuple(Quantity), description="uplim, cls, and expected for their expected values")
    statistic: TestStatistic = Field(TestStatistic.Q_TILDE, description="test statistic: q_tilde (μ̂ >= 0) or q")
    asimov: AsimovConvention = Field(AsimovConvention.PUBLISHED, description="where auxiliary data of Asimov data are")
    expected_data: ExpectedData = Field(
        ExpectedData.APOSTERIORI, description="expected values after (aposteriori) or before the fit to data"
    )
    confidence_level: float = Field(CONFIDENCE_LEVEL, gt=0.5, lt=1.0, description="of limits; CLs is compared with 1 minus this")
    timeout_s: float | None = Field(None, gt=0, description="wall-clock limit of one fit [s]; none: no limit")

    @model_validator(mode="after")
    def _check(self) -> MultibinSettings:
        if not {Quantity.UPLIM, Quantity.CLS} & set(self.quantities):
            raise ValueError("quantities: expected values of what? name uplim or cls too")
        if self.model is ModelChoice.FULLPYHF and self.backend is Backend.NUMBA:
            raise ValueError("backend: the model fullpyhf is evaluated by pyhf: choose numpy or jax")
        return self

    @property
    def limit_settings(self) -> LimitSettings:
        """As the limits want them."""
        return LimitSettings(self.confidence_level, self.statistic, self.asimov)
