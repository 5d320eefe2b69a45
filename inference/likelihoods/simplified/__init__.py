"""Smaller likelihoods derived from a full HistFactory workspace, with their measured errors.

    model = compile_workspace(spec)
    small = simplify_workspace(spec, model)                   # pyhf JSON: one background, one nuisance (ATL-PHYS-PUB-2021-038)
    summary = condition_on_controls(model, is_signal_bin)     # background and covariance of the signal regions given the controls
    summary.model()                                           # CovarianceModel
    summary.lognormal_workspace()                             # pyhf JSON: the same with log-normal bins

expansion.py    a full model around a fit: means, their derivatives, gradient and exact Hessian of -ln L
pub_note.py     total background and total post-fit uncertainty as one nuisance
conditioned.py  linearised at the fit, conditioned on the control regions; the data of the signal regions do not enter
files.py        the covariance form as a JSON file
forms.py        all forms by name: document and model
comparison.py   errors of any of them against the full model
errors.py       SimplificationError
"""

from inference.likelihoods.simplified.comparison import SimplificationErrors, draw_shapes, measure_errors
from inference.likelihoods.simplified.conditioned import BackgroundSummary, condition_on_controls
from inference.likelihoods.simplified.errors import SimplificationError
from inference.likelihoods.simplified.expansion import Expansion, expand_at_fit
from inference.likelihoods.simplified.files import read_summary, write_summary
from inference.likelihoods.simplified.forms import Simplified, SimplifiedForm, simplify
from inference.likelihoods.simplified.pub_note import simplify_workspace

__all__ = [
    "BackgroundSummary",
    "Expansion",
    "SimplificationError",
    "SimplificationErrors",
    "Simplified",
    "SimplifiedForm",
    "condition_on_controls",
    "draw_shapes",
    "expand_at_fit",
    "measure_errors",
    "read_summary",
    "simplify",
    "simplify_workspace",
    "write_summary",
]
