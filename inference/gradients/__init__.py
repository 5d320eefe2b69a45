"""Exact derivatives of everything an evaluation yields, with respect to masses, signal strength multipliers and branching ratios.

parameters.py    the parameters of a model, and how its cross sections and branching ratios depend on them
weights.py       d(σ·BR)/dθ per topology, through decays, compression and merging
simplices.py     slopes of published maps inside a simplex, compiled
predictions.py   d(cross sections, limits, yields)/dθ of all predictions
likelihoods.py   d(ln L)/dθ at fixed signal strength
score.py         dT_L/dθ by the envelope theorem
fisher.py        Fisher information of the parameters; curvature.py for full likelihoods

The call that puts them together is `builder.gradient.evaluate_with_gradient`; what happens at edges: docs/gradients.md.
"""
