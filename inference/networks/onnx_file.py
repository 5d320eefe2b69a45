"""ONNX files: the graph of operators, its weights and its metadata; reader and writer.

Read is what inference needs: nodes with their attributes, initialisers, names and sizes of inputs and outputs, the version of the
default operator set and the metadata (all values are texts). Tensors are kept in files of their own by no published network; such
files are refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from database.errors import UserFacingError
from inference.networks.wire import (
    WireError,
    as_bytes,
    as_integer,
    as_text,
    bytes_field,
    fields_of,
    float_field,
    integer_field,
    packed_floats,
    packed_integers,
)

Attribute = int | float | str | NDArray[Any] | tuple[int, ...] | tuple[float, ...] | tuple[str, ...]

IR_VERSION: Final = 8
OPSET: Final = 13
"""Versions that are written: old enough for every runtime of the last years."""

_DTYPES: Final = {
    1: "<f4", 2: "u1", 3: "i1", 4: "<u2", 5: "<i2", 6: "<i4", 7: "<i8", 9: "?", 10: "<f2", 11: "<f8", 12: "<u4", 13: "<u8",
}  # fmt: skip
_FLOAT, _INT64, _DOUBLE = 1, 7, 11


class NetworkFileError(UserFacingError):
    """A file is not a network that can be read."""


@dataclass(frozen=True, slots=True)
class Node:
    """One operator.

    Attributes:
        op_type: e.g. "Gemm".
        inputs: names of its inputs, "" for one left out.
        outputs: names of its outputs.
        attributes: by name.
        domain: "" for the operators of the standard.
    """

    op_type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    domain: str = ""


@dataclass(frozen=True, slots=True)
class Port:
    """Input or output of a network.

    Attributes:
        name: of the value.
        shape: its dimensions, −1 where open.
        is_double: whether it is double precision, else single.
    """

    name: str
    shape: tuple[int, ...]
    is_double: bool = False


@dataclass(frozen=True, slots=True)
class OnnxFile:
    """A network as stored.

    Attributes:
        nodes: operators in an order in which they can be evaluated.
        weights: constant tensors by name.
        inputs: what is to be given; weights are not listed.
        outputs: what comes out.
        metadata: texts by key.
        opset: version of the standard's operators.
        producer: program that wrote it.
    """

    nodes: tuple[Node, ...]
    weights: Mapping[str, NDArray[Any]]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    metadata: Mapping[str, str] = field(default_factory=dict)
    opset: int = OPSET
    producer: str = ""


def read_onnx(path: Path) -> OnnxFile:
    """Returns the network of a file.

    Raises:
        NetworkFileError: there is no such file, or it is not an ONNX file.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise NetworkFileError(f"The network {path.name} cannot be read: {error.strerror}.") from None
    return parse_onnx(content, path.name)


def parse_onnx(content: bytes, name: str = "network") -> OnnxFile:
    """Returns the network in the bytes of a file; `name` is for messages.

    Raises:
        NetworkFileError: they are not an ONNX file.
    """
    try:
        return _model(content)
    except (WireError, ValueError) as error:
        raise NetworkFileError(f"{name} is not an ONNX file that can be read: {error}.") from None


# ------------------------------------------------------------------------------------------------------------ read


def _model(content: bytes) -> OnnxFile:
    graph, producer, opset = None, "", 0
    metadata: dict[str, str] = {}
    for number, _, value in fields_of(content):
        if number == 7:
            graph = as_bytes(value)
        elif number == 2:
            producer = as_text(value)
        elif number == 8:
            domain, version = "", 0
            for part, _, entry in fields_of(as_bytes(value)):
                domain = as_text(entry) if part == 1 else domain
                version = as_integer(entry) if part == 2 else version
            opset = version if domain in ("", "ai.onnx") else opset
        elif number == 14:
            texts = {part: as_text(entry) for part, _, entry in fields_of(as_bytes(value))}
            metadata[texts.get(1, "")] = texts.get(2, "")
        elif number == 25:
            raise WireError("it defines functions of its own")
    if graph is None or opset == 0:
        raise WireError("there is no graph in it")
    return _graph(graph, metadata, opset, producer)


def _graph(content: bytes, metadata: dict[str, str], opset: int, producer: str) -> OnnxFile:
    nodes: list[Node] = []
    weights: dict[str, NDArray[Any]] = {}
    inputs: list[Port] = []
    outputs: list[Port] = []
    for number, _, value in fields_of(content):
        if number == 1:
            nodes.append(_node(as_bytes(value)))
        elif number == 5:
            name, tensor = _tensor(as_bytes(value))
            weights[name] = tensor
        elif number == 11:
            inputs.append(_port(as_bytes(value)))
        elif number == 12:
            outputs.append(_port(as_bytes(value)))
        elif number == 15:
            raise WireError("sparse weights are not supported")
    given = tuple(port for port in inputs if port.name not in weights)
    return OnnxFile(tuple(nodes), weights, given, tuple(outputs), metadata, opset, producer)


def _node(content: bytes) -> Node:
    inputs: list[str] = []
    outputs: list[str] = []
    op_type, domain = "", ""
    attributes: dict[str, Attribute] = {}
    for number, _, value in fields_of(content):
        if number == 1:
            inputs.append(as_text(value))
        elif number == 2:
            outputs.append(as_text(value))
        elif number == 4:
            op_type = as_text(value)
        elif number == 5:
            name, attribute = _attribute(as_bytes(value))
            attributes[name] = attribute
        elif number == 7:
            domain = as_text(value)
    return Node(op_type, tuple(inputs), tuple(outputs), attributes, "" if domain == "ai.onnx" else domain)


def _attribute(content: bytes) -> tuple[str, Attribute]:
    name = ""
    found: Attribute | None = None
    floats: list[float] = []
    integers: list[int] = []
    texts: list[str] = []
    kind_of_list = 0
    for number, kind, value in fields_of(content):
        if number == 1:
            name = as_text(value)
        elif number == 2:
            found = packed_floats(kind, value, "f")[0]
        elif number == 3:
            found = as_integer(value)
        elif number == 4:
            found = as_text(value)
        elif number == 5:
            found = _tensor(as_bytes(value))[1]
        elif number == 7:
            floats.extend(packed_floats(kind, value, "f"))
        elif number == 8:
            integers.extend(packed_integers(kind, value))
        elif number == 9:
            texts.append(as_text(value))
        elif number == 20:
            kind_of_list = as_integer(value)
    if found is not None:
        return name, found
    if floats or kind_of_list == 6:
        return name, tuple(floats)
    return name, tuple(texts) if texts else tuple(integers)


def _tensor(content: bytes) -> tuple[str, NDArray[Any]]:
    name, data_type = "", 0
    dims: list[int] = []
    raw: bytes | None = None
    numbers: list[float] = []
    integers: list[int] = []
    for number, kind, value in fields_of(content):
        if number == 1:
            dims.extend(packed_integers(kind, value))
        elif number == 2:
            data_type = as_integer(value)
        elif number == 4:
            numbers.extend(packed_floats(kind, value, "f"))
        elif number == 10:
            numbers.extend(packed_floats(kind, value, "d"))
        elif number in (5, 7, 11):
            integers.extend(packed_integers(kind, value))
        elif number == 8:
            name = as_text(value)
        elif number == 9:
            raw = as_bytes(value)
        elif number == 13:
            raise WireError("its weights are in another file")
    if data_type not in _DTYPES:
        raise WireError(f"weights of type {data_type} are not supported")
    dtype = np.dtype(_DTYPES[data_type])
    if raw is not None:
        flat = np.frombuffer(raw, dtype=dtype)
    elif dtype == np.dtype("<f2"):
        flat = np.array(integers, dtype=np.uint16).view(dtype)
    else:
        flat = np.array(numbers if numbers else integers, dtype=dtype)
    return name, flat.reshape(dims)


def _port(content: bytes) -> Port:
    name, elem_type = "", _FLOAT
    shape: list[int] = []
    for number, _, value in fields_of(content):
        if number == 1:
            name = as_text(value)
        elif number == 2:
            for kind, _, tensor in fields_of(as_bytes(value)):
                if kind != 1:
                    raise WireError("its inputs are not tensors")
                for part, _, entry in fields_of(as_bytes(tensor)):
                    if part == 1:
                        elem_type = as_integer(entry)
                    elif part == 2:
                        shape.extend(_dimension(as_bytes(dim)) for _, _, dim in fields_of(as_bytes(entry)))
    return Port(name, tuple(shape), elem_type == _DOUBLE)


def _dimension(content: bytes) -> int:
    for number, _, value in fields_of(content):
        if number == 1:
            return as_integer(value)
    return -1


# ----------------------------------------------------------------------------------------------------------- write


def write_onnx(path: Path, network: OnnxFile) -> None:
    """Writes a network; the same network gives the same bytes."""
    path.write_bytes(format_onnx(network))


def format_onnx(network: OnnxFile) -> bytes:
    """Returns the bytes of an ONNX file; the same network gives the same bytes."""
    graph = b"".join(bytes_field(1, _format_node(node)) for node in network.nodes)
    graph += bytes_field(2, "network")
    graph += b"".join(bytes_field(5, _format_tensor(name, tensor)) for name, tensor in network.weights.items())
    graph += b"".join(bytes_field(11, _format_port(port)) for port in network.inputs)
    graph += b"".join(bytes_field(12, _format_port(port)) for port in network.outputs)
    opset = bytes_field(1, "") + integer_field(2, network.opset)
    content = integer_field(1, IR_VERSION) + bytes_field(2, network.producer) + bytes_field(7, graph) + bytes_field(8, opset)
    return content + b"".join(bytes_field(14, bytes_field(1, key) + bytes_field(2, text)) for key, text in network.metadata.items())


def _format_node(node: Node) -> bytes:
    content = b"".join(bytes_field(1, name) for name in node.inputs) + b"".join(bytes_field(2, name) for name in node.outputs)
    content += bytes_field(4, node.op_type)
    return content + b"".join(bytes_field(5, _format_attribute(name, value)) for name, value in node.attributes.items())


def _format_attribute(name: str, value: Attribute) -> bytes:
    content = bytes_field(1, name)
    if isinstance(value, int):
        return content + integer_field(3, value) + integer_field(20, 2)
    if isinstance(value, float):
        return content + float_field(2, value) + integer_field(20, 1)
    if isinstance(value, str):
        return content + bytes_field(4, value) + integer_field(20, 3)
    if isinstance(value, np.ndarray):
        return content + bytes_field(5, _format_tensor("", value)) + integer_field(20, 4)
    if all(isinstance(entry, int) for entry in value):
        return content + b"".join(integer_field(8, int(entry)) for entry in value) + integer_field(20, 7)
    raise TypeError(f"the attribute {name} cannot be written")


def _format_tensor(name: str, tensor: NDArray[Any]) -> bytes:
    code = {np.dtype(np.float32): _FLOAT, np.dtype(np.float64): _DOUBLE, np.dtype(np.int64): _INT64}[tensor.dtype]
    content = b"".join(integer_field(1, size) for size in tensor.shape) + integer_field(2, code) + bytes_field(8, name)
    return content + bytes_field(9, tensor.astype(tensor.dtype.newbyteorder("<")).tobytes())


def _format_port(port: Port) -> bytes:
    dims: Sequence[bytes] = [bytes_field(1, integer_field(1, size) if size >= 0 else bytes_field(2, "batch")) for size in port.shape]
    tensor = integer_field(1, _DOUBLE if port.is_double else _FLOAT) + bytes_field(2, b"".join(dims))
    return bytes_field(1, port.name) + bytes_field(2, bytes_field(1, tensor))
