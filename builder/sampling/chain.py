"""The state of one chain: where it stands, how wide it steps, what became of its proposals.

Walk: kernel ──▶ **chain** ──▶ tempering, checkpoint. Everything a step depends on is in here (the random numbers are keyed by its
number), so that a chain that is stored and restored goes on bit by bit as if it had not been.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from builder.sampling.likelihood import Weight
from builder.sampling.state import SamplerState
from database.errors import ModelFormatError
from inference.types import Outcome

CHAIN_FORMAT = 1


class Decision(StrEnum):
    """How a step ended."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    """The acceptance probability was below the Metropolis number."""
    IMPOSSIBLE = "impossible"
    """The move has nothing to do in this state."""
    FORBIDDEN = "forbidden"
    """The prior density of the proposal is zero."""
    EXCLUDED = "excluded"
    """A critic vetoed the proposal."""
    UNEVALUABLE = "unevaluable"
    """A fit failed: the proposal has no likelihood."""


@dataclass(frozen=True, slots=True)
class ChainState:
    """One chain between two steps.

    Attributes:
        state: where it stands.
        log_prior: ln of the prior density there.
        weight: the likelihood there; None where nobody has asked for it (chains at β = 0).
        step: steps done.
        scales: width of the steps per move that has one; they change during burn-in only.
        tallies: (tried, accepted) per move, since the end of burn-in (during it: since the start).
        decisions: steps per decision, counted likewise.
        failures: failed numerical evaluations per analysis id, since the start.
    """

    state: SamplerState
    log_prior: float
    weight: Weight | None
    step: int
    scales: Mapping[str, float]
    tallies: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    decisions: Mapping[Decision, int] = field(default_factory=dict)
    failures: Mapping[str, int] = field(default_factory=dict)

    @property
    def log_likelihood(self) -> float:
        """Return ln L(M)/L(SM); nan where it is not known."""
        return math.nan if self.weight is None else self.weight.log_likelihood

    def to_json(self) -> dict[str, Any]:
        """Return the chain as a JSON object; floats are exact, a likelihood of zero becomes null."""
        weight = self.weight
        return {
            "format": CHAIN_FORMAT,
            "state": self.state.to_json(),
            "log_prior": self.log_prior,
            "weight": None
            if weight is None
            else {
                "log_likelihood": weight.log_likelihood if weight.log_likelihood > -math.inf else None,
                "outcome": weight.outcome.value,
                "is_excluded": weight.is_excluded,
                "failures": dict(weight.failures),
            },
            "step": self.step,
            "scales": dict(self.scales),
            "tallies": {name: list(tally) for name, tally in self.tallies.items()},
            "decisions": {decision.value: count for decision, count in self.decisions.items()},
            "failures": dict(self.failures),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> ChainState:
        """Return the chain of a JSON object.

        Raises:
            ModelFormatError: the object is of another version, or a field is missing or not valid.
        """
        if not isinstance(document, Mapping) or document.get("format") != CHAIN_FORMAT:
            raise ModelFormatError(f"sampler chain: this release reads format {CHAIN_FORMAT}.")
        try:
            return cls(
                state=SamplerState.from_json(document["state"]),
                log_prior=float(document["log_prior"]),
                weight=_weight_from_json(document["weight"]),
                step=int(document["step"]),
                scales={str(name): float(scale) for name, scale in document["scales"].items()},
                tallies={str(name): (int(tried), int(accepted)) for name, (tried, accepted) in document["tallies"].items()},
                decisions={Decision(name): int(count) for name, count in document["decisions"].items()},
                failures={str(name): int(count) for name, count in document["failures"].items()},
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ModelFormatError(f"sampler chain: {type(error).__name__} {error}.") from error


def _weight_from_json(document: Mapping[str, Any] | None) -> Weight | None:
    if document is None:
        return None
    value = document["log_likelihood"]
    return Weight(
        log_likelihood=-math.inf if value is None else float(value),
        outcome=Outcome(document["outcome"]),
        is_excluded=bool(document["is_excluded"]),
        failures={str(name): int(count) for name, count in document["failures"].items()},
    )
