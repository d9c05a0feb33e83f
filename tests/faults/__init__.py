"""Nothing is lost, doubled or torn: a load, faults under it, and a checker of what was answered.

====================  ================================================================================
module                is
====================  ================================================================================
``record``            what each call asked, when, and what it was answered: lines that a kill cannot tear
``load``              the mixed load of one worker; ``worker`` is its process
``topologies``        the deployments: one server, Sentinel, a cluster, TLS and ACL, behind a proxy
``disturbances``      the faults, each a coroutine that does its harm and mends it
``replay``            a flow's change feed played back: every state that the flow was in, in order
``checker``           the record against those states and the final one
``mutations``         the store broken in ten ways, for proving the checker
``rounds``            one round: deployment, workers, disturbance, check; its report
``soak``              rounds by hand, for as long as one likes: ``python -m tests.faults.soak --minutes 30``;
                      with ``--each redis8 redis6``, every fault of one server on these
====================  ================================================================================

The feed is the witness: it has every write of a flow in the order in which they took effect, with the
token of the call. The checker holds it against the calls (each acknowledged write in it once, what failed not
at all, order as in time), against all reads (each answer is that of a state between its call's start and
end), and against what is stored at last.
"""
