"""Surrogates: small neural networks trained on a slow statistical model, written as ONNX files that `learned` likelihoods read.

Walk: analysis model ──▶ signals in a stated domain ──▶ -ln L and its slopes ──▶ **training** ──▶ file with its measured error.

settings.py     what can be chosen
signals.py      the domain, and signals drawn from it
samples.py      what the source model says of them
features.py     what the network sees of a signal
perceptron.py   layers with derivatives along a direction
fitting.py      stochastic gradient descent on values and slopes
export.py       the file: operators, weights, metadata
training.py     from an analysis model to a file, with the error on signals that were held out
source.py       results of a store as sources: regions, patterns of signals, digest
"""
