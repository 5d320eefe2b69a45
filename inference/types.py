"""Shared value types of the inference chain: what a prediction is.

`Predictions` is a struct of arrays: one entry per analysis, kind and signal region (or upper-limit cluster) that
the model populates. Score and critics read the same object; nothing is computed twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum, StrEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int32]


class PredictionKind(IntEnum):
    """What a predicted cross section is compared with."""

    UPPER_LIMIT = 0
    """A map of 95 % CL cross-section limits."""
    EFFICIENCY_MAP = 1
    """One signal region with efficiencies."""
    COMBINED = 2
    """All signal regions of an analysis through its statistical model."""


class DataKind(StrEnum):
    """Which data a likelihood or limit refers to."""

    OBSERVED = "observed"
    APRIORI = "apriori"
    """Expected before looking: data := background expectation."""
    APOSTERIORI = "aposteriori"
    """Expected after the background was fitted to the data."""


class Outcome(StrEnum):
    """What physics or numerics made of an evaluation; counted, never silent."""

    OK = "ok"
    NO_PREDICTION = "no_prediction"
    """No published result sees the model."""
    NO_LIKELIHOOD = "no_likelihood"
    """Results see the model, but none of them has a likelihood."""
    FIT_FAILED = "fit_failed"
    NON_FINITE = "non_finite"
    OUTSIDE_DOMAIN = "outside_domain"
    """The signal is outside of what a learned model was trained for."""


class Predictions(NamedTuple):
    """Predictions of one model, struct of arrays of length n.

    Attributes:
        result: index into `store.results`, shape (n,).
        dataset: index into the store's datasets, shape (n,); for COMBINED -1.
        kind: PredictionKind values, shape (n,).
        xsec_fb: theory cross section [fb], shape (n,): Σ σ·BR for upper limits, Σ σ·BR·ε for efficiency maps.
        ul_obs_fb: observed 95 % CL limit [fb], shape (n,); nan where undefined.
        ul_exp_fb: expected 95 % CL limit [fb], shape (n,); nan where not published.
        map_ids: indices of the contributing maps per prediction.
        topology_ids: indices into the model's topologies per prediction.
        pids: positive PDG ids of all BSM particles (mothers, intermediate and final) that contribute, per prediction.
        region_yields: per result index with a statistical model, expected signal events of every data set that
            it combines (the first ones of the result, order of the store), shape (num_combined,).
        condition_violation: largest violation of a published condition, shape (n,); 0 where there is none.
    """

    result: IntArray
    dataset: IntArray
    kind: NDArray[np.int8]
    xsec_fb: FloatArray
    ul_obs_fb: FloatArray
    ul_exp_fb: FloatArray
    map_ids: Sequence[tuple[int, ...]]
    topology_ids: Sequence[tuple[int, ...]]
    pids: Sequence[frozenset[int]]
    region_yields: Mapping[int, FloatArray]
    condition_violation: FloatArray
