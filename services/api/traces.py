"""K over steps, thinned: what a plot of 50 walkers × 10⁶ steps needs, and no more.

Each stored step is read at most once per process. Of every walker a trace keeps points at least `stride` steps
apart; when a trace grows past twice the wanted number of points the stride doubles. A campaign with a long past is
first sampled by seeks spread over its whole length, then followed step by step. Work per call is bounded in time;
`is_complete` says whether everything stored is covered.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from database.campaigns.records import ProgressRecord
from database.campaigns.repository import CampaignRepository

SEEK_THRESHOLD = 200_000
"""Stored steps beyond which the past is sampled rather than read [steps]."""
MAX_POINTS = 12_000
"""Points of all walkers together: many walkers get fewer points each, but not fewer than `MIN_POINTS`."""
MIN_POINTS = 100
PAGE = 5_000
"""Steps read at once."""


class TracePoint(NamedTuple):
    """One point of a trace; fields as in `ProgressRecord`."""

    progress_id: int
    step: int
    k: float
    tl: float
    best_k: float
    num_particles: int


class TraceSnapshot(NamedTuple):
    """What a trace cache knows at one moment.

    Attributes:
        stride: steps between two points of a walker, at least.
        cursor: largest progress_id that is covered.
        is_complete: everything stored is covered.
        walkers: points by walker number, by step; the last point of a walker is always its latest step.
    """

    stride: int
    cursor: int
    is_complete: bool
    walkers: dict[int, tuple[TracePoint, ...]]


@dataclass(slots=True)
class _Trace:
    points: list[TracePoint] = field(default_factory=list)
    latest: TracePoint | None = None

    def add(self, point: TracePoint, stride: int) -> None:
        if self.latest is not None and point.step <= self.latest.step:
            return  # a seek may land on a step twice
        self.latest = point
        if not self.points or point.step >= self.points[-1].step + stride:
            self.points.append(point)

    def thin(self, stride: int) -> None:
        kept: list[TracePoint] = []
        for point in self.points:
            if not kept or point.step >= kept[-1].step + stride:
                kept.append(point)
        self.points = kept

    def snapshot(self) -> tuple[TracePoint, ...]:
        if self.latest is None or self.points[-1] is self.latest:
            return tuple(self.points)
        return (*self.points, self.latest)


class CampaignTraces:
    """Traces of one campaign; safe to use from several threads."""

    def __init__(self, repository: CampaignRepository, campaign_id: int, num_points: int) -> None:
        """Starts empty.

        Args:
            repository: where the steps are stored; only read.
            campaign_id: the campaign.
            num_points: wanted points per walker, fewer if there are many walkers; up to twice as many are kept.
        """
        self._repository = repository
        self._campaign_id = campaign_id
        self._num_points = num_points
        self._lock = threading.Lock()
        self._traces: dict[int, _Trace] = {}
        self._stride = 1
        self._cursor = 0
        self._is_complete = False
        self._seeks: Iterator[None] | None = None
        self._is_started = False

    def update(self, budget_s: float = 0.5) -> TraceSnapshot:
        """Reads what was stored since the last call, for about `budget_s` seconds at most, and returns all traces.

        Args:
            budget_s: time after which reading stops and the rest is left to the next call [s].
        """
        with self._lock:
            deadline = time.monotonic() + budget_s
            if not self._is_started:
                self._start()
            if self._seeks is not None:
                self._is_complete = False
                for _ in self._seeks:
                    if time.monotonic() > deadline:
                        break
                else:
                    self._seeks = None
            if self._seeks is None:
                self._follow(deadline)
            walkers = {number: trace.snapshot() for number, trace in sorted(self._traces.items())}
            return TraceSnapshot(self._stride, self._cursor, self._is_complete, walkers)

    def _start(self) -> None:
        self._is_started = True
        walkers = self._repository.list_walkers(self._campaign_id)
        self._num_points = max(min(MIN_POINTS, self._num_points), min(self._num_points, MAX_POINTS // max(1, len(walkers))))
        if sum(walker.step for walker in walkers) > SEEK_THRESHOLD:
            self._stride = max(1, math.ceil(max(walker.step for walker in walkers) / self._num_points))
            self._seeks = self._sample([walker.walker_number for walker in walkers], self._last_progress_id())

    def _has_progress_after(self, after: int) -> bool:
        return bool(self._repository.list_progress(self._campaign_id, None, after=after, limit=1))

    def _last_progress_id(self) -> int:
        high = 1
        while self._has_progress_after(high):
            high *= 2
        low = high // 2
        while low < high:  # smallest number after which nothing is stored
            middle = (low + high) // 2
            low, high = (middle + 1, high) if self._has_progress_after(middle) else (low, middle)
        return low

    def _sample(self, walkers: list[int], last_id: int) -> Iterator[None]:
        for index in range(self._num_points):
            after = last_id * index // self._num_points
            for walker_number in walkers:
                for record in self._repository.list_progress(self._campaign_id, walker_number, after=after, limit=1):
                    if record.progress_id <= last_id:
                        self._add(record)
                yield
        for walker_number in walkers:  # what follows the last look, step by step
            yield from self._catch_up(walker_number, last_id)
        self._cursor = last_id

    def _catch_up(self, walker_number: int, last_id: int) -> Iterator[None]:
        after = 0
        while True:
            trace = self._traces.get(walker_number)
            if trace is None or trace.latest is None or after >= last_id:
                return
            after = max(after, trace.latest.progress_id)
            page = self._repository.list_progress(self._campaign_id, walker_number, after=after, limit=PAGE)
            for record in page:
                if record.progress_id <= last_id:
                    self._add(record)
            yield
            if len(page) < PAGE:
                return
            after = page[-1].progress_id

    def _follow(self, deadline: float) -> None:
        while True:
            page = self._repository.list_progress(self._campaign_id, None, after=self._cursor, limit=PAGE)
            for record in page:
                self._add(record)
            if page:
                self._cursor = page[-1].progress_id
            self._is_complete = len(page) < PAGE
            if self._is_complete or time.monotonic() > deadline:
                return

    def _add(self, record: ProgressRecord) -> None:
        trace = self._traces.setdefault(record.walker_number, _Trace())
        trace.add(TracePoint(record.progress_id, record.step, record.k, record.tl, record.best_k, record.num_particles), self._stride)
        if len(trace.points) > 2 * self._num_points:
            self._stride *= 2
            for other in self._traces.values():
                other.thin(self._stride)


class TraceCache:
    """Traces of the campaigns that somebody looked at, in one storage."""

    def __init__(self, repository: CampaignRepository, num_points: int) -> None:
        """Starts empty; `num_points` are the wanted points per walker."""
        self._repository = repository
        self._num_points = num_points
        self._lock = threading.Lock()
        self._campaigns: dict[int, CampaignTraces] = {}

    def campaign(self, campaign_id: int) -> CampaignTraces:
        """Traces of a campaign, made on first use.

        Raises:
            CampaignNotFoundError: there is no such campaign.
        """
        self._repository.get_campaign(campaign_id)
        with self._lock:
            if campaign_id not in self._campaigns:
                self._campaigns[campaign_id] = CampaignTraces(self._repository, campaign_id, self._num_points)
            return self._campaigns[campaign_id]
