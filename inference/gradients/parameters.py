"""The continuous parameters of a model, and how its spectrum depends on them.

Walk: protomodel ──▶ **parameters** ──▶ weights ──▶ predictions ──▶ score. A gradient is an array with one column per parameter:
masses [1/GeV], then signal strength multipliers κ, then branching ratios as free parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from inference.spectrum import PidPair
from inference.types import FloatArray

Channel = tuple[int, tuple[int, ...]]
"""Positive pid of the mother, signed daughter pids."""


@dataclass(frozen=True)
class Parameters:
    """Columns of every gradient, in this order.

    Attributes:
        masses: positive PDG ids, masses in GeV.
        ssms: sorted pairs of signed PDG ids, κ of each.
        branching_ratios: mother and channel of each branching ratio.
    """

    masses: tuple[int, ...]
    ssms: tuple[PidPair, ...]
    branching_ratios: tuple[Channel, ...]

    @property
    def size(self) -> int:
        """Number of parameters."""
        return len(self.masses) + len(self.ssms) + len(self.branching_ratios)

    @property
    def mass_columns(self) -> slice:
        """Columns of the masses."""
        return slice(0, len(self.masses))

    @property
    def ssm_columns(self) -> slice:
        """Columns of the signal strength multipliers."""
        return slice(len(self.masses), len(self.masses) + len(self.ssms))

    @property
    def branching_ratio_columns(self) -> slice:
        """Columns of the branching ratios."""
        return slice(len(self.masses) + len(self.ssms), self.size)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Name per column, e.g. "mass(1000006)", "ssm(-1000006,1000006)", "br(1000006>6,1000022)"."""
        return (
            *(f"mass({pid})" for pid in self.masses),
            *(f"ssm({first},{second})" for first, second in self.ssms),
            *(f"br({pid}>{','.join(map(str, daughters))})" for pid, daughters in self.branching_ratios),
        )

    def project(self, gradient: FloatArray) -> FloatArray:
        """Part of gradients along Σ BR = 1: per mother, the mean over its channels is taken off.

        Args:
            gradient: shape (..., size).

        Returns:
            Same shape; masses and multipliers as they were. A mother with a single channel has nothing to vary: 0.

        Examples:
            >>> parameters = Parameters((), (), ((1000006, (6, 1000022)), (1000006, (5, 1000024))))
            >>> parameters.project(np.array([3.0, 1.0]))
            array([ 1., -1.])
        """
        projected = np.array(gradient, dtype=np.float64)
        first = self.branching_ratio_columns.start
        mothers = np.array([pid for pid, _ in self.branching_ratios], dtype=np.int64)
        for mother in dict.fromkeys(mothers.tolist()):
            columns = first + np.flatnonzero(mothers == mother)
            projected[..., columns] -= projected[..., columns].mean(axis=-1, keepdims=True)
        return projected


class PairSlopes(NamedTuple):
    """How the cross section σ = κ σ_ref(m̄) of one pair depends on the parameters.

    Attributes:
        ssm_column: column of κ, -1 if the cross section is given explicitly.
        inverse_ssm: 1/κ.
        mass_columns: columns of the masses of both particles, which may be the same.
        log_slopes: ½ d ln σ_ref/d m̄ [1/GeV] at 8 and 13 TeV, per particle.
    """

    ssm_column: int
    inverse_ssm: float
    mass_columns: tuple[int, int]
    log_slopes: tuple[float, float]


class SpectrumSlopes(NamedTuple):
    """How a spectrum depends on the parameters of its model.

    Attributes:
        parameters: the columns.
        pairs: per produced pair.
        channels: column and 1/BR per decay of the spectrum; both charge modes of a channel have the same.
    """

    parameters: Parameters
    pairs: Mapping[PidPair, PairSlopes]
    channels: Mapping[Channel, tuple[int, float]]
