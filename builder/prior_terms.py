"""What the prior counts in a protomodel: particles, distinct branching ratios, distinct signal strength multipliers.

Walk: protomodel ──▶ **prior terms** ──▶ score. The counting is that of arXiv:2012.12246, section 3.2, and of its code:

- particles: every unfrozen one, X_Z^1 included (the paper's Table 2 leaves it out: `counts_lbp=False`);
- branching ratios: per particle other than X_Z^1 the number of distinct values above 1e-5, minus one. Two values are
  the same when they differ by less than 5 % of their mean. A particle without decays counts 0;
- signal strength multipliers: pairs with κ > 1e-4 and a 13 TeV cross section of at least 0.001 fb. κ that differ by less
  than 3 % of their mean form one class; each class counts 1, each further member 0.1.

The reference code compares a value with those it has met before, so that its count depends on the order. Here values are
taken in increasing order and compared with the smallest one of the current class: the smallest possible number of
classes none of which is wider than the tolerance, whatever the order.
"""

from __future__ import annotations

from collections.abc import Iterable

from builder.evaluation import PriorTerms
from builder.protomodel import ProtoModel
from inference.spectrum import LBP_PID

MIN_BRANCHING_RATIO = 1.0e-5
"""Smaller branching ratios do not count."""
MIN_SSM = 1.0e-4
"""Pairs with a smaller κ are knocked out and do not count."""
MIN_XSEC_FB = 1.0e-3
"""Pairs with a smaller 13 TeV cross section [fb] do not count."""
BR_TOLERANCE = 0.05
"""Branching ratios closer than this fraction of their mean are the same."""
SSM_TOLERANCE = 0.03
"""Signal strength multipliers closer than this fraction of their mean are the same."""
MEMBER_COST = 0.1
"""What a further member of a class of signal strength multipliers counts."""


def count_classes(values: Iterable[float], tolerance: float) -> int:
    """Return the smallest number of classes of positive values that are equal within a fraction of their mean.

    Args:
        values: positive numbers in any order.
        tolerance: a and b are equal when |a - b| < tolerance · (a + b)/2.

    Examples:
        >>> count_classes([1.0, 1.02, 0.5], tolerance=0.03)
        2
    """
    num_classes, smallest = 0, 0.0
    for value in sorted(values):
        if num_classes == 0 or 2.0 * (value - smallest) >= tolerance * (value + smallest):
            num_classes, smallest = num_classes + 1, value
    return num_classes


def count_prior_terms(protomodel: ProtoModel, *, counts_lbp: bool = True) -> PriorTerms:
    """Return the counts that enter the prior of a protomodel.

    Args:
        protomodel: the model.
        counts_lbp: whether X_Z^1 counts as a particle; False for the convention of the paper's Table 2.

    Examples:
        >>> model = ProtoModel({1000022: 160.0, 1000006: 1100.0}, {1000006: {(6, 1000022): 1.0}}, {(-1000006, 1000006): 1.2})
        >>> count_prior_terms(model)
        PriorTerms(num_particles=2, num_branching_ratios=0, num_ssms=1.0, penalties={})
    """
    num_branching_ratios = 0
    for pid, channels in protomodel.branching_ratios.items():
        if pid != LBP_PID:
            counted = (br for br in channels.values() if br > MIN_BRANCHING_RATIO)
            num_branching_ratios += max(0, count_classes(counted, BR_TOLERANCE) - 1)
    ssms = [
        protomodel.ssm(pair) for pair, xsec in protomodel.xsecs_fb(13).items() if xsec >= MIN_XSEC_FB and protomodel.ssm(pair) > MIN_SSM
    ]
    num_classes = count_classes(ssms, SSM_TOLERANCE)
    return PriorTerms(
        num_particles=protomodel.num_particles - (0 if counts_lbp else 1),
        num_branching_ratios=num_branching_ratios,
        num_ssms=num_classes + MEMBER_COST * (len(ssms) - num_classes),
    )
