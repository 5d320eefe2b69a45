"""Upper limits on the signal strength from profile likelihoods (CLs), for any likelihood or product of likelihoods.

statistics.py     test statistics, CLs and its expected values: pure formulas (arXiv:1007.1727)
conventions.py    what counts as Asimov data, by name
curves.py         the test statistic of one likelihood as a curve in μ
crossing.py       where a falling curve crosses a level, with slopes and whatever fails on the way
asymptotic.py     CLs, observed and expected limits from the asymptotic formulas

Pseudo-experiments: `inference.toys`. Products of likelihoods: `inference.likelihoods.product`.
"""

from inference.limits.asymptotic import (
    CLsResult,
    ExpectedLimits,
    LimitResult,
    LimitSettings,
    UpperLimits,
    compute_cls,
    find_expected_limits,
    find_upper_limit,
    find_upper_limits,
)
from inference.limits.conventions import AsimovConvention, LimitableLikelihood
from inference.limits.statistics import CONFIDENCE_LEVEL, TestStatistic, cls_value

__all__ = [
    "CONFIDENCE_LEVEL",
    "AsimovConvention",
    "CLsResult",
    "ExpectedLimits",
    "LimitResult",
    "LimitSettings",
    "LimitableLikelihood",
    "TestStatistic",
    "UpperLimits",
    "cls_value",
    "compute_cls",
    "find_expected_limits",
    "find_upper_limit",
    "find_upper_limits",
]
