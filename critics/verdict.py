"""What a critic says of a model."""

from __future__ import annotations

from typing import NamedTuple


class Verdict(NamedTuple):
    """Judgement of one critic, or of the panel, on the predictions of one model.

    Attributes:
        is_excluded: whether the model is vetoed (log density -inf). The v1 critic never vetoes, it caps μ.
        mu_max: largest allowed signal strength; inf where nothing constrains the model.
        r_obs: largest observed σ/σ_UL among the predictions that count; nan where there is none.
        r_exp: expected σ/σ_UL of the same prediction; nan where not published.
        reason: one sentence: which critic, which analysis, which numbers.
        num_undefined: predictions whose r could not be computed; they neither exclude nor admit.
    """

    is_excluded: bool
    mu_max: float
    r_obs: float
    r_exp: float
    reason: str
    num_undefined: int = 0
