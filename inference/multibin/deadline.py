"""A wall-clock limit per fit: an evaluation that takes longer ends, is counted, and the likelihood gives no more numbers.

In the main thread of a process a timer interrupts the fit, though never inside compilers and libraries that do not bear it (JAX, numba):
there it waits for the next step of the minimiser. In other threads the time is only compared afterwards.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

from inference.likelihoods.protocol import Likelihood, LogRatio
from inference.limits.conventions import AsimovConvention, build_asimov, lowest_strength
from inference.types import Outcome

T = TypeVar("T")

_FRAGILE = ("jax", "jaxlib", "numba", "llvmlite", "importlib", "pyhf.pdf")
"""Whose code is not interrupted: compilers, and the density of pyhf, which reports every exception as an error of its own."""
_FRAGILE_PREFIXES = tuple(f"{name}." for name in _FRAGILE)
_PATIENCE_S = 0.01
"""Time until the next attempt to interrupt."""
_AGAIN_S = 0.5
"""The same if the interruption was swallowed, e.g. in a callback of the garbage collector."""


class FitTimeoutError(Exception):
    """A fit takes too long."""


@contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Raises FitTimeoutError in its body after some seconds of wall-clock time; None: never.

    Raises:
        FitTimeoutError: the body takes, or took, longer.
    """
    if seconds is None:
        yield
        return
    start = time.monotonic()
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        if time.monotonic() - start > seconds:
            raise FitTimeoutError
        return

    def ring(number: int, frame: FrameType | None) -> None:
        is_safe = _is_safe(frame)
        signal.setitimer(signal.ITIMER_REAL, _AGAIN_S if is_safe else _PATIENCE_S)
        if is_safe:
            raise FitTimeoutError

    before = signal.signal(signal.SIGALRM, ring)
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, seconds)
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
    finally:  # if the timer rings in the line above, it is silent here
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


def _is_safe(frame: FrameType | None) -> bool:
    """Whether no caller belongs to code that must not be interrupted."""
    while frame is not None:
        module = f"{frame.f_globals.get('__name__', '')}."
        if module.startswith(_FRAGILE_PREFIXES):
            return False
        frame = frame.f_back
    return True


class FitClock:
    """Counts fits that took too long.

    Args:
        seconds: wall-clock limit per fit [s]; None for none.

    Attributes:
        num_timeouts: fits that took longer; after the first no more are tried.
    """

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
        self.num_timeouts = 0

    @property
    def is_over(self) -> bool:
        """Whether a fit took too long."""
        return self.num_timeouts > 0

    def run(self, evaluate: Callable[[], T], failed: T) -> T:
        """What a function gives, or `failed` if it takes too long or an earlier one did."""
        if self.is_over:
            return failed
        try:
            with time_limit(self.seconds):
                return evaluate()
        except FitTimeoutError:
            self.num_timeouts += 1
            return failed


class TimedLikelihood:
    """A likelihood whose fits are timed; nan after the first that takes too long.

    Args:
        inner: the likelihood.
        clock: shared by all likelihoods of an analysis.
    """

    def __init__(self, inner: Likelihood, clock: FitClock) -> None:
        self.inner = inner
        self._clock = clock

    @property
    def outcome(self) -> Outcome:
        """That of the likelihood; FIT_FAILED once a fit took too long."""
        return self._clock.run(lambda: self.inner.outcome, Outcome.FIT_FAILED)

    @property
    def is_concave(self) -> bool:
        """As the likelihood says."""
        return self.inner.is_concave

    @property
    def mu_hat(self) -> float:
        """Best μ >= 0."""
        return self._clock.run(lambda: self.inner.mu_hat, math.nan)

    @property
    def sigma_mu(self) -> float:
        """1/√(d²(-ln L)/dμ²) at μ̂."""
        return self._clock.run(lambda: self.inner.sigma_mu, math.nan)

    @property
    def mu_min(self) -> float:
        """Smallest signal strength."""
        return lowest_strength(self.inner)

    def nll(self, mu: float) -> float:
        """-ln L(μ)."""
        return self._clock.run(lambda: self.inner.nll(mu), math.nan)

    def log_ratio(self, mu: float) -> LogRatio:
        """ln L(μ)/L(0) and its slope."""
        return self._clock.run(lambda: self.inner.log_ratio(mu), LogRatio(math.nan, math.nan))

    def asimov(self) -> TimedLikelihood:
        """The same for the Asimov data, in the published convention."""
        return self._asimov(AsimovConvention.PUBLISHED)

    def asimov_with(self, is_moved: bool) -> TimedLikelihood:
        """The same with the auxiliary data moved to the fit, or centred."""
        return self._asimov(AsimovConvention.MOVED if is_moved else AsimovConvention.CENTRED)

    def _asimov(self, convention: AsimovConvention) -> TimedLikelihood:
        return TimedLikelihood(self._clock.run(lambda: build_asimov(self.inner, convention), self.inner), self._clock)
