"""The configuration of a campaign: every key, its default, meaning and unit."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from builder.evaluate import EvaluationSettings
from builder.sampling.settings import SamplingSettings
from builder.walk import WalkSettings
from configs.loading import parse_settings, read_config_file, set_key
from database.results.combinability import Override
from database.results.store import EMBEDDED


class CampaignSettings(BaseModel):
    """How many walkers, how long, on what, and where it is stored."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field("campaign", min_length=1, max_length=200, description="how reports call it; need not be unique")
    seed: int = Field(1, ge=0, lt=2**63, description="the one seed of the campaign; walker number and step complete the key of each draw")
    num_walkers: int = Field(8, ge=1, description="independent chains")
    num_steps: int = Field(500, ge=1, description="steps of each chain")
    num_workers: int | None = Field(
        None, ge=0, description="worker processes that share the walkers; none: one per core; 0: no Ray, all in this process"
    )
    checkpoint_every_steps: int = Field(20, ge=1, description="a walker's steps are stored in batches of at most this many")
    checkpoint_every_s: float = Field(5.0, gt=0, description="... and at most this long [s]; a killed worker loses no more")
    max_worker_deaths: int = Field(3, ge=0, description="a walker whose worker died more often than this at one place is given up")
    batch_timeout_s: float = Field(1800.0, gt=0, description="a worker that stores nothing for this long is replaced [s]")
    keep_hiscores: int = Field(10, ge=1, description="length of the hiscore list; each particle content is listed once, by its best model")
    database: str | None = Field(
        None, description="SQLAlchemy URL or SQLite file; none: $PROTOMODELS_DATABASE, else protomodels.db in the working directory"
    )


class ResultsSettings(BaseModel):
    """Which published results the models are compared with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    store: str = Field(
        EMBEDDED, min_length=1, description="embedded: the excerpt for demonstration; default: the imported database; else a store's path"
    )
    select_analyses: tuple[str, ...] = Field(
        (), description="only these analyses, e.g. CMS-SUS-19-006; with :ul or :em only its limits or its efficiency maps; empty: all"
    )
    exclude_analyses: tuple[str, ...] = Field((), description="all but these analyses; :ul and :em as above")
    select_txnames: tuple[str, ...] = Field((), description="only maps of these simplified topologies, e.g. T2tt; empty: all")
    exclude_txnames: tuple[str, ...] = Field((), description="all but maps of these simplified topologies")
    exclude_superseded: bool = Field(
        False,
        description="leave out analyses that others of these results replace (`protomodels results info` says which); false: they stay",
    )
    combine: tuple[tuple[str, str], ...] = Field(
        (), description="pairs of analyses that share no events, whatever the packaged facts say, e.g. [CMS-EXO-20-004, CMS-SUS-20-004]"
    )
    never_combine: tuple[tuple[str, str], ...] = Field((), description="pairs of analyses that are never combined")

    trust_one_sided: bool = Field(
        True, description="whether pairs of analyses are combined that the source lists under one of the two only (`combinability list`)"
    )

    def overrides(self) -> tuple[Override, ...]:
        """The user's decisions on combinability."""
        return (
            *(Override(first, second, True, "results.combine") for first, second in self.combine),
            *(Override(first, second, False, "results.never_combine") for first, second in self.never_combine),
        )


class RunConfig(BaseModel):
    """A whole campaign; stored, every default filled in, before its first step."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    campaign: CampaignSettings = Field(default_factory=CampaignSettings, description="walkers, steps, workers, storage")
    results: ResultsSettings = Field(default_factory=ResultsSettings, description="published results")
    evaluation: EvaluationSettings = Field(default_factory=EvaluationSettings, description="predictions, score, critics")
    walk: WalkSettings = Field(default_factory=WalkSettings, description="moves and acceptance")

    @model_validator(mode="after")
    def _check_susy_like(self) -> Self:
        if self.walk.pool.susy_like and not self.evaluation.score.fixed_strength:
            raise ValueError("walk.pool.susy_like needs evaluation.score.fixed_strength: with a free μ no multiplier would stay 1")
        return self

    sampling: SamplingSettings = Field(
        default_factory=SamplingSettings, description="`protomodels sample`: reversible jump on prior times likelihood"
    )


def load_config(name: str | Path, overrides: Mapping[str, Any] | None = None) -> RunConfig:
    """The configuration in a YAML file, or a packaged one by its name.

    Args:
        name: path of a file, or "demo", "quickstart", "production".
        overrides: values by dotted key, e.g. {"campaign.seed": 7}; None values are left out.

    Raises:
        ConfigError: the file is missing or not YAML, or a key is unknown or ill-typed: one sentence that names it.
    """
    data, source = read_config_file(name)
    for key, value in (overrides or {}).items():
        if value is not None:
            set_key(data, key, value)
    return parse_settings(RunConfig, data, source)


def restore_config(stored: Mapping[str, Any], overrides: Mapping[str, Any] | None = None) -> RunConfig:
    """The configuration that was stored with a campaign, with some keys replaced.

    Raises:
        ConfigError: this release does not know a stored key, or an override is ill-typed.
    """
    data: dict[str, Any] = copy.deepcopy(dict(stored))
    for key, value in (overrides or {}).items():
        if value is not None:
            set_key(data, key, value)
    return parse_settings(RunConfig, data, "stored configuration")


def dump_config(config: RunConfig) -> dict[str, Any]:
    """The configuration as JSON values, every default filled in."""
    return config.model_dump(mode="json")
