"""Configurations of campaigns.

schema.py         `RunConfig`: every key with description and unit; `load_config`
loading.py        YAML to a settings model, with one clear sentence for each kind of mistake
demo.yaml         embedded results, one to two minutes on two cores
quickstart.yaml   the smallest useful run, seconds
toy.yaml          the toy walk of arXiv:2012.12246 §4.2, full database
document.py       writes production.yaml from the schema's descriptions
production.yaml   50 walkers, 1000 steps, the full database; every key explained
"""
