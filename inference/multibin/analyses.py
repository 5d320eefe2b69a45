"""What is known of an analysis, and the statistical models of its sets of regions.

A set of regions is what one statistical model combines. An analysis may have several sets; they are alternatives (their regions may share
events) unless a source says that they are disjoint. An analysis without any model is one region, the most sensitive one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol

import numpy as np

from inference.analysis_models.histfactory import WorkspaceModel
from inference.analysis_models.placed import PlacedModel
from inference.likelihoods.histfactory import HistFactorySettings, compile_workspace
from inference.likelihoods.histfactory.pyhf_backend import PyhfModel
from inference.multibin.settings import Backend, ModelChoice
from inference.types import FloatArray


class ModelKind(StrEnum):
    """Kinds of statistical models, as results name them."""

    FULL = "full"
    """HistFactory workspace."""
    SIMPLIFIED = "simplified"
    """HistFactory workspace with one background and one correlated nuisance."""
    COVARIANCE = "covariance"
    NETWORK = "network"
    REGION = "single_region"


class BuildOptions(NamedTuple):
    """How a model is made.

    Attributes:
        backend: what evaluates workspaces.
        has_signal_errors: whether statistical errors of the signal enter the statistical errors of its bins.
    """

    backend: Backend = Backend.NUMBA
    has_signal_errors: bool = False


class SetModel(NamedTuple):
    """The statistical model of one set of regions, made when it is needed.

    Attributes:
        name: of the set.
        kind: what it is.
        description: in words, with the file.
        build: makes it; raises UnusableModelError or UserFacingError.
        backends: what can evaluate it.
        notes: what to know of it.
    """

    name: str
    kind: ModelKind
    description: str
    build: Callable[[BuildOptions], PlacedModel]
    backends: tuple[Backend, ...] = (Backend.NUMBA,)
    notes: tuple[str, ...] = ()


class Offer(NamedTuple):
    """What there is for a choice of model.

    Attributes:
        sets: models of the sets of regions; empty if there are none.
        are_disjoint: whether the sets share no events.
        reason: why there are none, or what would be better, as sentences without full stops.
    """

    sets: tuple[SetModel, ...]
    are_disjoint: bool = False
    reason: tuple[str, ...] = ()


class ModelSource(Protocol):
    """Finds the models of an analysis."""

    def __call__(self, choice: ModelChoice) -> Offer: ...


@dataclass(frozen=True, eq=False)
class Analysis:
    """One analysis.

    Attributes:
        name: e.g. "CMS-SUS-21-002".
        experiment: ATLAS or CMS.
        sqrts_tev: centre-of-mass energy [TeV].
        lumi_ifb: integrated luminosity [fb⁻¹].
        regions: names of its regions.
        observed, background, errors: counts per region, shape (num_regions,); nan where only a workspace knows.
        origin: where it comes from, in words.
        offer: finds its models.
        is_approximate: whether its numbers are for demonstration only.
        supersedes, superseded_by: related analyses.
        aliases: other names.
    """

    name: str
    experiment: str
    sqrts_tev: float
    lumi_ifb: float
    regions: tuple[str, ...]
    observed: FloatArray
    background: FloatArray
    errors: FloatArray
    origin: str
    offer: ModelSource
    is_approximate: bool = False
    supersedes: tuple[str, ...] = ()
    superseded_by: tuple[str, ...] = ()
    aliases: tuple[str, ...] = field(default=())

    def vector(self, events: Mapping[str, float]) -> FloatArray:
        """Events in the order of the regions, 0 for those not named, shape (num_regions,)."""
        return np.array([events.get(region, 0.0) for region in self.regions], dtype=np.float64)


Counts = tuple[FloatArray, FloatArray, FloatArray]
"""Observed events, background and its uncertainty of all regions, shape (num_regions,) each."""


def simple_workspace(observed: FloatArray, background: FloatArray, errors: FloatArray) -> dict[str, object]:
    """The simplified workspace of counts: one sample per region, one nuisance that moves all of them by their uncertainty.

    As in ATL-PHYS-PUB-2021-038, with the published total background and uncertainty of each region.

    Args:
        observed: observed events per bin of its only channel, shape (num_regions,).
        background: expected background [events].
        errors: its uncertainty [events].
    """
    data = {"hi_data": (background + errors).tolist(), "lo_data": (background - errors).tolist()}
    sample = {"name": "Bkg", "data": background.tolist(), "modifiers": [{"name": "totalError", "type": "histosys", "data": data}]}
    return {
        "channels": [{"name": "SR", "samples": [sample]}],
        "observations": [{"name": "SR", "data": observed.tolist()}],
        "measurements": [{"name": "simplified", "config": {"poi": "mu_SIG", "parameters": []}}],
        "version": "1.0.0",
    }


def simple_set(analysis_regions: tuple[str, ...], name: str, members: tuple[str, ...], counts: Counts) -> SetModel:
    """The simplified model of a set of regions from their counts.

    Args:
        analysis_regions: all regions of the analysis.
        name: of the set.
        members: its regions.
        counts: observed, background and errors of all regions of the analysis.
    """
    rows = np.array([analysis_regions.index(member) for member in members], dtype=np.int32)

    def build(options: BuildOptions) -> PlacedModel:
        spec = simple_workspace(*(values[rows] for values in counts))
        return PlacedModel(compile_for(spec, HistFactorySettings(signal_lumi=False), options.backend), rows)

    description = f"one correlated nuisance on the published background of {len(members)} regions"
    return SetModel(name, ModelKind.SIMPLIFIED, description, build, tuple(Backend))


def compile_for(spec: Mapping[str, object], settings: HistFactorySettings, backend: Backend) -> WorkspaceModel | PyhfModel:
    """A workspace in a backend.

    Raises:
        WorkspaceError: it is not valid.
        MissingBackendError: pyhf, or its backend, is not installed.
    """
    if backend is Backend.NUMBA:
        return WorkspaceModel(compile_workspace(spec, settings=settings))
    return PyhfModel(spec, settings, tensor_backend=backend.value)
