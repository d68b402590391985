# SPDX-License-Identifier: Apache-2.0
"""How the actions that move seats are called: names, options, help."""

from __future__ import annotations

from sealroom_agents.governance.actions.entry import ADDRESS, Action, Section, no_options, option

SECTION = Section(
    "Seats",
    (
        Action(
            "confirm",
            "seats.confirm",
            "say that you know of your seat",
            "Say that you know of your seat. Every vote says so too; the board shows a consortium as "
            "declared until the threshold has.\n\nTo stay when others vote to remove you as silent, "
            "confirm once after the vote, however many such proposals there are.",
            no_options,
            "send",
        ),
        Action(
            "offer-seat",
            "seats.offer_seat",
            "offer your seat to another account, such as a Safe",
            "Offer your seat, with its votes and its veto, to another account. It can take it two "
            "days later; "
            "until then you can take the offer back.",
            lambda: [
                option("--to", type=ADDRESS, metavar="ADDRESS", help="Who may take it."),
                option("--take-back", is_flag=True, help="Take the offer back."),
            ],
            "send",
        ),
        Action(
            "accept-seat",
            "seats.accept_seat",
            "take a seat that was offered to you",
            "Take a seat that was offered to this account two days ago or more.",
            lambda: [option("--of", required=True, metavar="OWNER", help="Whose seat: the owner's id.")],
            "send",
        ),
    ),
)
