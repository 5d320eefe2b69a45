"""What is stored before step 1, and what a resumed campaign may change."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

from configs.schema import ResultsSettings, RunConfig, dump_config
from database.campaigns.records import CampaignRecord, NewCampaign
from database.errors import CampaignError
from services.campaign.batches import WorkerSpec
from services.campaign.selection import combine_as_configured, select_results
from services.stores import open_results

CHAIN_FACTORY = "services.campaign.chain:build_chain"

FREE_KEYS = (
    "campaign.name",
    "campaign.num_workers",
    "campaign.checkpoint_every_steps",
    "campaign.checkpoint_every_s",
    "campaign.max_worker_deaths",
    "campaign.batch_timeout_s",
    "campaign.database",
    "results.store",
)
"""Keys without influence on a chain; `results.store` because it says where the results are, not what they hold."""

UPWARD_KEYS = ("campaign.num_steps",)
"""Keys that may grow: the chains are continued."""

PACKAGES = ("numpy", "scipy", "numba")


class ResultsInUse(NamedTuple):
    """The published results of a campaign, as they are recorded."""

    store_path: Path
    results_hash: str
    combinability_hash: str
    label: str
    is_approximate: bool


def inspect_results(settings: ResultsSettings) -> ResultsInUse:
    """Opens the results once, to check the selection and to record what they are.

    Raises:
        StoreError: the store is missing or incompatible.
        ConfigError: the selection names what the results do not hold.
    """
    store = open_results(settings.store)
    select_results(store, settings)
    label = f"SModelS {store.text_version}, {len(store.results)} results"
    return ResultsInUse(
        store_path=store.path,
        # the same texts triangulated with other linear-algebra kernels give other numbers on regular grids
        results_hash=hashlib.sha256(f"{store.content_hash} {store.kernel}".encode()).hexdigest(),
        combinability_hash=combine_as_configured(store, settings).content_hash,
        label=f"embedded excerpt (approximate: for demonstration and tests), {len(store.results)} results"
        if store.is_approximate
        else label,
        is_approximate=store.is_approximate,
    )


def project_version() -> str:
    """Version of this project, "unknown" in a tree that is not installed."""
    try:
        return version("protomodels")
    except PackageNotFoundError:
        return "unknown"


def collect_versions() -> dict[str, str]:
    """Versions of what computes the numbers."""
    return {"protomodels": project_version(), "python": platform.python_version()} | {name: version(name) for name in PACKAGES}


def plan_campaign(config: RunConfig, results: ResultsInUse) -> NewCampaign:
    """Everything that is stored before step 1."""
    return NewCampaign(
        name=config.campaign.name,
        seed=config.campaign.seed,
        config=dump_config(config),
        num_walkers=config.campaign.num_walkers,
        num_steps=config.campaign.num_steps,
        keep_hiscores=config.campaign.keep_hiscores,
        versions=collect_versions(),
        results_hash=results.results_hash,
        combinability_hash=results.combinability_hash,
        results_label=results.label,
        is_approximate=results.is_approximate,
    )


def plan_workers(config: RunConfig, results: ResultsInUse, factory: str = CHAIN_FACTORY) -> WorkerSpec:
    """What every worker needs to build its chain."""
    resolved = dump_config(config)
    return WorkerSpec(
        factory=factory,
        arguments={"store_path": str(results.store_path)} | {section: resolved[section] for section in ("results", "evaluation", "walk")},
        seed=config.campaign.seed,
        keep_hiscores=config.campaign.keep_hiscores,
    )


def flatten(data: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dicts as dotted keys.

    Examples:
        >>> flatten({"a": {"b": 1, "c": {"d": [2]}}})
        {'a.b': 1, 'a.c.d': [2]}
    """
    flat: dict[str, Any] = {}
    for key, value in data.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) and value else {f"{prefix}{key}": value}
    return flat


def check_resumable(campaign: CampaignRecord, config: RunConfig, results: ResultsInUse) -> None:
    """Refuses to continue a campaign under conditions that would make another campaign of it.

    Args:
        campaign: as stored.
        config: the configuration to continue with.
        results: the results to continue with.

    Raises:
        CampaignError: the sentence names what differs, and which keys may change.
    """
    where = f"campaign {campaign.campaign_id} cannot be resumed"
    before, after = flatten(campaign.config), flatten(dump_config(config))
    # Sorted text, because a key that is nan differs from itself.
    differing = sorted(key for key in before.keys() | after.keys() if repr(before.get(key)) != repr(after.get(key)))
    refused = [key for key in differing if key not in FREE_KEYS and key not in UPWARD_KEYS]
    if refused:
        changes = ", ".join(f"{key} was {before.get(key)!r} and is {after.get(key)!r}" for key in refused[:5])
        more = f" and {len(refused) - 5} more" if len(refused) > 5 else ""
        raise CampaignError(
            f"{where}: {changes}{more}; only these may change: {', '.join(FREE_KEYS)}, and upwards {', '.join(UPWARD_KEYS)}"
        )
    for key in UPWARD_KEYS:
        if after[key] < before[key]:
            raise CampaignError(f"{where}: {key} was {before[key]} and can only grow, not become {after[key]}")
    if campaign.results_hash != results.results_hash:
        raise CampaignError(
            f"{where}: it ran on results with hash {campaign.results_hash[:12]} ({campaign.results_label}), "
            f"these have {results.results_hash[:12]} ({results.label})"
        )
    if campaign.combinability_hash != results.combinability_hash:
        raise CampaignError(
            f"{where}: the facts on which analyses may be combined have changed "
            f"({campaign.combinability_hash[:12]} then, {results.combinability_hash[:12]} now)"
        )


def changed_versions(campaign: CampaignRecord) -> dict[str, tuple[str, str]]:
    """Packages whose version differs from the stored one, with both; numbers may differ in the last digits then."""
    now = collect_versions()
    return {
        name: (campaign.versions.get(name, "none"), now.get(name, "none"))
        for name in sorted(campaign.versions.keys() | now.keys())
        if campaign.versions.get(name) != now.get(name)
    }
