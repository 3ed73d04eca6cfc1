"""The fast path: CURP's consensus variant (Park and Ousterhout, NSDI 2019) over Raft. See `docs/decisions` on the fast path for its proof.

`keys`: what conflicts. `witness`: what every voter holds for a leader that may fail. `ordering`: the leader's part. `submissions`: the
part of the replica that a command came to.
"""
