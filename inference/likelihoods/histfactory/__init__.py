"""Full likelihoods: HistFactory workspaces (pyhf JSON), compiled.

    model = compile_workspace(json.loads(text))                 # once per analysis
    likelihood = HistFactoryLikelihood(model, signal)           # signal: expected events per bin of `model.bins`
    likelihood.nll(1.0), likelihood.mu_hat, find_upper_limit(likelihood)

workspace.py      reads and validates pyhf JSON; json_patch.py applies patches
parameters.py     parameters in pyhf's order: starting values, bounds, constraints
settings.py       measurement, interpolation codes, what the signal carries, Asimov convention
cells.py          flat arrays (made by compiler.py); kernels.py evaluates them with derivatives
fit.py            truncated Newton fits; metric.py, linear.py their linear algebra
model.py          HistFactoryModel: background fit and Asimov data, made once
likelihood.py     HistFactoryLikelihood: one signal
errors.py         WorkspaceError, PatchError
"""

from inference.likelihoods.histfactory.errors import PatchError, WorkspaceError
from inference.likelihoods.histfactory.likelihood import HistFactoryLikelihood
from inference.likelihoods.histfactory.model import HistFactoryFit, HistFactoryModel, ModelData, compile_workspace
from inference.likelihoods.histfactory.settings import AsimovAuxiliary, HistFactorySettings, HistosysCode, NormsysCode

__all__ = [
    "AsimovAuxiliary",
    "HistFactoryFit",
    "HistFactoryLikelihood",
    "HistFactoryModel",
    "HistFactorySettings",
    "HistosysCode",
    "ModelData",
    "NormsysCode",
    "PatchError",
    "WorkspaceError",
    "compile_workspace",
]
