"""What counts as Asimov data: the data set in which the background-only fit of the analysis is exactly true.

The counts are those of the fit. Its nuisances have pulls θ̂, and the measurements that constrain them are data too:

- moved: the auxiliary data move to θ̂, so that all estimators find the fitted values again. This is the definition of arXiv:1007.1727
  (section 3.2), and what HistFactory codes do.
- centred: they stay where the analysis puts them. This is what codes for simplified likelihoods do (SModelS, spey); limits differ by a
  few per cent, more where pulls are large.
- published: each format as its own reference code does: HistFactory moved, all others centred.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol, runtime_checkable

from inference.likelihoods.protocol import Likelihood


class AsimovConvention(StrEnum):
    """Where the auxiliary data of Asimov data are; see the module."""

    PUBLISHED = "published"
    CENTRED = "centred"
    MOVED = "moved"


@runtime_checkable
class PublishedAsimov(Protocol):
    """Something that can provide its Asimov data."""

    def asimov(self) -> Likelihood:
        """The same signal with the expected data of the background-only fit, in the published convention."""


class LimitableLikelihood(Likelihood, PublishedAsimov, Protocol):
    """A likelihood that can provide its Asimov data."""


@runtime_checkable
class SelectableAsimov(Protocol):
    """A likelihood that knows more than one convention."""

    def asimov_with(self, is_moved: bool) -> Likelihood:
        """The same signal with the expected data of the background-only fit, auxiliary data moved to it or centred."""


@runtime_checkable
class SignedStrength(Protocol):
    """A likelihood that is defined for negative signal strengths too."""

    @property
    def mu_min(self) -> float:
        """Smallest signal strength at which no expectation is negative; <= 0."""


def build_asimov(likelihood: Likelihood, convention: AsimovConvention) -> Likelihood:
    """The Asimov data of a likelihood in a convention.

    Raises:
        TypeError: the likelihood has no Asimov data in this convention.
    """
    if convention is AsimovConvention.PUBLISHED and isinstance(likelihood, PublishedAsimov):
        return likelihood.asimov()
    if convention is not AsimovConvention.PUBLISHED and isinstance(likelihood, SelectableAsimov):
        return likelihood.asimov_with(convention is AsimovConvention.MOVED)
    raise TypeError(f"{type(likelihood).__name__} has no Asimov data in the {convention.value} convention")


def lowest_strength(likelihood: Likelihood) -> float:
    """Smallest signal strength that a likelihood is defined for; 0 where it does not say."""
    return likelihood.mu_min if isinstance(likelihood, SignedStrength) else 0.0
