"""Neural networks in ONNX files: read, evaluated in float64 with exact derivatives, written.

Walk: statistical models ──▶ learned likelihoods ──▶ **networks**. A published network is a few matrix products; evaluating it here
instead of in a runtime gives its exact derivative, no rounding to single precision between the layers, and the same bits in every
process, without any package beyond numpy.

wire.py        the encoding of ONNX files (protocol buffers): fields of messages, in and out
onnx_file.py   what of an ONNX file we use: operators, weights, metadata; reader and writer
operators.py   operators, their values and their derivatives
shaping.py     operators that only move numbers
network.py     a network, compiled once: value, and derivative of one output by all inputs
runtime.py     networks with other operators through onnxruntime, with numerical derivatives
"""
