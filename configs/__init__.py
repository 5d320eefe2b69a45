"""Configurations of campaigns.

schema.py         `RunConfig`: every key with description and unit; `load_config`
loading.py        YAML to a settings model, with one clear sentence for each kind of mistake
demo.yaml         embedded results, one to two minutes on two cores
quickstart.yaml   the smallest useful run, seconds
production.yaml   50 walkers, 1000 steps, the full database; every key explained
"""
