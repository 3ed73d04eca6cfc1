"""The replicated state machine: typed commands in the log's order in, outcomes out, the same on every replica."""
