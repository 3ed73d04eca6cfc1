"""The simulator: one seed drives clocks, network, disks, pauses, crashes and restarts, and the cores run in it unchanged.

It stands beside `runtime` on the floor above the cores and does for them, in simulated time, what `runtime` does in real time.
"""
