"""Proofs that are shown to others, checked: stable checkpoints, prepared certificates, view-changes, new views (4.3 and 4.4).

Functions of their arguments and of the desk's keys; nothing here changes anything. Each says what is wrong, or nothing ("").
"""

from collections.abc import Mapping

from msgspec import Struct

from agent.core.pbft.desk import Desk
from agent.core.pbft.messages import NULL, Checkpoint, Decision, NewView, Prepared, Proposal, ViewChange, Vouch


class Plan(Struct, frozen=True):
    """What a new view begins with: min-s, the digests of min-s + 1 to max-s, and the proof of the checkpoint at min-s."""

    stable: int
    proof: tuple[Checkpoint, ...]
    digests: tuple[bytes, ...]


def wrong_with_proof(desk: Desk, proof: tuple[Checkpoint, ...]) -> str:
    """A stable checkpoint: a quorum signed the same (4.3)."""
    if len({one.sender for one in proof}) < desk.quorum:
        return "fewer checkpoints than a quorum"
    if len({one.body() for one in proof}) != 1:
        return "checkpoints that differ"
    return wrong_with_signers(desk, proof)


def wrong_with_vouches(desk: Desk, vouches: tuple[Vouch, ...]) -> str:
    """A snapshot's digest: f + 1 signed it, one of which is correct (OSDI 1999, 4.6; TOCS 2002, 4.6)."""
    if len({one.sender for one in vouches}) < desk.f + 1:
        return "fewer vouches than f + 1"
    if len({one.body() for one in vouches}) != 1:
        return "vouches that differ"
    return wrong_with_signers(desk, vouches)


def wrong_with_signers(desk: Desk, signed: tuple[Checkpoint, ...] | tuple[Vouch, ...]) -> str:
    for one in signed:
        if one.sender not in desk.voters:
            return "a signer who is no voter"
        if not desk.proves(one.sender, one):
            return "a signature that is wrong"
    return ""


def wrong_with_prepared(desk: Desk, cert: Prepared) -> str:
    """The primary's proposal and prepares of different backups: with the primary a quorum (4.2)."""
    primary = desk.primary(cert.view)
    backups = {sender for sender, _ in cert.prepares}
    if len(backups) < desk.quorum - 1 or len(backups) != len(cert.prepares):
        return "fewer prepares than a quorum"
    if primary in backups or not backups <= set(desk.voters):
        return "a prepare of none of the backups"
    if not desk.proves(primary, Proposal(cert.view, cert.seq, cert.digest, cert.shown)):
        return "a proposal that is not its primary's"
    said = (3, cert.view, cert.seq, cert.digest)
    for sender, sig in cert.prepares:
        if not desk.proves_said(sender, said, sig):
            return "a prepare that is not its sender's"
    return ""


def wrong_with_decision(desk: Desk, decision: Decision) -> str:
    """committed(m, v, n): a quorum said so, f + 1 correct members among it."""
    senders = {sender for sender, _ in decision.commits}
    if len(senders) < desk.quorum or len(senders) != len(decision.commits) or not senders <= set(desk.voters):
        return "fewer commits than a quorum"
    said = (4, decision.view, decision.seq, decision.digest)
    for sender, sig in decision.commits:
        if not desk.proves_said(sender, said, sig):
            return "a commit that is not its sender's"
    return ""


def wrong_with_view_change(desk: Desk, change: ViewChange) -> str:
    if change.sender not in desk.voters or not desk.proves(change.sender, change):
        return "a signature that is wrong"
    if change.stable:
        wrong = wrong_with_proof(desk, change.proof)
        if wrong or change.proof[0].seq != change.stable:
            return wrong or "the proof of another checkpoint"
    elif change.proof:
        return "a proof of the beginning"
    last = change.stable
    for cert in change.prepared:
        if not last < cert.seq <= change.stable + desk.config.window:
            return "certificates out of order or beyond the watermarks"
        if cert.view >= change.view:
            return "a certificate of a view to come"
        last = cert.seq
        if wrong := wrong_with_prepared(desk, cert):
            return wrong
    return ""


def plan(changes: tuple[ViewChange, ...]) -> Plan:
    """O from V (4.4): for each number the digest that was prepared in the highest view, else the null request."""
    base = max(changes, key=lambda one: one.stable)
    best: dict[int, Prepared] = {}
    for change in changes:
        for cert in change.prepared:
            if cert.seq not in best or cert.view > best[cert.seq].view:
                best[cert.seq] = cert
    last = max([base.stable, *best])
    digests = tuple(best[seq].digest if seq in best else NULL for seq in range(base.stable + 1, last + 1))
    return Plan(base.stable, base.proof, digests)


def wrong_with_new_view(desk: Desk, new: NewView, checked: Mapping[int, ViewChange]) -> str:
    """Everyone does the primary's computation again (4.4). `checked`: view-changes by sender that were found right before."""
    primary = desk.primary(new.view)
    if not desk.proves(primary, new):
        return "a signature that is wrong"
    senders = {change.sender for change in new.changes}
    if len(senders) < desk.quorum or len(senders) != len(new.changes):
        return "fewer view-changes than a quorum"
    for change in new.changes:
        if change.view != new.view:
            return "a view-change to another view"
        if checked.get(change.sender) != change and (wrong := wrong_with_view_change(desk, change)):
            return wrong
    made = plan(new.changes)
    if len(made.digests) > 2 * desk.config.window or len(made.digests) != len(new.proposals):
        return "proposals for other numbers"
    for seq, (digest, proposal) in enumerate(zip(made.digests, new.proposals, strict=True), made.stable + 1):
        if (proposal.view, proposal.seq, proposal.digest) != (new.view, seq, digest):
            return "a proposal that does not follow from the view-changes"
        if not desk.proves(primary, proposal):
            return "a proposal that is not the primary's"
    return ""
