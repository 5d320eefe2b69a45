"""The `sample` mode: reversible jump with exact proposal ratios, for model-content probabilities and posteriors.

    settings      every number of the mode, with its meaning
    state         one point of the model space: masses, branching ratios of open groups, multipliers in tied classes
    space         which contents, masses and channels are possible, in which order masses are drawn
    counting      how many structures a content allows: channel sets, tied classes
    prior         the normalised prior density, and exact draws from it
    likelihood    the score density of a state, and its outcomes
    moves/        one small module per move and its reverse, each with its exact log proposal ratio
    kernel        one Metropolis-Hastings-Green step
    chain         the state of one chain, its adaptation during burn-in, its checkpoint as JSON
    tempering     chains at several temperatures, exchanged by rules that do not depend on who computes them
    run           ensembles of chains, segment by segment, on any number of workers
    checkpoint    one file from which a run goes on as if nothing had happened
    diagnostics   effective sample sizes, agreement of walkers, R-hat
    posterior     content probabilities and fixed-content slices
    netcdf        ArviZ InferenceData and NetCDF

Target, coordinates, moves and tests are written up in docs/sampling.md. The walk that maximises K is `builder.walk`.
"""
