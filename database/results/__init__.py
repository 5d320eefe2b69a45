"""Published LHC results: read from the text database, compiled, memory-mapped.

text_files.py          files of the text database: line grammar, errors with file and line
smodels_text.py        its results, data sets and maps
literals.py            values with units, nothing evaluated
grid_text.py           millions of grid rows to arrays
particle_labels.py     what `jet`, `MET`, `anyBSM`, … stand for
templates.py           topologies as trees; graph notation
constraints.py         bracket notation and constraint expressions
statistical_models.py  covariances and workspaces of a result
region_sets.py, set_models.py, model_files.py  the same in the format of release 3.2: sets of regions
maps.py                projection, triangulation, start table of point location
compiler.py            one result, ready for the store
worker.py              processes that compile, with pinned linear algebra
importer.py            from the text database to the store; the embedded excerpt
records.py, store.py   the compiled format: write, open, hash
archive.py, fetch.py   archives, downloads
info.py                what each result holds, what of it is not usable, and why
combinability.py       which results may be combined
embedded/              the excerpt for demonstration and tests
"""
