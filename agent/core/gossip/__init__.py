"""What agents tell each other beside membership: each one's state, and invalidations of cached responses. Values in, effects out.

The host's duties:

1. Make one `GossipCore` a life of the agent: its member name, a generation higher than the last life's (milliseconds since 1970 will
   do; a generation that did not rise is noticed and corrected), a random generator, and `now` in seconds of a clock that never goes back.
2. Call `step(now, input)` for each input, and `step(now, Wake())` no later than `next_wake()` says, asked again after every step. Carry
   the effects out in the order given. Never call it from two threads.
3. From membership: `MemberUp` at join, refute and update; `MemberGone` at leave, fail and reap. A suspect is still there.
4. Carry payloads: `SendPacket` as one user message in a datagram of its own to each member now (at most `PACKET_BYTES`); `Broadcast`
   through membership's queue of user messages, not the first transmission of which matters but that it is retransmitted in proportion
   to log n (membership forwards nothing: who is told something new makes a `Broadcast` of its own); `SendStream` as a user message by
   stream. Whatever of these arrives is a `Received`. What cannot be sent, or is for a name that is no member's, is dropped.
5. Put `push_pull(now)` into the user part of every push/pull, and give the other side's as `PushPullIn`; with `join` where it is the
   answer to our own joining (its streams are the baseline: nothing older concerns an empty cache).
6. `Changed`, `Forgot`: keep what peers report where the data path finds it; decode the values with `facts`. A member that membership
   calls gone is out of use at once, without waiting for `Forgot`.
7. `Apply`: purge the local cache as told. `MarkStale(older_than, hosts)`: every entry (of these hosts, where some are named) whose
   *request* went upstream before that time is validated before its next use, and so is what fills under way will bring. Convert
   `older_than` to the store's clock.
8. A local purge or unsafe method: apply it here first, then `Invalidate`. `Issued.context` goes back to the caller (`encode_context`),
   who may hand it in as `after` with a later purge on any agent. `PurgeAnswer` comes once for each that asked to wait.
9. A ValueError from `step` is the host's own order that cannot be said: tell whoever gave it. Nothing a peer sends raises.
"""
