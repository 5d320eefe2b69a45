"""Statistical models of whole analyses: from the expected events of its signal regions to one likelihood.

Walk: predictions (`region_yields` of a result) ──▶ **analysis model** ──▶ likelihood ──▶ combination.

protocol.py     what an analysis model offers
registry.py     which builder makes the model of a result, made once per store and result
covariance.py   simplified likelihoods (covariance, third moments)
histfactory.py  full likelihoods (HistFactory workspaces); workspace_regions.py which data set fills which bin
region_sets.py  several sets of regions with models of their own, the most sensitive one per signal
learned.py      neural networks; surrogates.py those in files that users made; set_report.py says which model of which set is used
canary.py       a known answer per model (canaries.json); models that give another one are switched off

To add a kind of statistical model: a module with a builder `(store, result, conventions) -> AnalysisModel`, one line in the registry.
"""
