"""Moves of the sampler, one small module per move and its reverse.

    protocol          what a move is, and what a proposal carries
    transfer          how decays follow when masses or the content change, reversibly
    processes         how processes join and leave tied classes, reversibly
    birth_death       a particle joins, or leaves
    merge_split       two partners become one, or one becomes two
    swap              light quarks, or lepton generations, exchange their roles
    independent       a draw from the prior
    mass              one mass, two masses, the whole spectrum
    constant_xsec     one mass, and the multiplier that keeps its cross section
    br_walk           branching ratios of one particle
    br_open_close     a channel opens, or closes
    br_exchange       an open and a closed channel exchange their roles
    kappa_scale       multipliers of one class, or of one particle
    kappa_copy_detach a process takes over a multiplier, or gets its own
    kappa_transfer    a process changes from one class to another
    kappa_on_off      a process is switched on, or off
    catalogue         all of them, with their weights

A move draws a choice u and applies it: (s, u) -> (s', u'), u' being the choice with which its reverse comes back from s' to s. Its
log ratio is ln q'(u'|s') - ln q(u|s) + ln |∂(s', u')/∂(s, u)| (Green, Biometrika 82 (1995) 711).
"""
