"""HS3 (HEP Statistics Serialization Standard, version 0.2.9) in and out, for what HistFactory can express.

    document = write_hs3(spec)                          # pyhf JSON → HS3 JSON
    reading = read_hs3(document)                        # HS3 JSON → pyhf JSON, and the interpolation codes it asks for
    reading.pyhf_workspace(), reading.compile()

How the two correspond:

| pyhf | HS3 |
|---|---|
| channel | distribution of type `histfactory_dist` with one axis `obs_CHANNEL`; its observation is a `binned` data set |
| normfactor, normsys, histosys | modifier with `parameter`; normsys and histosys have the constraint `Gauss` |
| lumi | normfactor with `parameter` lumi; a `gaussian_dist` among the `aux_distributions` of the likelihood constrains it |
| shapefactor, shapesys | modifier with one of `parameters` per bin; shapesys: absolute uncertainties as `vals`, constraint `Poisson` |
| staterror | modifier with `parameters`, constraint `Gauss`; the uncertainties are the `errors` of the sample's data |
| measurement | analysis with parameter of interest, domain (bounds) and parameter point (starting values, fixed parameters) |

Numbers of histosys are yields at α = ±1, as ROOT writes and reads them (the standard's text calls them additions). Without
`interpolation` normsys is pyhf's code 4 and histosys code 4p, again as in ROOT.

writer.py      pyhf → HS3
reader.py      HS3 → pyhf; samples.py: channels, analyses.py: data, constraints, measurements
names.py       names of parameters per bin, both ways
values.py      typed access to parsed JSON
errors.py      Hs3Error
"""

from inference.hs3.errors import Hs3Error
from inference.hs3.reader import Hs3Reading, read_hs3
from inference.hs3.writer import HS3_VERSION, write_hs3

__all__ = ["HS3_VERSION", "Hs3Error", "Hs3Reading", "read_hs3", "write_hs3"]
