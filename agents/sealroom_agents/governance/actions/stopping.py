# SPDX-License-Identifier: Apache-2.0
"""How the actions that stop are called: names, options, help."""

from __future__ import annotations

from sealroom_agents.governance.actions.entry import Action, Section, no_options, option

SECTION = Section(
    "Stop",
    (
        Action(
            "revoke",
            "stopping.revoke",
            "stop everything, alone and at once",
            "Stop everything: no study is live, and no approval given before counts for one.\n\n"
            "Any one owner does it alone, in any state. It needs one node that takes the "
            "transaction, and "
            "no agreement between nodes. Votes on owners, platform and machines go on being counted.\n\n"
            "A signed revocation (--request, --sign) stops nothing before somebody hands it in with "
            "--signatures and the same --reason.",
            lambda: [
                option(
                    "--reason",
                    required=True,
                    help="Why, in at most 256 characters. It is public and stays on chain for ever: name no "
                    "patient and nobody else.",
                )
            ],
            "vote",
        ),
        Action(
            "unpin",
            "stopping.unpin",
            "have the app drop a recipe that it kept",
            "Have the app drop a recipe that it kept in spite of a revocation, or whose study expired. "
            "Anyone may.",
            no_options,
            "send",
        ),
    ),
)
