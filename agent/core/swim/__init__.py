"""Membership: SWIM (Das, Gupta, Motivala 2002) with Lifeguard (Dadgar, Phillips, Currey 2018), as values in and effects out.

Nothing here does input or output, reads a clock, or draws randomness of its own: `now` and the generator are handed in.
"""
