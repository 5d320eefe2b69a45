"""Networks in ONNX files: reading, values and derivatives, against the reference implementation where it is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inference.networks.network import Network
from inference.networks.onnx_file import Attribute, NetworkFileError, Node, OnnxFile, Port, format_onnx, parse_onnx, read_onnx, write_onnx
from inference.networks.operators import UnsupportedOperatorError

SIZE = 6
RNG = np.random.default_rng(7)
WEIGHTS: dict[str, Any] = {
    "W": RNG.normal(size=(SIZE, 5)).astype(np.float32),
    "V": RNG.normal(size=(4, SIZE)).astype(np.float32),
    "b": RNG.normal(size=5).astype(np.float32),
    "c": RNG.normal(size=4).astype(np.float32),
    "row": RNG.normal(size=(1, SIZE)).astype(np.float32),
    "positive": RNG.uniform(0.5, 2.0, size=SIZE).astype(np.float32),
    "scale": RNG.normal(size=SIZE).astype(np.float32),
    "two": np.array(2.0, np.float32),
    "low": np.array(-0.4, np.float32),
    "high": np.array(0.7, np.float32),
    "shape23": np.array([0, 2, 3], np.int64),
    "axis1": np.array([1], np.int64),
    "axis2": np.array([2], np.int64),
    "picked": np.array([4, 0, 4], np.int64),
    "start": np.array([1], np.int64),
    "stop": np.array([5], np.int64),
    "sizes": np.array([2, 4], np.int64),
    "shape66": np.array([6, 6], np.int64),
}


def one(op: str, *extra: str, **attributes: Attribute) -> list[Node]:
    return [Node(op, ("x", *extra), ("y",), attributes)]


def after_exp(op: str, *extra: str, **attributes: Attribute) -> list[Node]:
    return [Node("Exp", ("x",), ("e",)), Node(op, ("e", *extra), ("y",), attributes)]


GRAPHS: dict[str, list[Node]] = {
    **{op: one(op) for op in ("Identity", "Neg", "Abs", "Exp", "Relu", "Tanh", "Sigmoid", "Softplus", "Softsign", "Erf", "Sin", "Cos")},
    **{op: one(op) for op in ("Sinh", "Cosh", "Asinh", "Atan", "LeakyRelu", "Elu", "Selu", "Celu", "HardSigmoid", "HardSwish")},
    **{op: after_exp(op) for op in ("Log", "Sqrt", "Reciprocal")},
    "Mish": one("Mish"),
    "Gelu": one("Gelu"),
    "Gelu_tanh": one("Gelu", approximate="tanh"),
    "Elu_alpha": one("Elu", alpha=0.3),
    "Clip": one("Clip", "low", "high"),
    "Clip_one_side": one("Clip", "", "high"),
    "Softmax": one("Softmax", axis=-1),
    "Pow": after_exp("Pow", "two"),
    "Pow_exponent": [Node("Exp", ("x",), ("e",)), Node("Pow", ("two", "e"), ("y",))],
    "Add": one("Add", "row"),
    "Add_itself": one("Add", "x"),
    "Sub": [Node("Sub", ("row", "x"), ("y",))],
    "Mul_itself": one("Mul", "x"),
    "Mul": one("Mul", "scale"),
    "Div": [Node("Exp", ("x",), ("e",)), Node("Div", ("row", "e"), ("y",))],
    "Sum": [Node("Sum", ("x", "row", "x"), ("y",))],
    "Max": one("Max", "row"),
    "Min": one("Min", "row", "low"),
    "Where": [Node("Less", ("x", "row"), ("l",)), Node("Neg", ("x",), ("n",)), Node("Where", ("l", "n", "x"), ("y",))],
    "MatMul": one("MatMul", "W"),
    "MatMul_Add": [Node("MatMul", ("x", "W"), ("m",)), Node("Add", ("b", "m"), ("y",))],
    "MatMul_twice": [Node("MatMul", ("x", "W"), ("m",)), Node("Add", ("m", "b"), ("s",)), Node("Mul", ("s", "m"), ("y",))],
    "Gemm": one("Gemm", "V", "c", alpha=0.5, beta=2.0, transB=1),
    "Gemm_plain": one("Gemm", "W"),
    "Gemm_of_input": [Node("Transpose", ("x",), ("t",)), Node("Gemm", ("x", "t"), ("y",))],
    "Gemm_transposed": [Node("Gemm", ("x", "x"), ("y",), {"transA": 1, "alpha": 0.3})],
    "BatchNormalization": one("BatchNormalization", "scale", "row1", "scale", "positive", epsilon=1e-3),
    "LayerNormalization": one("LayerNormalization", "scale", "row1", epsilon=1e-3),
    "ReduceMean": one("ReduceMean", axes=(1,), keepdims=0),
    "ReduceSum": [Node("ReduceSum", ("x", "axis1"), ("y",), {"keepdims": 1})],
    "Reshape": [Node("Reshape", ("x", "shape23"), ("r",)), Node("Tanh", ("r",), ("t",)), Node("ReduceSum", ("t", "axis2"), ("y",))],
    "Squeeze": [Node("Unsqueeze", ("x", "axis2"), ("u",)), Node("Exp", ("u",), ("e",)), Node("Squeeze", ("e", "axis2"), ("y",))],
    "Flatten": [Node("Reshape", ("x", "shape23"), ("r",)), Node("Flatten", ("r",), ("y",))],
    "Transpose": [Node("Transpose", ("x",), ("t",), {"perm": (1, 0)}), Node("Mul", ("t", "x"), ("y",))],
    "Concat": [Node("Tanh", ("x",), ("t",)), Node("Concat", ("t", "row", "x"), ("y",), {"axis": 1})],
    "Split": [
        Node("Split", ("x", "sizes"), ("p", "q"), {"axis": 1}), Node("Exp", ("p",), ("e",)),
        Node("Concat", ("q", "e"), ("y",), {"axis": 1}),
    ],
    "Split_equal": [Node("Split", ("x",), ("p", "q"), {"axis": -1}), Node("Mul", ("p", "q"), ("y",))],
    "Gather": [Node("Gather", ("x", "picked"), ("g",), {"axis": 1}), Node("Mul", ("g", "g"), ("y",))],
    "Slice": [Node("Slice", ("x", "start", "stop", "axis1"), ("s",)), Node("Exp", ("s",), ("y",))],
    "Expand": [Node("Expand", ("x", "shape66"), ("l",)), Node("Mul", ("l", "x"), ("y",))],
    "Cast": [Node("Cast", ("x",), ("d",), {"to": 11}), Node("Cast", ("d",), ("f",), {"to": 1}), Node("Exp", ("f",), ("y",))],
    "Dropout": [Node("Dropout", ("x",), ("d",)), Node("Tanh", ("d",), ("y",))],
    "Constant": [Node("Constant", (), ("k",), {"value": np.full((1, SIZE), 1.5, np.float32)}), Node("Mul", ("k", "x"), ("y",))],
    "folded": [Node("Exp", ("row",), ("e",)), Node("Add", ("e", "low"), ("f",)), Node("Mul", ("f", "x"), ("y",))],
}  # fmt: skip
NEEDS = {"Gelu": 20, "Gelu_tanh": 20, "Mish": 18, "LayerNormalization": 17, "HardSwish": 14}


def build(name: str) -> OnnxFile:
    nodes = tuple(GRAPHS[name])
    weights = {**WEIGHTS, "row1": WEIGHTS["row"][0]}
    used = {entry for node in nodes for entry in node.inputs}
    kept = {key: value for key, value in weights.items() if key in used}
    return OnnxFile(nodes, kept, (Port("x", (1, SIZE)),), (Port("y", ()),), {"key": "wörth"}, NEEDS.get(name, 13))


def points() -> list[np.ndarray[Any, np.dtype[np.float64]]]:
    rng = np.random.default_rng(3)
    return [rng.normal(size=SIZE).astype(np.float32).astype(np.float64) for _ in range(4)]


@pytest.mark.parametrize("name", list(GRAPHS))
def test_derivatives_are_the_limits_of_differences(name: str) -> None:
    network = Network(parse_onnx(format_onnx(build(name))))
    for x in points():
        value = network(x)
        weights = np.linspace(0.5, 1.5, value.outputs.size)
        found = network.gradient(value, weights)
        steps = 1e-6 * np.eye(SIZE)
        expected = [(network(x + step).outputs - network(x - step).outputs) @ weights / 2e-6 for step in steps]
        np.testing.assert_allclose(found, expected, rtol=2e-7, atol=2e-7 * (1.0 + abs(value.outputs).max()))


@pytest.mark.parametrize("name", list(GRAPHS))
def test_values_agree_with_the_runtime(name: str) -> None:
    runtime = pytest.importorskip("onnxruntime")
    file = build(name)
    network = Network(parse_onnx(format_onnx(file)))
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    session = runtime.InferenceSession(format_onnx(file), options, providers=["CPUExecutionProvider"])
    for x in points():
        (expected,) = session.run(None, {"x": x.astype(np.float32)[None, :]})
        np.testing.assert_allclose(network(x).outputs, expected.ravel(), rtol=3e-6, atol=3e-6)


@pytest.mark.parametrize("name", list(GRAPHS))
def test_files_are_read_back_as_they_were(name: str, tmp_path: Path) -> None:
    file = build(name)
    write_onnx(tmp_path / "n.onnx", file)
    found = read_onnx(tmp_path / "n.onnx")
    assert (found.inputs, found.outputs, found.metadata, found.opset) == (file.inputs, file.outputs, file.metadata, file.opset)
    assert [(node.op_type, node.inputs, node.outputs) for node in found.nodes] == [(n.op_type, n.inputs, n.outputs) for n in file.nodes]
    assert all(np.array_equal(found.weights[key], value) for key, value in file.weights.items())
    assert format_onnx(found) == format_onnx(file)


def test_the_reference_package_accepts_what_is_written() -> None:
    onnx = pytest.importorskip("onnx")
    for name in GRAPHS:
        model = onnx.load_model_from_string(format_onnx(build(name)))
        onnx.checker.check_model(model)
        assert {entry.key: entry.value for entry in model.metadata_props} == {"key": "wörth"}


def test_what_the_reference_package_writes_is_read() -> None:
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    weight = np.arange(12, dtype=np.float64).reshape(3, 4)
    tensors = [
        numpy_helper.from_array(weight, "raw"),
        helper.make_tensor("floats", TensorProto.FLOAT, [4], [1.0, 2.5, -3.0, 0.0]),
        helper.make_tensor("doubles", TensorProto.DOUBLE, [2], [0.1, 0.2]),
        helper.make_tensor("integers", TensorProto.INT64, [3], [-1, 1 << 40, 7]),
        helper.make_tensor("halves", TensorProto.FLOAT16, [2], np.array([1.5, -2.0], np.float16)),
        helper.make_tensor("flags", TensorProto.BOOL, [2], [True, False]),
    ]
    nodes = [helper.make_node("Gemm", ["x", "raw"], ["y"], alpha=0.25), helper.make_node("Transpose", ["y"], ["z"], perm=[1, 0])]
    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", ["N", 3]), ("z", [4, None]))]
    graph = helper.make_graph(nodes, "g", [ports[0]], [ports[1]], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="someone")
    helper.set_model_props(model, {"a": "1", "b": "[2]"})
    file = parse_onnx(model.SerializeToString())
    assert np.array_equal(file.weights["raw"], weight)
    assert file.weights["floats"].tolist() == [1.0, 2.5, -3.0, 0.0]
    assert file.weights["doubles"].tolist() == [0.1, 0.2]
    assert file.weights["integers"].tolist() == [-1, 1 << 40, 7]
    assert file.weights["halves"].tolist() == [1.5, -2.0]
    assert file.weights["flags"].tolist() == [True, False]
    assert file.inputs == (Port("x", (-1, 3)),)
    assert (file.opset, file.producer, file.metadata) == (17, "someone", {"a": "1", "b": "[2]"})
    assert file.nodes[0].attributes == {"alpha": 0.25}
    assert file.nodes[1].attributes == {"perm": (1, 0)}
    assert onnx.checker.check_model(model) is None


def test_equal_inputs_give_equal_bits() -> None:
    file = build("MatMul_twice")
    x = points()[0]
    first, second = Network(file), Network(parse_onnx(format_onnx(file)))
    first(x + 1.0)
    assert first(x).outputs.tobytes() == second(x).outputs.tobytes()
    weights = np.ones(5)
    assert first.gradient(first(x), weights).tobytes() == second.gradient(second(x), weights).tobytes()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"network", "not an ONNX file"),
        (b"", "there is no graph"),
        (format_onnx(build("Gemm"))[:-40], "not an ONNX file"),
        (b"\x3a\x02\x0a\xff\x42\x02\x10\x0d", "cut off"),
    ],
)
def test_other_files_are_refused(content: bytes, problem: str) -> None:
    with pytest.raises(NetworkFileError, match=problem):
        parse_onnx(content, "some.onnx")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NetworkFileError, match=r"gone\.onnx cannot be read"):
        read_onnx(tmp_path / "gone.onnx")


@pytest.mark.parametrize(
    ("nodes", "problem"),
    [
        ([Node("LSTM", ("x",), ("y",))], "LSTM"),
        ([Node("Relu", ("x",), ("y",), {}, "com.example")], "com.example.Relu"),
        ([Node("Relu", ("z",), ("y",))], "'z', which nothing makes"),
        ([Node("Relu", ("x",), ("w",))], "no operator makes the output 'y'"),
        ([Node("Cast", ("x",), ("y",), {"to": 8})], "Cast to type 8"),
    ],
)
def test_unknown_operators_are_named(nodes: list[Node], problem: str) -> None:
    with pytest.raises(UnsupportedOperatorError, match=problem):
        Network(OnnxFile(tuple(nodes), {}, (Port("x", (1, SIZE)),), (Port("y", (1, SIZE)),)))
