"""Raft (Ongaro, "Consensus: Bridging Theory and Practice", 2014) as a sans-IO core: values in, effects out.

Sections named in comments are the dissertation's unless another source stands beside them.
"""
