"""The embedded excerpt: about a dozen published analyses whose maps are low-order fits, for demonstration and tests.

    text/          the excerpt, in the text format of the full database; published facts plus fitted maps
    selection.py   which results and topologies it holds
    fitting.py     the fits and their errors
    fit.py         writes text/ from a compiled full store

`open_embedded_store` compiles the text into the cache on first use, keyed by its content; several processes may call it.
"""

from database.results.importer import EMBEDDED_TEXT, open_embedded_store

__all__ = ["EMBEDDED_TEXT", "open_embedded_store"]
