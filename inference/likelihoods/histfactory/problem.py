"""What compiled (njit) fits read and write: the model, the data, and their working arrays."""

from __future__ import annotations

from typing import NamedTuple

from inference.likelihoods.histfactory.cells import Cells
from inference.types import FloatArray, IntArray


class Layout(NamedTuple):
    """Where the derivatives of a model live; arrays over parameters unless said otherwise.

    Attributes:
        slot, stride: entry (parameter, bin) of the Jacobian is at slot + stride · bin; a last slot takes what nobody reads.
        shared: parameters that touch several bins (rows of the Jacobian), the parameter of interest last.
        local, local_bin: parameters that touch one bin, and that bin.
        num_bins: number of bins.
    """

    slot: IntArray
    stride: IntArray
    shared: IntArray
    local: IntArray
    local_bin: IntArray
    num_bins: int


class Problem(NamedTuple):
    """What all fits of a model share.

    Attributes:
        cells: cells and modifiers.
        layout: where derivatives live.
        poi: index of the signal strength among the parameters.
        is_free: 1 for parameters that fits may move (the signal strength apart), shape (num_parameters,).
        has_shift: 1 for parameters of a histosys.
        has_kink: 1 for parameters whose interpolation has a kink at 0 (codes 0 and 1).
        kind: Constraint values.
        lower, upper: bounds.
        is_polynomial: normsys code 4, else 1.
        code: histosys code 0, 2, or 4 for 4p.
    """

    cells: Cells
    layout: Layout
    poi: int
    is_free: IntArray
    has_shift: IntArray
    has_kink: IntArray
    kind: IntArray
    lower: FloatArray
    upper: FloatArray
    is_polynomial: bool
    code: int


class Measured(NamedTuple):
    """Data and signal of one fit.

    Attributes:
        scale: per cell, expected signal events in signal cells and 1 elsewhere.
        observed: events per bin.
        auxdata: centres of the constraints (counts for Poisson constraints) per parameter.
        weight: 1/σ² (normal) or rate factor (Poisson) per parameter.
    """

    scale: FloatArray
    observed: FloatArray
    auxdata: FloatArray
    weight: FloatArray


class Work(NamedTuple):
    """Arrays of one fit.

    Attributes:
        side: which side of a kink at 0 counts, ±1 per parameter.
        functions: f, f'/f and its derivative per normsys function.
        shift: e, h, e', h', h'' per parameter with a histosys.
        factor: scale times all factors but μ per cell.
        unit: expected events per cell without μ.
        mean: expected events per bin.
        gradient: d(-ln L)/dθ, μ included.
        curvature: second derivatives of the constraints.
        diagonal: what products with the Hessian need beside logarithmic derivatives, Σ r v (f'/f)' and its like.
        own: what the curvature of the modifiers adds to the diagonal of the Hessian, Σ r v f''/f.
        hist_slope, factor_slope: derivatives of every histosys entry, logarithmic derivatives of every factor.
        jacobian: d(mean)/dθ, see Layout.
        residual, bin_weight: 1 - n/λ and n/λ² per bin.
        scratch: two rows over cells.
        is_active: 1 for parameters that move in this step, else 0.
        inverse: 1/D of the metric per parameter; 0 for parameters that stayed when it was made.
        slopes: Jacobian of the metric.
        soft, matrix: see `metric`.
        bins, rows: scratch per bin and shared parameter.
    """

    side: IntArray
    functions: FloatArray
    shift: FloatArray
    factor: FloatArray
    unit: FloatArray
    mean: FloatArray
    gradient: FloatArray
    curvature: FloatArray
    diagonal: FloatArray
    own: FloatArray
    hist_slope: FloatArray
    factor_slope: FloatArray
    jacobian: FloatArray
    residual: FloatArray
    bin_weight: FloatArray
    scratch: FloatArray
    is_active: IntArray
    inverse: FloatArray
    slopes: FloatArray
    soft: FloatArray
    matrix: FloatArray
    bins: FloatArray
    rows: FloatArray
