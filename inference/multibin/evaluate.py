"""One analysis and one signal: which statistical model speaks, its limits, and what went wrong.

Of several sets of regions the one with the smallest limit expected before looking at the data speaks (data := nominal background), decided
by the built-in kernels whatever the backend; sets that share no events are multiplied instead. Where regions cannot be combined, the
region with the smallest expected limit stands for the analysis. Every outcome has a name and a reason; a failure is no verdict.
"""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from database.errors import UserFacingError
from inference.analysis_models.histfactory import WorkspaceModel
from inference.analysis_models.placed import PlacedModel, UnusableModelError
from inference.likelihoods.histfactory import HistFactoryLikelihood
from inference.likelihoods.learned import LearnedModel
from inference.likelihoods.product import ProductLikelihood
from inference.likelihoods.protocol import Likelihood
from inference.likelihoods.single_region import SingleRegionLikelihood
from inference.limits import AsimovConvention, LimitableLikelihood, find_upper_limit
from inference.limits.conventions import SelectableAsimov
from inference.multibin.analyses import Analysis, BuildOptions, ModelKind, SetModel
from inference.multibin.deadline import FitClock, TimedLikelihood
from inference.multibin.limit_values import LimitOutcome
from inference.multibin.settings import Backend, LimitsError, ModelChoice, MultibinSettings
from inference.multibin.uncertain import UncertainStrengthLikelihood
from inference.multibin.yields import AnalysisYields
from inference.types import DataKind, FloatArray


class SetTrial(NamedTuple):
    """One set of regions, before one of them is chosen.

    Attributes:
        name: of the set.
        description: its model, in words.
        num_regions: regions that see the signal.
        mu_ul_apriori: limit expected before looking; nan without one.
        is_used: whether it speaks.
        problem: why it does not enter; "" if it does.
    """

    name: str
    description: str
    num_regions: int
    mu_ul_apriori: float = math.nan
    is_used: bool = False
    problem: str = ""


@dataclass(frozen=True)
class Evaluated:
    """One analysis and one signal.

    Attributes:
        analysis: what is known of it.
        events: signal per region [events], shape (num_regions,).
        kind: kind of its statistical model, None without one.
        description: its model in words.
        set_name: set or region that speaks.
        backend: what evaluates it.
        trials: all sets.
        outcome, reason: OK, or why there is no likelihood.
        notes: what to know.
        observed: likelihood of the data; None without one.
        apriori: likelihood of the data expected before looking.
        clock: counts fits that took too long.
    """

    analysis: Analysis
    events: FloatArray
    kind: ModelKind | None = None
    description: str = ""
    set_name: str = ""
    backend: Backend = Backend.NUMBA
    trials: tuple[SetTrial, ...] = ()
    outcome: LimitOutcome = LimitOutcome.OK
    reason: str = ""
    notes: tuple[str, ...] = ()
    observed: LimitableLikelihood | None = None
    apriori: LimitableLikelihood | None = None
    clock: FitClock = field(default_factory=lambda: FitClock(None))


def evaluate_analysis(analysis: Analysis, yields: AnalysisYields, settings: MultibinSettings) -> Evaluated:
    """The likelihood that stands for an analysis.

    Args:
        analysis: what is known of it.
        yields: signal per region.
        settings: which model, which backend.

    Raises:
        LimitsError: the yields name a region that the analysis does not have.
    """
    check_regions(analysis, yields)
    events = analysis.vector({name: entry.events for name, entry in yields.regions.items()})
    clock = FitClock(settings.timeout_s)
    base = Evaluated(analysis, events, clock=clock)
    if not events.any():
        return replace(base, outcome=LimitOutcome.NO_SIGNAL, reason="no signal is expected in its regions")
    offer = analysis.offer(settings.model)
    if not offer.sets:
        if settings.model is ModelChoice.SURROGATE:
            return replace(base, outcome=LimitOutcome.NO_MODEL, reason="; ".join(offer.reason))
        return _best_region(base, yields, offer.reason)
    return _choose(base, yields, settings, offer.sets, offer.are_disjoint, offer.reason)


def check_regions(analysis: Analysis, yields: AnalysisYields) -> None:
    """Whether an analysis has all regions that the yields name.

    Raises:
        LimitsError: it has not; names the region and the nearest name.
    """
    for region in yields.regions:
        if region not in analysis.regions:
            close = difflib.get_close_matches(region, analysis.regions, n=1)
            hint = (
                f"; did you mean {close[0]}?"
                if close
                else f"; it has {', '.join(analysis.regions[:6])}{', …' * (len(analysis.regions) > 6)}"
            )
            raise LimitsError(f"analyses[{analysis.name}][regions][{region}]: {analysis.name} has no such region{hint}")


# -------------------------------------------------------------------------------------------------------- region sets


class _Candidate(NamedTuple):
    trial: SetTrial
    entry: SetModel
    placed: PlacedModel


def _choose(
    base: Evaluated,
    yields: AnalysisYields,
    settings: MultibinSettings,
    sets: tuple[SetModel, ...],
    are_disjoint: bool,
    reason: tuple[str, ...],
) -> Evaluated:
    has_errors = any(entry.uncertainty for entry in yields.regions.values())
    trials: list[SetTrial] = []
    candidates: list[_Candidate] = []
    for entry in sets:
        takes_errors = has_errors and entry.kind is ModelKind.FULL and settings.backend is Backend.NUMBA
        placed = _build(entry, BuildOptions(Backend.NUMBA, takes_errors))
        if isinstance(placed, str):
            trials.append(SetTrial(entry.name, entry.description, 0, problem=placed))
            continue
        seen = placed.columns[placed.columns >= 0]
        trial = SetTrial(entry.name, entry.description, int(np.count_nonzero(base.events[seen])))
        if trial.num_regions == 0:
            trials.append(trial._replace(problem="no signal is expected in it"))
            continue
        candidates.append(_Candidate(trial, entry, placed))
    if not candidates:
        problems = "; ".join(f"{trial.description}: {trial.problem}" for trial in trials)
        if all(trial.problem.startswith("no signal") for trial in trials):
            return replace(
                base, trials=tuple(trials), outcome=LimitOutcome.NO_SIGNAL, reason="no signal is expected in the regions of its model"
            )
        return replace(base, trials=tuple(trials), outcome=LimitOutcome.NO_MODEL, reason=problems)
    chosen = candidates
    if len(candidates) > 1 and not are_disjoint:
        candidates = [candidate._replace(trial=_with_expected(base, yields, candidate, settings)) for candidate in candidates]
        best = min(candidates, key=lambda c: c.trial.mu_ul_apriori if math.isfinite(c.trial.mu_ul_apriori) else math.inf)
        chosen = [best]
    used = {id(candidate.entry) for candidate in chosen}
    trials += [candidate.trial._replace(is_used=id(candidate.entry) in used) for candidate in candidates]
    return _speak(base, yields, settings, chosen, tuple(trials), reason)


def _with_expected(base: Evaluated, yields: AnalysisYields, candidate: _Candidate, settings: MultibinSettings) -> SetTrial:
    likelihood = _likelihood(base, yields, candidate.placed, DataKind.APRIORI, FitClock(settings.timeout_s))
    return candidate.trial._replace(mu_ul_apriori=find_upper_limit(likelihood, settings=settings.limit_settings).mu_ul)


def _speak(
    base: Evaluated,
    yields: AnalysisYields,
    settings: MultibinSettings,
    chosen: list[_Candidate],
    trials: tuple[SetTrial, ...],
    reason: tuple[str, ...],
) -> Evaluated:
    notes = [*reason, *(note for candidate in chosen for note in candidate.entry.notes)]
    observed, apriori = [], []
    entries = [candidate.entry for candidate in chosen]
    backend = Backend.NUMBA
    takes_errors = False
    for candidate in chosen:
        placed = candidate.placed
        if settings.backend is not Backend.NUMBA:
            if settings.backend in candidate.entry.backends:
                backend = settings.backend
                made = _build(candidate.entry, BuildOptions(backend))
                if isinstance(made, str):
                    return replace(base, trials=trials, outcome=LimitOutcome.NO_MODEL, reason=made)
                placed = made
            else:
                notes.append(
                    f"{candidate.entry.kind.value} models are evaluated by the built-in kernels; {settings.backend.value} has none"
                )
        notes += _error_of(placed)
        takes_errors |= isinstance(placed.model, WorkspaceModel) and placed.model.compiled.settings.has_signal_staterror
        observed.append(_likelihood(base, yields, placed, DataKind.OBSERVED, base.clock))
        apriori.append(_likelihood(base, yields, placed, DataKind.APRIORI, base.clock))
    if any(entry.uncertainty for entry in yields.regions.values()) and not takes_errors:
        notes.append("the statistical uncertainties of the yields are not used by this model")
    if settings.asimov is not AsimovConvention.PUBLISHED and not all(_has_conventions(likelihood.inner) for likelihood in observed):
        text = f"{entries[0].description}: its Asimov data are known in the published convention only"
        return replace(base, trials=trials, outcome=LimitOutcome.NO_MODEL, reason=text)
    if base.clock.is_over:
        return replace(base, trials=trials, outcome=LimitOutcome.TIMED_OUT, reason=f"a fit took longer than {base.clock.seconds:g} s")
    return replace(
        base,
        kind=entries[0].kind,
        description="; ".join(entry.description for entry in entries),
        set_name=", ".join(filter(None, (entry.name for entry in entries))),
        backend=backend,
        trials=trials,
        notes=tuple(notes),
        observed=observed[0] if len(observed) == 1 else ProductLikelihood(observed),
        apriori=apriori[0] if len(apriori) == 1 else ProductLikelihood(apriori),
    )


def _error_of(placed: PlacedModel) -> list[str]:
    """What a learned model says of its own error."""
    if not isinstance(placed.model, LearnedModel):
        return []
    error = placed.model.layout.origin.get("error")
    if not isinstance(error, dict) or not {"median", "percentile_95"} <= error.keys():
        return ["the error of the learned model is not stated"]
    return [f"error of -ln L of the learned model: median {error['median']:.3g}, 95 % below {error['percentile_95']:.3g}"]


def _has_conventions(likelihood: Likelihood) -> bool:
    inner = likelihood.inner if isinstance(likelihood, UncertainStrengthLikelihood) else likelihood
    return isinstance(inner, SelectableAsimov)


def _build(entry: SetModel, options: BuildOptions) -> PlacedModel | str:
    """The model, or why there is none."""
    try:
        return entry.build(options)
    except UnusableModelError as error:
        return f"it is not evaluated: {error}"
    except UserFacingError as error:
        return str(error).rstrip(".")


def _likelihood(base: Evaluated, yields: AnalysisYields, placed: PlacedModel, data_kind: DataKind, clock: FitClock) -> TimedLikelihood:
    """Likelihood of the signal in one model; the regions that it does not have see nothing."""
    filled = placed.columns >= 0
    columns = np.maximum(placed.columns, 0)
    signal = np.where(filled, base.events[columns], 0.0)

    def make() -> Likelihood:
        model = placed.model
        if isinstance(model, WorkspaceModel) and model.compiled.settings.has_signal_staterror:
            errors = base.analysis.vector({name: entry.uncertainty or 0.0 for name, entry in yields.regions.items()})
            return HistFactoryLikelihood(model.compiled, signal, data_kind, signal_errors=np.where(filled, errors[columns], 0.0))
        return model.likelihood(signal, data_kind)

    nothing: Likelihood = SingleRegionLikelihood(0.0, 0.0, 0.0, 0.0)
    return TimedLikelihood(_with_uncertainty(clock.run(make, nothing), yields.signal_uncertainty), clock)


def _with_uncertainty(likelihood: Likelihood, uncertainty: float | None) -> Likelihood:
    return UncertainStrengthLikelihood(likelihood, uncertainty) if uncertainty else likelihood


# ------------------------------------------------------------------------------------------------------ single regions


def _best_region(base: Evaluated, yields: AnalysisYields, reason: tuple[str, ...]) -> Evaluated:
    """The region with the smallest limit expected before looking."""
    analysis = base.analysis
    limits: dict[int, float] = {}
    for row in np.flatnonzero(base.events).tolist():
        if np.isfinite((analysis.observed[row], analysis.background[row], analysis.errors[row])).all():
            limits[row] = find_upper_limit(_region(base, yields, row, DataKind.APRIORI)).mu_ul
    if not limits:
        text = "; ".join((*reason, "the counts of its regions are not known"))
        return replace(base, outcome=LimitOutcome.NO_MODEL, reason=text)
    best = min(limits, key=lambda row: limits[row] if math.isfinite(limits[row]) else math.inf)
    name = analysis.regions[best]
    of = f"the one of {len(limits)} with the smallest expected limit" if len(limits) > 1 else "the only one with signal"
    notes = (*reason, f"no regions are combined: {name} is {of}")
    return replace(
        base,
        kind=ModelKind.REGION,
        description=f"single region {name}",
        set_name=name,
        trials=(SetTrial(name, f"single region {name}", 1, limits[best], True),),
        notes=notes,
        observed=TimedLikelihood(_region(base, yields, best, DataKind.OBSERVED), base.clock),
        apriori=TimedLikelihood(_region(base, yields, best, DataKind.APRIORI), base.clock),
    )


def _region(base: Evaluated, yields: AnalysisYields, row: int, data_kind: DataKind) -> LimitableLikelihood:
    analysis = base.analysis
    region = SingleRegionLikelihood(
        float(analysis.observed[row]), float(analysis.background[row]), float(analysis.errors[row]), float(base.events[row]), data_kind
    )
    error = yields.regions[analysis.regions[row]].uncertainty or 0.0
    relative = math.hypot(yields.signal_uncertainty or 0.0, error / region.signal)
    return UncertainStrengthLikelihood(region, relative) if relative else region
