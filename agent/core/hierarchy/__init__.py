"""Groups of groups: a group for each region, and one whose members are the regions.

A region is one member of the global group, for good; whoever leads the region's own group acts for it. What a member must not forget
(its term, vote and log) stands in the region's log, so that the next leader goes on as the same member: a change of the region's leader
is, for the global group, a server that crashed and started again. `docs/decisions` says why that is safe.

`part` is what each replica of a region keeps of the global group, a part of its state machine; `acting` drives the global core where
the region's leader is; `commands` are what passes between them through the region's log.
"""
