"""Chains on an analytic score, for tests of the campaign machinery: real moves and acceptance, no results needed.

T_L is a bump around a top partner at 1100 GeV and a lightest particle at 160 GeV; everything is admitted, except that
models with a gluino partner are vetoed, and models heavier than 2300 GeV in total see no result.
"""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from builder.evaluation import Evaluation, Member, PriorTerms
from builder.protomodel import ProtoModel
from builder.walk import WalkSettings
from configs.loading import parse_settings
from critics.verdict import Verdict
from database.errors import StoreError
from inference.types import Outcome
from services.campaign.chain import WalkChain
from services.campaign.worker import ChainStep

DIE_ONCE = "PROTOMODELS_TEST_DIE_ONCE"
"""File that the first worker to reach step 7 of walker 1 removes before it kills itself."""
HANG_ONCE = "PROTOMODELS_TEST_HANG_ONCE"
"""The same, but the worker falls silent instead."""
STEP_DURATION = "PROTOMODELS_TEST_STEP_DURATION_S"


def evaluate(protomodel: ProtoModel) -> Evaluation:
    """A deterministic score from the masses."""
    masses = protomodel.masses
    terms = PriorTerms(len(masses), 0, float(len(masses) - 1))
    log_prior = -(terms.num_particles / 2 + terms.num_ssms / 8)
    is_excluded = 1000021 in masses
    verdict = Verdict(is_excluded, math.inf, 0.5, math.nan, "gluino partner" if is_excluded else "nothing objects")
    if sum(masses.values()) > 2300.0:
        return Evaluation(Outcome.NO_PREDICTION, -math.inf, math.nan, math.nan, math.inf, log_prior, terms, verdict)
    distance = sum(((mass - (160.0 if pid == 1000022 else 1100.0)) / 400.0) ** 2 for pid, mass in masses.items())
    tl = 12.0 * math.exp(-distance / len(masses))
    member = Member("CMS-TOY-01", "ul", None, ("T2tt",), 4.0, 2.0, math.nan, 2.0, 3.0, tuple(masses), tl / 2)
    failures = {"CMS-TOY-02": 1} if len(masses) == 3 else {}
    return Evaluation(Outcome.OK, tl + 2 * log_prior, tl, 1.0, math.inf, log_prior, terms, verdict, (member,), failures)


class TestChain(WalkChain):
    """A chain that can be slowed down, and whose worker can die."""

    __test__ = False

    def advance(self) -> ChainStep:
        """Takes one step."""
        time.sleep(float(os.environ.get(STEP_DURATION, "0")))
        if self._is_hit(DIE_ONCE):
            os.kill(os.getpid(), signal.SIGKILL)
        if self._is_hit(HANG_ONCE):
            time.sleep(3600.0)
        return super().advance()

    def _is_hit(self, variable: str) -> bool:
        flag = os.environ.get(variable)
        is_hit = bool(flag) and self._walker_number == 1 and self.step == 7 and Path(str(flag)).exists()
        if is_hit:
            Path(str(flag)).unlink()
        return is_hit


def build_chain(seed: int, arguments: Mapping[str, Any]) -> TestChain:
    """`ChainFactory` of the tests."""
    return TestChain(seed, evaluate, parse_settings(WalkSettings, arguments["walk"]))


def build_mortal_chain(seed: int, arguments: Mapping[str, Any]) -> TestChain:
    """A chain whose worker dies at once, every time."""
    os.kill(os.getpid(), signal.SIGKILL)
    return build_chain(seed, arguments)


def build_nothing(seed: int, arguments: Mapping[str, Any]) -> TestChain:
    """No chain: the store is missing."""
    raise StoreError("there is no results store here")


def build_broken_chain(seed: int, arguments: Mapping[str, Any]) -> TestChain:
    """A chain that fails at the fifth step of walker 2."""

    class Broken(TestChain):
        def advance(self) -> ChainStep:
            if self._walker_number == 2 and self.step == 4:
                raise ZeroDivisionError("broken on purpose")
            return super().advance()

    return Broken(seed, evaluate, parse_settings(WalkSettings, arguments["walk"]))
