"""The campaign service: published LHC results in, hiscore protomodels out."""
