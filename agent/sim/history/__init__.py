"""Histories of what clients saw, and whether a correct system could have answered so: linearizability and exactly-once.

Pure: the simulator, the chaos tests with real processes and the Maelstrom runner record into the same `Recorder` and ask the same
checkers.
"""
