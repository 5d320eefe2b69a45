"""How a workspace is read and what a signal carries; frozen, made once per analysis."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class NormsysCode(StrEnum):
    """Interpolation of normsys factors."""

    CODE1 = "code1"
    """Exponential on both sides; a kink at α = 0."""
    CODE4 = "code4"
    """Polynomial of degree 6 within one sigma, exponential outside (pyhf's default)."""


class HistosysCode(StrEnum):
    """Interpolation of histosys shifts."""

    CODE0 = "code0"
    """Linear on both sides; a kink at α = 0."""
    CODE2 = "code2"
    """Quadratic within one sigma. Outside as in pyhf 0.7.6, whose extrapolation jumps at α = ±1."""
    CODE4P = "code4p"
    """Polynomial of degree 6 within one sigma, linear outside (pyhf's default)."""


class AsimovAuxiliary(StrEnum):
    """Where Asimov data put the auxiliary measurements, i.e. the centres of the constraints."""

    FITTED = "fitted"
    """At the values of the background-only fit, as in pyhf: that fit then describes the Asimov data exactly."""
    NOMINAL = "nominal"
    """Where the analysis put them, as SModelS and spey do for simplified likelihoods."""


class HistFactorySettings(BaseModel):
    """Reading of a workspace, and the modifiers of the signal that is added to every main-data bin.

    The signal always carries the parameter of interest as its normalisation.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    measurement: str | int = Field(0, description="name or position of the measurement")
    normsys: NormsysCode = Field(NormsysCode.CODE4, description="interpolation of normsys factors")
    histosys: HistosysCode = Field(HistosysCode.CODE4P, description="interpolation of histosys shifts")
    signal_lumi: bool | None = Field(
        None, description="whether the signal scales with lumi; by default where the model or the measurement has this parameter"
    )
    signal_uncertainty: float | None = Field(
        None, ge=0, description="relative histosys on the signal in all bins, parameter `signalUncertainty`; as SModelS adds it"
    )
    signal_normsys: dict[str, tuple[float, float]] = Field(
        default_factory=dict, description="normsys on the signal in all bins: parameter name to (lo, hi)"
    )
    has_signal_staterror: bool = Field(
        False, description="whether statistical errors of the signal enter the staterror parameters of its bins"
    )
    asimov_auxiliary: AsimovAuxiliary = Field(AsimovAuxiliary.FITTED, description="where Asimov data put the auxiliary measurements")
    max_starts: int = Field(
        16, ge=1, le=64, description="most starting points of a fit; beyond the first they are used only where a scan sees another valley"
    )
