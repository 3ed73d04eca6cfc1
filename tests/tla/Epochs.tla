------------------------------ MODULE Epochs ------------------------------
(* How a group passes from one epoch to the next (agent/core/modes/epochs.py), whatever protocol decides within one.

   An epoch's protocol is a log per epoch: a quorum of its members that are still in it may commit the next entry; what a member has
   delivered is a prefix of it. (Raft and PBFT are that to their users; their own proofs are others'.) An entry is a command (the epoch
   in which it was decided) or an end. Who delivers an end applies nothing of this epoch's log after it, and moves on; who is in an epoch
   and hears that it is over takes the state at its end. Members crash and come back with what is on disk: their epoch and a prefix of
   what they had delivered, never less than the place where their epoch began.

   Promises: members' applied logs are prefixes of one another (no two epochs decide one index), each epoch ends at one index, and what
   an index holds was decided in the epoch to which it belongs. *)
EXTENDS Naturals, Sequences, FiniteSets

CONSTANTS Members, MaxEpoch, MaxLog, Broken
(* Broken: "" for the design; "early": an end counts when it is written; "uncut": the rest of the old log is applied, too;
   "untagged": a quorum is counted over members of any epoch. *)

VARIABLES
  log,      \* log[e]: what epoch e has committed, a sequence of "cmd" and "end"
  pending,  \* pending[e]: written in e and not committed: "none" or "end"
  epoch,    \* epoch[m]: the epoch in which m is
  done,     \* done[m]: how much of its epoch's log m has delivered
  applied   \* applied[m]: all that m has applied, as pairs (epoch, position)

vars == <<log, pending, epoch, done, applied>>

Quorums == {q \in SUBSET Members : 2 * Cardinality(q) > Cardinality(Members)}
InEpoch(e) == IF Broken = "untagged" THEN Members ELSE {m \in Members : epoch[m] = e}
CanCommit(e) == \E q \in Quorums : q \subseteq InEpoch(e)
FirstEnd(e) == CHOOSE i \in 1..Len(log[e]) : log[e][i] = "end" /\ \A j \in 1..(i - 1) : log[e][j] # "end"
HasEnd(e) == \E i \in 1..Len(log[e]) : log[e][i] = "end"
Before(e) == [i \in 1..Len(log[e]) |-> <<e, i>>]

RECURSIVE StateAt(_)
(* What has been applied when epoch e begins. *)
StateAt(e) == IF e = 0 THEN <<>> ELSE StateAt(e - 1) \o SubSeq(Before(e - 1), 1, FirstEnd(e - 1))

Init ==
  /\ log = [e \in 0..MaxEpoch |-> <<>>]
  /\ pending = [e \in 0..MaxEpoch |-> "none"]
  /\ epoch = [m \in Members |-> 0]
  /\ done = [m \in Members |-> 0]
  /\ applied = [m \in Members |-> <<>>]

Commit(e) ==
  /\ CanCommit(e)
  /\ Len(log[e]) < MaxLog
  /\ log' = [log EXCEPT ![e] = Append(@, "cmd")]
  /\ UNCHANGED <<pending, epoch, done, applied>>

WriteEnd(e) ==
  /\ e < MaxEpoch
  /\ \E m \in Members : epoch[m] = e
  /\ pending[e] = "none"
  /\ pending' = [pending EXCEPT ![e] = "end"]
  /\ UNCHANGED <<log, epoch, done, applied>>

CommitEnd(e) ==
  /\ pending[e] = "end"
  /\ CanCommit(e)
  /\ Len(log[e]) < MaxLog
  /\ log' = [log EXCEPT ![e] = Append(@, "end")]
  /\ pending' = [pending EXCEPT ![e] = "none"]
  /\ UNCHANGED <<epoch, done, applied>>

(* Written ends may be lost with their leader. *)
LoseEnd(e) ==
  /\ pending[e] = "end"
  /\ pending' = [pending EXCEPT ![e] = "none"]
  /\ UNCHANGED <<log, epoch, done, applied>>

Deliver(m) ==
  LET e == epoch[m]
      i == done[m] + 1
  IN /\ i <= Len(log[e])
     /\ IF log[e][i] = "end" /\ Broken # "uncut"
        THEN /\ epoch' = [epoch EXCEPT ![m] = e + 1]
             /\ done' = [done EXCEPT ![m] = 0]
             /\ applied' = [applied EXCEPT ![m] = Append(@, <<e, i>>)]
        ELSE /\ applied' = [applied EXCEPT ![m] = Append(@, <<e, i>>)]
             /\ IF Broken = "uncut" /\ HasEnd(e) /\ i = Len(log[e])
                THEN epoch' = [epoch EXCEPT ![m] = e + 1] /\ done' = [done EXCEPT ![m] = 0]
                ELSE done' = [done EXCEPT ![m] = i] /\ epoch' = epoch
     /\ UNCHANGED <<log, pending>>

(* "early": moves on when the end is written, with what it has. *)
Early(m) ==
  /\ Broken = "early"
  /\ pending[epoch[m]] = "end"
  /\ epoch' = [epoch EXCEPT ![m] = @ + 1]
  /\ done' = [done EXCEPT ![m] = 0]
  /\ UNCHANGED <<log, pending, applied>>

(* Ended: m hears from n that its epoch is over, and takes the state with which n's began. *)
Learn(m, n) ==
  /\ epoch[n] > epoch[m]
  /\ \A e \in 0..(epoch[n] - 1) : HasEnd(e)
  /\ epoch' = [epoch EXCEPT ![m] = epoch[n]]
  /\ done' = [done EXCEPT ![m] = 0]
  /\ applied' = [applied EXCEPT ![m] = StateAt(epoch[n])]
  /\ UNCHANGED <<log, pending>>

(* Delivered again from disk: any prefix since its epoch began. *)
Crash(m) ==
  /\ done[m] > 0
  /\ \E d \in 0..(done[m] - 1) :
       /\ done' = [done EXCEPT ![m] = d]
       /\ applied' = [applied EXCEPT ![m] = SubSeq(@, 1, Len(@) - (done[m] - d))]
  /\ UNCHANGED <<log, pending, epoch>>

Next ==
  \/ \E e \in 0..MaxEpoch : Commit(e) \/ WriteEnd(e) \/ CommitEnd(e) \/ LoseEnd(e)
  \/ \E m \in Members : Deliver(m) \/ Early(m) \/ Crash(m)
  \/ \E m, n \in Members : Learn(m, n)

Spec == Init /\ [][Next]_vars

IsPrefix(a, b) == Len(a) <= Len(b) /\ SubSeq(b, 1, Len(a)) = a

OneHistory == \A m, n \in Members : IsPrefix(applied[m], applied[n]) \/ IsPrefix(applied[n], applied[m])
NothingAfterTheEnd == \A m \in Members : \A i \in 1..Len(applied[m]) :
  LET e == applied[m][i][1] IN HasEnd(e) => applied[m][i][2] <= FirstEnd(e)
OneDecides == \A e \in 1..MaxEpoch : Len(log[e]) > 0 => HasEnd(e - 1)
TypeOK == \A m \in Members : epoch[m] \in 0..MaxEpoch /\ done[m] <= Len(log[epoch[m]])
=============================================================================
