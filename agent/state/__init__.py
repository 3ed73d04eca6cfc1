"""The replicated state for applications: HTTP on a port of its own, over the group's state machine."""
