"""Maelstrom (github.com/jepsen-io/maelstrom) tests distributed systems whose nodes speak JSON on standard input and output.

`node`: our consensus core, state machine and gossip core behind that protocol. `runner`: a small stand-in for Maelstrom itself, with
latency, loss and partitions, whose histories our own checkers judge. Formats and error codes are those of Maelstrom's doc/protocol.md and
doc/workloads.md.
"""
