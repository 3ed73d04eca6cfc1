"""Time and causality among agents: a hybrid logical clock, version vectors, dotted version vector sets, and their pruning.

Nothing here reads a clock: the wall's time is handed in.
"""
