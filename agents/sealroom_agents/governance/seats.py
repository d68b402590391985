# SPDX-License-Identifier: Apache-2.0
"""Actions on seats: an owner confirms its own, offers it, or takes another."""

from __future__ import annotations

from typing import Any

from sealroom.codes import Code
from sealroom.encoding import normal_address
from sealroom.errors import FormatError
from sealroom_agents.errors import ToolError
from sealroom_agents.governance.acts import Act, Call
from sealroom_agents.governance.desk import Answer, Desk
from sealroom_agents.governance.standing import NOBODY
from sealroom_agents.governance.ways.contract_wallet import contract_wallet


def confirm(desk: Desk) -> Answer:
    """Say that the owner knows of its seat."""
    return _simple(desk, "Confirm the seat", "confirm", ())


def offer_seat(desk: Desk, *, to: str | None, take_back: bool) -> Answer:
    """Offer the seat to another account, which can take it two days later."""
    if (to is None) == (not take_back):
        raise ToolError(Code.WAY_UNCLEAR, "needs --to ADDRESS, or --take-back")
    title = "Take the offer of the seat back" if take_back else f"Offer the seat to {to}"
    if to is not None:
        desk.warnings.append(
            "whoever has this account's key in two days' time can be no other: check the address with "
            "its owner"
        )
        if not desk.node.code(to) and contract_wallet(desk.node, to) is None:
            desk.warnings.append(
                f"{to} has no code: it is an account with a key, or a Safe that is not made yet"
            )
    return _simple(desk, title, "offerSeat", (to or NOBODY,))


def accept_seat(desk: Desk, *, of: str) -> Answer:
    """Take a seat that was offered to this account."""
    at = desk.standing
    account = next((one.account for one in at.members if one.id == of), None)
    if account is None:
        try:
            account = normal_address(of)
        except FormatError:
            raise ToolError(
                Code.OWNER_UNKNOWN,
                f"there is no owner {of}",
                f"owners are {', '.join(one.id for one in at.members)}",
            ) from None
    return _simple(desk, f"Take the seat of {of}", "acceptSeat", (account,))


def _simple(desk: Desk, title: str, function: str, arguments: tuple[Any, ...]) -> Answer:
    act = Act(title, (Call("Consortium", desk.consortium, function, arguments),))
    outcome = desk.perform(act, standing=desk.standing)
    return desk.answer(
        {"act": function, **outcome.facts}, [("done" if outcome.sent else "act", title), *outcome.lines]
    )
