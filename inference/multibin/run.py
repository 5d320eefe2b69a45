"""All analyses of all signals: yields in, results out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from database.results.combinability import Override
from database.results.store import ResultsStore
from inference.multibin.book import AnalysisBook
from inference.multibin.combination import BestCombination, combinability_of, find_best_combination
from inference.multibin.deadline import FitClock
from inference.multibin.evaluate import Evaluated, evaluate_analysis
from inference.multibin.limit_values import LimitOutcome, LimitValues, Verdict, compute_limits
from inference.multibin.results import (
    FORMAT,
    VERSION,
    AnalysisRecord,
    CombinationRecord,
    InputRecord,
    LeftOutRecord,
    ModelRecord,
    ResultsFile,
    ResultsRecord,
    SetRecord,
    SourcesRecord,
    limit_record,
    number_or_none,
)
from inference.multibin.settings import MultibinSettings
from inference.multibin.yields import AnalysisYields

FAILED = frozenset({LimitOutcome.FIT_FAILED, LimitOutcome.TIMED_OUT})
Progress = Callable[[str], None]


class SignalInput(NamedTuple):
    """One signal.

    Attributes:
        name: what it is called in results.
        yields: expected events by analysis.
    """

    name: str
    yields: Mapping[str, AnalysisYields]


class SignalResult(NamedTuple):
    """What became of one signal.

    Attributes:
        record: as it is stored.
        evaluated: likelihoods, in the order of the record's analyses.
        combination: the most sensitive one; None without any likelihood.
    """

    record: InputRecord
    evaluated: tuple[Evaluated, ...]
    combination: BestCombination | None


def run_signal(
    signal: SignalInput,
    book: AnalysisBook,
    settings: MultibinSettings,
    overrides: Sequence[Override] = (),
    progress: Progress | None = None,
) -> SignalResult:
    """Limits of one signal in all analyses that its yields name, and in their most sensitive combination.

    Args:
        signal: the yields.
        book: finds analyses.
        settings: models, quantities, conventions.
        overrides: decisions of the user about pairs of analyses.
        progress: called with the name of each analysis before it is evaluated.

    Raises:
        LimitsError: an analysis or region is not known.
    """
    pairs = [(book.find(name), yields) for name, yields in signal.yields.items()]
    evaluated, records = [], []
    for analysis, yields in pairs:
        if progress is not None:
            progress(analysis.name)
        entry = evaluate_analysis(analysis, yields, settings)
        values = LimitValues(outcome=entry.outcome, reason=entry.reason)
        if entry.observed is not None and entry.apriori is not None:
            values = compute_limits(entry.observed, entry.apriori, settings, entry.clock)
        if entry.clock.is_over:
            entry = replace(entry, observed=None, apriori=None)
        evaluated.append(entry)
        records.append(_analysis_record(entry, values, settings))
    matrix = combinability_of([analysis for analysis, _ in pairs], overrides)
    best = find_best_combination(evaluated, matrix, settings)
    combination = None if best is None else _combination_record(best, evaluated, records, settings)
    record = InputRecord(
        name=signal.name,
        yields=dict(signal.yields),
        analyses=tuple(records),
        combination=combination,
        verdict=Verdict.UNDECIDED if combination is None else combination.limits.verdict,
        num_failed=sum(entry.limits.outcome in FAILED for entry in records),
    )
    return SignalResult(record, tuple(evaluated), best)


def collect_results(results: Sequence[SignalResult], settings: MultibinSettings, sources: SourcesRecord) -> ResultsFile:
    """Results of several signals as they are stored."""
    return ResultsFile(
        format=FORMAT, version=VERSION, settings=settings, sources=sources, inputs=tuple(result.record for result in results)
    )


def describe_store(store: ResultsStore) -> ResultsRecord:
    """Which compiled results were used."""
    return ResultsRecord(text_version=store.text_version, content_hash=store.content_hash)


def _analysis_record(entry: Evaluated, values: LimitValues, settings: MultibinSettings) -> AnalysisRecord:
    analysis = entry.analysis
    model = None
    if entry.kind is not None:
        model = ModelRecord(kind=entry.kind.value, description=entry.description, set=entry.set_name, backend=entry.backend.value)
    return AnalysisRecord(
        analysis=analysis.name,
        experiment=analysis.experiment,
        sqrts_tev=analysis.sqrts_tev,
        lumi_ifb=number_or_none(analysis.lumi_ifb),
        origin=analysis.origin,
        is_approximate=analysis.is_approximate,
        num_signal_events=math.fsum(entry.events.tolist()),
        model=model,
        sets=tuple(
            SetRecord(
                set=trial.name,
                description=trial.description,
                num_regions=trial.num_regions,
                mu_ul_apriori=number_or_none(trial.mu_ul_apriori),
                is_used=trial.is_used,
                problem=trial.problem,
            )
            for trial in entry.trials
        ),
        limits=limit_record(values, settings.confidence_level),
        num_timeouts=entry.clock.num_timeouts,
        notes=tuple(dict.fromkeys(entry.notes)),
    )


def _combination_record(
    best: BestCombination, evaluated: Sequence[Evaluated], records: Sequence[AnalysisRecord], settings: MultibinSettings
) -> CombinationRecord:
    if len(best.members) == 1:
        limits = records[best.members[0]].limits
    else:
        values = compute_limits(best.observed, best.apriori, settings, FitClock(None))
        late = [evaluated[k].analysis.name for k in best.members if evaluated[k].clock.is_over]
        if late:
            values = values._replace(outcome=LimitOutcome.TIMED_OUT, reason=f"a fit of {late[0]} took longer than {settings.timeout_s:g} s")
        limits = limit_record(values, settings.confidence_level)
    return CombinationRecord(
        members=tuple(evaluated[k].analysis.name for k in best.members),
        mu_ul_apriori=number_or_none(best.mu_ul_apriori),
        limits=limits,
        left_out=tuple(LeftOutRecord(analysis=entry.analysis, reason=entry.reason) for entry in best.left_out),
    )
