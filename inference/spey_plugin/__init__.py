"""spey (Araz, SciPost Phys. 16 (2024) 032) both ways: our likelihoods as its plug-ins, its models as likelihoods of ours.

    spey.get_backend("protomodels.histfactory")(signal_yields=…, workspace=…)      # entry points, see backends.py
    likelihood = SpeyLikelihood(stat_model)                                        # any spey.StatisticalModel
    model = SpeyModel(build, num_regions)                                          # one per signal: an AnalysisModel

spey is optional and imported when it is first needed.

loading.py      imports spey, or says in one sentence that it is missing
backends.py     classes behind the entry points `spey.backend.plugins`
likelihood.py   SpeyLikelihood, SpeyModel
"""

from inference.spey_plugin.likelihood import SpeyLikelihood, SpeyModel
from inference.spey_plugin.loading import MissingSpeyError, load_spey

__all__ = ["MissingSpeyError", "SpeyLikelihood", "SpeyModel", "load_spey"]
