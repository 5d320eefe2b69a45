"""Networks with operators that `network` does not have, through onnxruntime (optional extra `learned`).

The runtime computes in the precision of the file, mostly single, and gives no derivatives: slopes are central differences over one per
cent of the scale of each input, exact to about 1e-3 relative. One thread, so that the same input gives the same bits.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from database.errors import UserFacingError
from inference.networks.network import NetworkValue
from inference.networks.onnx_file import OnnxFile, format_onnx
from inference.types import FloatArray

STEP = 1e-2
"""Step of the differences in units of max(|x|, 1)."""


class MissingRuntimeError(UserFacingError):
    """onnxruntime is not installed."""


class RuntimeNetwork:
    """One input vector to one output vector, evaluated by onnxruntime.

    Args:
        file: the network as stored.

    Raises:
        MissingRuntimeError: onnxruntime is not installed.
        ValueError: it does not accept the network.
    """

    def __init__(self, file: OnnxFile) -> None:
        try:
            onnxruntime: Any = import_module("onnxruntime")  # ships no type information
        except ImportError:
            raise MissingRuntimeError(
                "Networks with operators that are not evaluated here need onnxruntime; 'pip install protomodels[learned]' installs it."
            ) from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        try:
            self._session: Any = onnxruntime.InferenceSession(format_onnx(file), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # noqa: BLE001  the runtime's own errors have no common public class
            raise ValueError(f"onnxruntime does not accept it: {str(error).splitlines()[0]}") from None
        port = file.inputs[0]
        self.num_inputs = port.shape[-1]
        self._name, self._shape = port.name, (1,) * (len(port.shape) - 1) + (self.num_inputs,)
        self._dtype = np.float64 if port.is_double else np.float32

    def _run(self, x: FloatArray) -> FloatArray:
        outputs = self._session.run(None, {self._name: x.astype(self._dtype).reshape(self._shape)})
        return np.asarray(outputs[0], dtype=np.float64).ravel()

    def __call__(self, x: ArrayLike) -> NetworkValue:
        """The outputs at one input, shape (num_inputs,)."""
        point = np.asarray(x, dtype=np.float64)
        return NetworkValue(self._run(point), (point,))

    def gradient(self, value: NetworkValue, weights: ArrayLike) -> FloatArray:
        """∂(Σ_k weights_k · output_k)/∂input where the network was evaluated, shape (num_inputs,)."""
        point, factors = np.asarray(value.tape[0], dtype=np.float64), np.asarray(weights, dtype=np.float64)
        slopes = np.empty(point.size)
        for k in range(point.size):
            step = STEP * max(abs(point[k]), 1.0)
            ends = point.copy(), point.copy()
            ends[0][k] += step
            ends[1][k] -= step
            slopes[k] = (self._run(ends[0]) - self._run(ends[1])) @ factors / (2.0 * step)
        return slopes
