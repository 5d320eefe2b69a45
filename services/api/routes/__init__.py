"""One router per resource.

campaigns.py   what was run and how far it is
walkers.py     where each walker stands
progress.py    every step, by cursor; and K over steps, thinned for plots
hiscores.py    the best models, with everything behind their score; SLHA files
results.py     the published LHC results in use
events.py      what changes, as server-sent events
health.py      whether the service can do its work
"""
