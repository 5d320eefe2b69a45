"""Runs campaigns: walkers on workers, one writer, everything needed to resume in SQL.

plan.py         what is stored before step 1; which keys a resumed campaign may change
chain.py        one walker's chain: start, step, checkpoint (binds builder.walk to a results store)
batches.py      what travels between driver and workers
worker.py       takes a checkpoint, walks some steps, gives back a batch
pool.py         workers in this process
ray_pool.py     workers as Ray actors, on this machine or a cluster
writer.py       batches into the repository, one transaction each time
driver.py       hands out work, stores what returns, ends cleanly
sessions.py     `run_campaign` and `resume_campaign`: all of it together
"""
