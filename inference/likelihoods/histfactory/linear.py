"""Small dense linear algebra, compiled: dot products and Cholesky factors that give the same bits on every run."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from inference.types import FloatArray


@njit(cache=True)
def dot(a: FloatArray, b: FloatArray) -> float:
    """Scalar product of two vectors."""
    t0, t1, t2, t3 = 0.0, 0.0, 0.0, 0.0
    size = a.shape[0]
    i = 0
    while i + 4 <= size:
        t0 += a[i] * b[i]
        t1 += a[i + 1] * b[i + 1]
        t2 += a[i + 2] * b[i + 2]
        t3 += a[i + 3] * b[i + 3]
        i += 4
    while i < size:
        t0 += a[i] * b[i]
        i += 1
    return (t0 + t1) + (t2 + t3)


@njit(cache=True)
def factorise(a: FloatArray) -> bool:
    """Cholesky factor into the lower triangle; False if the matrix is not positive definite."""
    size = a.shape[0]
    column = np.empty(size)
    for j in range(size):
        pivot = a[j, j]
        if not pivot > 0.0:
            return False
        pivot = math.sqrt(pivot)
        a[j, j] = pivot
        inverse = 1.0 / pivot
        for i in range(j + 1, size):
            a[i, j] *= inverse
            column[i] = a[i, j]
        for i in range(j + 1, size):
            factor = column[i]
            if factor != 0.0:
                row = a[i]
                for k in range(j + 1, i + 1):
                    row[k] -= factor * column[k]
    return True


@njit(cache=True)
def solve(a: FloatArray, rhs: FloatArray) -> None:
    """Solves with the factor of `factorise`, in place."""
    size = a.shape[0]
    for i in range(size):
        total = rhs[i]
        row = a[i]
        for k in range(i):
            total -= row[k] * rhs[k]
        rhs[i] = total / row[i]
    for i in range(size - 1, -1, -1):
        value = rhs[i] / a[i, i]
        rhs[i] = value
        row = a[i]
        for k in range(i):
            rhs[k] -= value * row[k]
