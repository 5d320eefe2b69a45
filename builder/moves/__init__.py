"""The random changes of a walk, one module each, in the order of a step.

    settings         every probability and step size, with its default and unit
    context          what a move may know besides the model
    draft            an editable copy of a model, and the repairs after masses or content changed
    trim             particles the best combination does not see leave
    birth            a particle joins
    branching_ratio  one particle's decays change
    ssm              signal strength multipliers of a particle or a process change
    death            a particle leaves
    mass             a particle gets lighter or heavier
    merge            the simplified copy that competes with each proposal
    teleport         a jump to a stored hiscore, off by default

A move is a pure function `(rng, protomodel, context) -> ProtoModel | None`; None says that nothing happened.
"""
