# SPDX-License-Identifier: Apache-2.0
"""Actions that stop: a revocation, and a recipe that the app kept."""

from __future__ import annotations

from collections.abc import Sequence

from sealroom.codes import Code
from sealroom.encoding import to_hex
from sealroom.model import Revoke
from sealroom_agents.errors import ToolError
from sealroom_agents.governance.acts import Act, Ballot, Call
from sealroom_agents.governance.desk import Answer, Desk
from sealroom_agents.governance.standing import NO_HASH


def revoke(desk: Desk, *, reason: str) -> Answer:
    """Stop everything. Needs nothing of the chain but that one node takes the transaction."""
    desk.agree = False
    call = Call("Consortium", desk.consortium, "revoke", (reason,))
    signed = bool(desk.way.request or desk.way.sign or desk.way.signatures)

    def vote(owner: str) -> Revoke:
        member = desk.standing.require_owner(owner)
        returns = desk.node.call(
            "Consortium", desk.consortium, "returnsOf", member.id.encode("ascii").ljust(32, b"\0")
        )
        return Revoke(owner=owner, reason=reason, returns=returns)

    def handed_in(signatures: Sequence[tuple[str, bytes]]) -> Call:
        if len(signatures) != 1:
            raise ToolError(Code.WAY_UNCLEAR, "each revocation is a transaction of its own", "hand in one")
        return Call("Consortium", desk.consortium, "revokeWithSignature", (reason, signatures[0]))

    act = Act(
        f"Revoke: stop everything ({reason})", (call,), ballot=Ballot(Revoke.struct, NO_HASH, vote, handed_in)
    )
    outcome = desk.perform(act, standing=desk.standing if signed else None)
    if not outcome.sent:
        return desk.answer(
            {"revoked": False, **outcome.facts}, [*outcome.lines, ("revoked", "not yet: this stops nothing")]
        )
    event = desk.event(outcome, "Revoked")
    after = desk.fresh()
    by = after.name(event["owner"])
    stopped = bytes(event["study"])
    facts = {
        "revoked": True,
        "by": by,
        "study": None if stopped == NO_HASH else to_hex(stopped),
        "live": after.live,
        "appStillAllows": None if after.compose_hash == NO_HASH else to_hex(after.compose_hash),
        **outcome.facts,
    }
    lines = [
        ("revoked", f"by {by}: nothing is live, and no approval given before counts for a study"),
        ("stopped", "no study was live" if stopped == NO_HASH else to_hex(stopped)),
        *outcome.lines,
        ("next", "it stays so until a study is approved anew, by this owner too"),
    ]
    if after.compose_hash != NO_HASH:
        lines.append(("app", "it still allows the recipe; the gate does not. `govern unpin` tries again"))
    return desk.answer(facts, lines)


def unpin(desk: Desk) -> Answer:
    """Ask the app to drop a recipe that it kept."""
    act = Act("Have the app drop a recipe that it kept", (Call("Consortium", desk.consortium, "unpin", ()),))
    outcome = desk.perform(act, standing=desk.standing)
    if outcome.sent:
        left = desk.fresh().compose_hash
        state = "nothing is left in the app" if left == NO_HASH else f"the app still allows {to_hex(left)}"
        return desk.answer(
            {"left": None if left == NO_HASH else to_hex(left), **outcome.facts},
            [("app", state), *outcome.lines],
        )
    return desk.answer(outcome.facts, outcome.lines)
