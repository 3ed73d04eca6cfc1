"""Consensus as a service of the agent: a replica's host, who belongs to its group, and what is asked of it from here and elsewhere.

`host` drives a core with its log, its state machine and its peers; `forwarder` brings commands and reads to whoever can serve them;
`founding` begins a group, once; `placement` keeps the right voters; `service` puts them together and is what the rest of the agent sees.
"""
