"""Likelihoods: one class per kind of published information, all with the interface of `protocol.Likelihood`.

protocol.py             what the combination needs of a likelihood: ln L(μ)/L(0), its slope, μ̂, σ_μ
single_region.py        Poisson count with a Gaussian background uncertainty, closed form
truncated_gaussian.py   rebuilt from observed and expected limits
covariance.py           simplified likelihoods with correlated backgrounds, first and second order
learned.py              neural networks; learned_layout.py what their files say of inputs, outputs and domain
batch.py                many curves at one μ, evaluated together and remembered
"""
