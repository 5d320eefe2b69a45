"""Limits of searches with several signal regions: yields in, limits, CLs and verdicts out, alone and combined.

    yields or predictions ──▶ analyses (which regions, which statistical model) ──▶ likelihoods ──▶ limits ──▶ best expected combination

settings.py      which model, which backend, which quantities
yields.py        expected signal events per analysis and region: the format of users' files; predictions as yields
analyses.py      what is known of an analysis, and the statistical models of its sets of regions
store_models.py  models of compiled results; table_models.py of tables of counts; user_models.py of users' workspaces
book.py          finds analyses by name in results, catalogue and users' files
deadline.py      wall-clock limit per fit
uncertain.py     a correlated uncertainty of the signal, on top of any likelihood
evaluate.py      one analysis: most sensitive set of regions, limits
combination.py   the combination with the smallest expected limit
results.py       results as a file
run.py           all analyses of all inputs
curves.py        ln L(μ)/L(0) of each member and of their product, as tables
"""
