"""How far chains can be trusted: effective sample sizes, R-hat, agreement of walkers.

Walk: run ──▶ **diagnostics** ──▶ posterior. Effective sample sizes follow Geyer's initial monotone sequence over several chains, as in
Vehtari et al., Bayesian Analysis 16 (2021) 667, eqs. 10 to 13, on split chains; R-hat is eq. 4 there, on ranks.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import ndtri
from scipy.stats import chi2, rankdata

from inference.types import FloatArray

MIN_DRAWS = 4
"""Draws per chain below which nothing is said."""


def autocovariance(chain: FloatArray) -> FloatArray:
    """Return the autocovariance of a series at every lag, divided by its length."""
    size = chain.size
    spectrum = np.fft.rfft(chain - chain.mean(), 2 * size)
    result: FloatArray = np.fft.irfft(spectrum * np.conj(spectrum), 2 * size)[:size] / size
    return result


def split_chains(chains: FloatArray) -> FloatArray:
    """Return each chain's halves as chains of their own; an odd one in the middle is left out.

    Args:
        chains: draws, shape (num_chains, num_draws).
    """
    half = chains.shape[1] // 2
    return np.concatenate([chains[:, :half], chains[:, chains.shape[1] - half :]])


def effective_sample_size(chains: FloatArray, *, counts_between: bool = True) -> float:
    """Return how many independent draws tell as much about the mean as these do.

    Args:
        chains: draws, shape (num_chains, num_draws).
        counts_between: whether disagreement of the chains lowers the number; False to test just that.

    Returns:
        At most num log10(num) of the num draws; nan for too few, and where nothing ever changes.

    Examples:
        >>> round(effective_sample_size(np.random.default_rng(1).normal(size=(4, 1000))) / 4000, 1)
        1.0
    """
    halves = split_chains(np.asarray(chains, dtype=np.float64))
    num_chains, size = halves.shape
    if size < MIN_DRAWS or not np.isfinite(halves).all() or np.ptp(halves) == 0.0:
        return math.nan
    covariances = np.array([autocovariance(chain) for chain in halves])
    within = covariances[:, 0].mean() * size / (size - 1.0)
    total = within * (size - 1.0) / size
    if num_chains > 1 and counts_between:
        total += halves.mean(axis=1).var(ddof=1)
    if total == 0.0:
        return math.nan
    correlation = 1.0 - (within - covariances.mean(axis=0) * size / (size - 1.0)) / total
    pairs = correlation[: size // 2 * 2].reshape(-1, 2).sum(axis=1)
    pairs[0] = 1.0 + correlation[1]
    negative = np.flatnonzero(pairs < 0.0)
    last = int(negative[0]) if negative.size else pairs.size
    monotone = np.minimum.accumulate(pairs[:last])
    time = max(2.0 * float(monotone.sum()) - 1.0, 1.0 / math.log10(num_chains * size))
    return float(num_chains * size / time)


def r_hat(chains: FloatArray) -> float:
    """Return the rank-normalised split R-hat: 1 where all chains agree.

    Args:
        chains: draws, shape (num_chains, num_draws).

    Returns:
        nan for too few draws, and where nothing ever changes.
    """
    halves = split_chains(np.asarray(chains, dtype=np.float64))
    size = halves.shape[1]
    if size < MIN_DRAWS or not np.isfinite(halves).all() or np.ptp(halves) == 0.0:
        return math.nan
    return max(_plain_r_hat(_normalise(halves)), _plain_r_hat(_normalise(np.abs(halves - np.median(halves)))))


def _normalise(values: FloatArray) -> FloatArray:
    ranks = rankdata(values, method="average").reshape(values.shape)
    result: FloatArray = ndtri((ranks - 0.375) / (values.size + 0.25))
    return result


def _plain_r_hat(halves: FloatArray) -> float:
    size = halves.shape[1]
    within = float(halves.var(axis=1, ddof=1).mean())
    between = size * float(halves.mean(axis=1).var(ddof=1))
    return math.sqrt(((size - 1.0) / size * within + between / size) / within) if within > 0.0 else math.nan


def count_switches(labels: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> int:
    """Return how often neighbouring draws differ, shape (num_chains, num_draws)."""
    return int((labels[:, 1:] != labels[:, :-1]).sum())


def agreement(indicators: FloatArray) -> float:
    """Return the p-value of the hypothesis that all walkers visit a content equally often.

    χ² = Σ_w ess_w (p_w - p)² / (p (1 - p)), ess_w being an equal part of the effective sample size without regard to disagreement.

    Args:
        indicators: 1 where the draw has the content, shape (num_walkers, num_draws).

    Returns:
        nan for a single walker, and where nothing ever changes.
    """
    num_walkers = indicators.shape[0]
    size = effective_sample_size(indicators, counts_between=False)
    mean = float(indicators.mean())
    if num_walkers < 2 or math.isnan(size):
        return math.nan
    pull = float(((indicators.mean(axis=1) - mean) ** 2).sum()) * size / num_walkers / (mean * (1.0 - mean))
    return float(chi2.sf(pull, num_walkers - 1))
