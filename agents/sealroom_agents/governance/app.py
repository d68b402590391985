# SPDX-License-Identifier: Apache-2.0
"""The action on the app: its audit, and the consortium's acceptance."""

from __future__ import annotations

from sealroom.codes import Code
from sealroom_agents.errors import ToolError
from sealroom_agents.governance.acts import Act, Call
from sealroom_agents.governance.desk import Answer, Desk


def accept_app(desk: Desk, *, known_code: tuple[bytes, ...], from_block: int, audit_only: bool) -> Answer:
    """Audit the app, and accept it where revoking could stop all that is in it."""
    from sealroom_agents.governance.audit import audit

    at = desk.standing
    found = audit(at, known_code=known_code, from_block=from_block)
    facts, lines = found.json(), found.lines()
    if audit_only:
        return Answer({**facts, "accepted": False}, lines, tuple(desk.warnings), failed=not found.sound)
    if not found.sound:
        desk.show(lines)
        what, way_out = found.faults[0]
        raise ToolError(Code.APP_UNSAFE, f"the app is not accepted: {what}", way_out)
    if found.owner == at.consortium:
        return desk.answer({**facts, "accepted": True}, [*lines, ("accepted", "already")])
    desk.show(lines)
    act = Act("Accept the app", (Call("Consortium", at.consortium, "acceptApp", ()),))
    outcome = desk.perform(act, standing=at)
    if not outcome.sent:
        return desk.answer({**facts, "accepted": False, **outcome.facts}, [*lines, *outcome.lines])
    after = audit(desk.fresh(), known_code=known_code, from_block=from_block)
    accepted = after.sound and after.owner == at.consortium
    return Answer(
        {**after.json(), "accepted": accepted, **outcome.facts},
        [*after.lines(), ("accepted", "yes" if accepted else "no"), *outcome.lines],
        tuple(desk.warnings),
        failed=not accepted,
    )
