"""Searches whose signal regions are combined by a statistical model: what is published of each, and where.

records.py       tables of counts, region maps of workspaces, entries of the catalogue (pydantic, every field checked)
catalogue.py     the 13 searches of arXiv:2507.08565, from catalogue.yaml, tables/*.yaml and maps/*.yaml
workspaces.py    workspaces from files, archives and DOIs, with their digests

Facts only, each with its source; the models that are built from them live in `inference.multibin`.
"""
