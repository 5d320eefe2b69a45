"""What the inputs and outputs of a published network mean: the metadata of its file.

Values are JSON (or Python literals). The keys are those of the networks that SModelS 3.2 references, in the two forms that exist:

- `bkg_yields`, `obs_yields`: [[region, events], …] in the order of the inputs; regions are channels with bins, "SRlow_cuts-0";
  `remove_channels`: channels of that list that are not inputs; `channels`: [{channel: "SR" | "CR" | "VR"}, …].
- `nLL_exp_mu0`, `nLL_obs_mu0`, `nLLA_exp_mu0`, `nLLA_obs_mu0`: -ln L without signal per set of data.
- scaling, first form: `standardization_mean`, `standardization_std` over inputs and the four outputs; feature = (n - mean)/std, 0 where
  std is 0; difference = output·std + mean; the last four outputs count.
- scaling, second form: `standardization` with features_mean, features_std, nLLs_mean, nLLs_std, and `run_config` (YAML) with the
  transformations `data.trafos` of the inputs and `data.nLL_trafos` of the differences: standardization, log_w_negatives
  (sign(x) ln(1 + |x|)), log, exp, sqrt, inverse, and per output asinh; the first four outputs count, others are their uncertainties.
- without either, inputs are events and outputs are differences.
- `lower_limits`, `upper_limits`: box of total yields of the training, in the order of `bkg_yields`.

Control regions hold their observed counts, as SModelS 3.2 does: there the background was fitted to them. Files without `bkg_yields` get
the regions of the set and the backgrounds of their data sets. Files of `protomodels
surrogate train` have the first form and, beside it, `protomodels_domain`: {"variance": […], "radius": r}, the signals with
√(Σ s²/variance) <= r, and `protomodels_surrogate`: how it was made and the error that was measured.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import yaml

from database.results.literals import LiteralError, parse_literal
from inference.types import FloatArray

NUM_DATA = 4
"""Sets of data: a priori, observed, and their Asimov data."""
NLL_KEYS = ("nLL_exp_mu0", "nLL_obs_mu0", "nLLA_exp_mu0", "nLLA_obs_mu0")
DOMAIN_KEY, ORIGIN_KEY = "protomodels_domain", "protomodels_surrogate"
_SMALLEST_STD = 1e-20


class LayoutError(ValueError):
    """The metadata of a network do not say what its inputs and outputs mean."""


class Ball(NamedTuple):
    """Signals with √(Σ s²/variance) up to a radius.

    Attributes:
        inverse_variance: 1/variance per input [1/events²], shape (num_inputs,).
        radius: the largest.
    """

    inverse_variance: FloatArray
    radius: float


Mapped = tuple[Any, Any]
"""A value and the derivative of the function that gave it."""


class Transformation(NamedTuple):
    """A function, its derivative, and its inverse with derivative; of numbers or arrays.

    Attributes:
        forward: (value, derivative) at x.
        inverse: (value, derivative) at y.
    """

    forward: Callable[[Any], Mapped]
    inverse: Callable[[Any], Mapped]


def _log_signed(x: Any) -> Mapped:
    return np.sign(x) * np.log1p(np.abs(x)), 1.0 / (1.0 + np.abs(x))


def _exp_signed(y: Any) -> Mapped:
    return np.sign(y) * np.expm1(np.abs(y)), np.exp(np.abs(y))


TRANSFORMATIONS: Mapping[str, Transformation] = MappingProxyType(
    {
        "log_w_negatives": Transformation(_log_signed, _exp_signed),
        "log": Transformation(lambda x: (np.log(x), 1.0 / x), lambda y: (np.exp(y), np.exp(y))),
        "exp": Transformation(lambda x: (np.exp(x), np.exp(x)), lambda y: (np.log(y), 1.0 / y)),
        "sqrt": Transformation(lambda x: (np.sqrt(x), 0.5 / np.sqrt(x)), lambda y: (y * y, 2.0 * y)),
        "inverse": Transformation(lambda x: (1.0 / x, -1.0 / x**2), lambda y: (1.0 / y, -1.0 / y**2)),
    }
)


def scaling(scale: float) -> Transformation:
    """asinh(x/scale)."""
    return Transformation(
        lambda x: (np.arcsinh(x / scale), 1.0 / np.sqrt(x * x + scale * scale)), lambda y: (scale * np.sinh(y), scale * np.cosh(y))
    )


def standardization(mean: Any, std: Any) -> Transformation:
    """(x - mean)/std; 0 where std is 0."""
    is_fixed = np.abs(std) <= _SMALLEST_STD
    inverse = np.where(is_fixed, 0.0, 1.0 / np.where(is_fixed, 1.0, std))
    return Transformation(lambda x: ((x - mean) * inverse, inverse), lambda y: (y * std + mean, std))


@dataclass(frozen=True, eq=False)
class LearnedLayout:
    """Meaning of the inputs and outputs of a network.

    Attributes:
        names: region of each input, "channel-bin".
        background: expected events without signal per input; observed ones in control regions, shape (num_inputs,).
        nll_zero: -ln L without signal per set of data, shape (4,); nan where not published.
        input_steps: transformations of total yields, in their order.
        output_steps: transformations of the differences per set of data, in the order of the training; undone backwards.
        first_output: where the four outputs start.
        lower, upper: box of total yields of the training, shape (num_inputs,), or None.
        ball: signals of the training, or None.
        origin: how the network was made, as its file says; empty for published ones.
    """

    names: tuple[str, ...]
    background: FloatArray
    nll_zero: tuple[float, ...]
    input_steps: tuple[Transformation, ...]
    output_steps: tuple[tuple[Transformation, ...], ...]
    first_output: int
    lower: FloatArray | None
    upper: FloatArray | None
    ball: Ball | None
    origin: Mapping[str, Any]

    @property
    def has_domain(self) -> bool:
        """Whether the file says where the network may be used."""
        return self.upper is not None or self.ball is not None

    def features(self, totals: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Inputs of the network from total yields, and their derivatives by these."""
        x, slopes = totals, np.ones_like(totals)
        for step in self.input_steps:
            x, slope = step.forward(x)
            slopes = slopes * slope
        return x, slopes

    def difference(self, output: float, which: int) -> tuple[float, float]:
        """-ln L minus its value without signal from an output, and its derivative by the output."""
        value, factor = output, 1.0
        for step in reversed(self.output_steps[which]):
            value, slope = step.inverse(value)
            factor *= float(slope)
        return float(value), factor


# ------------------------------------------------------------------------------------------------------------ read


def read_layout(
    metadata: Mapping[str, str], num_inputs: int, num_outputs: int, types: Mapping[str, str] | None = None, includes_crs: bool = False
) -> LearnedLayout:
    """Returns the layout that the metadata of a file state.

    Args:
        metadata: texts by key.
        num_inputs: of the network.
        num_outputs: of the network.
        types: "SR", "CR" or "VR" per input region where the analysis says so; else the file decides.
        includes_crs: whether control regions are inputs where the file's list has more regions than the network has inputs.

    Raises:
        LayoutError: something is missing or contradictory; names the key.
    """
    if num_outputs < NUM_DATA:
        raise LayoutError(f"it has {num_outputs} outputs, 4 are needed (a priori, observed, and their Asimov data)")
    values = {key: _parse(text) for key, text in metadata.items() if key != "run_config"}
    background = _pairs(values, "bkg_yields")
    if not background:
        raise LayoutError("its metadata have no 'bkg_yields'")
    removed = _texts(values.get("remove_channels"))
    roles = _roles(values.get("channels")) | dict(types or {})
    positions = [k for k, (name, _) in enumerate(background) if name not in removed and channel_of(name) not in removed]
    if len(positions) != num_inputs and not includes_crs:
        positions = [k for k in positions if _role(background[k][0], roles) != "CR"]
    if len(positions) != num_inputs:
        raise LayoutError(f"'bkg_yields' has {len(positions)} regions, the network has {num_inputs} inputs")
    names = tuple(background[k][0] for k in positions)
    observed = dict(_pairs(values, "obs_yields"))
    events = []
    for k in positions:
        name, expected = background[k]
        is_control = _role(name, roles) == "CR"
        if is_control and name not in observed:
            raise LayoutError(f"'obs_yields' lacks the control region {name}")
        events.append(observed[name] if is_control else expected)
    input_steps, output_steps, first = _scalings(values, metadata.get("run_config"), num_inputs, num_outputs)
    lower, upper = (_limits(values, key, positions, len(background)) for key in ("lower_limits", "upper_limits"))
    return LearnedLayout(
        names=names,
        background=np.array(events, dtype=np.float64),
        nll_zero=tuple(_optional_number(values.get(key), key) for key in NLL_KEYS),
        input_steps=input_steps,
        output_steps=output_steps,
        first_output=first,
        lower=lower if upper is not None else None,
        upper=upper if lower is not None else None,
        ball=_ball(values.get(DOMAIN_KEY), num_inputs),
        origin=values[ORIGIN_KEY] if isinstance(values.get(ORIGIN_KEY), dict) else {},
    )


def channel_of(name: str) -> str:
    """Channel of a region "channel-bin".

    Examples:
        >>> channel_of("SRhigh_0Jb_cuts-0"), channel_of("SR-A"), channel_of("SR1")
        ('SRhigh_0Jb_cuts', 'SR-A', 'SR1')
    """
    channel, _, number = name.rpartition("-")
    return channel if channel and number.isdigit() else name


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        try:
            return parse_literal(text)
        except LiteralError:
            return text


def _pairs(values: Mapping[str, Any], key: str) -> list[tuple[str, float]]:
    found = values.get(key, [])
    if isinstance(found, dict):
        found = list(found.items())
    if not isinstance(found, list | tuple):
        raise LayoutError(f"{key!r} must be a list of [region, events]")
    pairs: list[tuple[str, float]] = []
    for entry in found:
        if not isinstance(entry, list | tuple) or len(entry) != 2 or not isinstance(entry[0], str) or not _is_number(entry[1]):
            raise LayoutError(f"{key!r} must be a list of [region, events]")
        pairs.append((entry[0], float(entry[1])))
    if len({name for name, _ in pairs}) != len(pairs):
        raise LayoutError(f"{key!r} names a region twice")
    return pairs


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _texts(value: Any) -> frozenset[str]:
    return frozenset(entry for entry in value if isinstance(entry, str)) if isinstance(value, list | tuple) else frozenset()


def _roles(value: Any) -> dict[str, str]:
    entries = value if isinstance(value, list | tuple) else [value]
    return {str(name): str(role) for entry in entries if isinstance(entry, dict) for name, role in entry.items()}


def _role(name: str, roles: Mapping[str, str]) -> str:
    return roles.get(name, roles.get(channel_of(name), "SR"))


def _optional_number(value: Any, key: str) -> float:
    if value is None:
        return math.nan
    if not _is_number(value):
        raise LayoutError(f"{key!r} is not a number")
    return float(value)


def _array(value: Any, key: str, size: int) -> FloatArray:
    while isinstance(value, list | tuple) and len(value) == 1 and isinstance(value[0], list | tuple):
        value = value[0]
    if not isinstance(value, list | tuple) or len(value) < size or not all(_is_number(entry) for entry in value):
        raise LayoutError(f"{key!r} must be a list of {size} numbers")
    return np.array(value, dtype=np.float64)


def _limits(values: Mapping[str, Any], key: str, positions: Sequence[int], num_regions: int) -> FloatArray | None:
    if values.get(key) is None:
        return None
    limits = _array(values[key], key, min(len(positions), num_regions))
    if limits.size == num_regions:
        return limits[list(positions)]
    if limits.size == len(positions):
        return limits
    raise LayoutError(f"{key!r} has {limits.size} entries for {num_regions} regions")


def _ball(value: Any, num_inputs: int) -> Ball | None:
    if value is None:
        return None
    if not isinstance(value, dict) or not _is_number(value.get("radius")) or not value["radius"] > 0.0:
        raise LayoutError(f"{DOMAIN_KEY!r} must have 'variance' and a positive 'radius'")
    variance = _array(value.get("variance"), DOMAIN_KEY, num_inputs)
    if variance.size != num_inputs or not (variance > 0.0).all():
        raise LayoutError(f"'variance' of {DOMAIN_KEY!r} must be {num_inputs} positive numbers")
    return Ball(1.0 / variance, float(value["radius"]))


Steps = tuple[Transformation, ...]


def _scalings(values: Mapping[str, Any], run_config: str | None, num_inputs: int, num_outputs: int) -> tuple[Steps, tuple[Steps, ...], int]:
    """Transformations of inputs and of differences, and the first of the four outputs."""
    if isinstance(values.get("standardization"), dict):
        return _second_form(values["standardization"], run_config, num_inputs)
    if "standardization_mean" not in values and "standardization_std" not in values:
        return (), ((),) * NUM_DATA, 0
    size = num_inputs + NUM_DATA
    mean, std = (_array(values.get(key), key, size) for key in ("standardization_mean", "standardization_std"))
    if mean.size != size or std.size != size:
        raise LayoutError(f"'standardization_mean' and 'standardization_std' must have {size} entries")
    outputs = tuple((standardization(float(mean[k]), float(std[k])),) for k in range(num_inputs, size))
    return (standardization(mean[:num_inputs], std[:num_inputs]),), outputs, num_outputs - NUM_DATA


def _second_form(found: Mapping[Any, Any], run_config: str | None, num_inputs: int) -> tuple[Steps, tuple[Steps, ...], int]:
    means, stds = (np.resize(_array(found.get(key), key, 1), num_inputs) for key in ("features_mean", "features_std"))
    nll_mean, nll_std = (_array(found.get(key), key, NUM_DATA) for key in ("nLLs_mean", "nLLs_std"))
    try:
        config = yaml.safe_load(run_config or "")
    except yaml.YAMLError:
        raise LayoutError("'run_config' is not YAML") from None
    data = config.get("data") if isinstance(config, dict) else None
    if not isinstance(data, dict):
        raise LayoutError("'run_config' does not say how inputs were transformed")
    names = data.get("trafos")
    if isinstance(names, dict):
        if len(names) != 1:
            raise LayoutError("'run_config' has several sets of inputs")
        names = next(iter(names.values()))
    inputs = tuple(_step(name, means, stds) for name in names or ())
    of_nll = data.get("nLL_trafos") or ()
    scale = float(of_nll.get("asinh_scale", 1.0)) if isinstance(of_nll, dict) else 1.0
    lists = of_nll.get("per_output") if isinstance(of_nll, dict) else [of_nll] * NUM_DATA
    if not isinstance(lists, list) or len(lists) < NUM_DATA:
        raise LayoutError("'nLL_trafos' of 'run_config' must name the transformations of four outputs")
    outputs = tuple(tuple(_step(name, float(nll_mean[k]), float(nll_std[k]), scale) for name in lists[k]) for k in range(NUM_DATA))
    return inputs, outputs, 0


def _step(name: Any, mean: Any, std: Any, scale: float = 1.0) -> Transformation:
    if name == "standardization":
        return standardization(mean, std)
    if name == "asinh":
        return scaling(scale)
    if name not in TRANSFORMATIONS:
        raise LayoutError(f"the transformation {name!r} is not known")
    return TRANSFORMATIONS[name]
