"""Long-lived TCP connections between the members of groups: who is there, in frames, proved and sealed.

`wire` has the records and frames, `handshake` how two sides prove themselves, `link` one connection, `transport` all of an agent's.
"""
