# SPDX-License-Identifier: Apache-2.0
"""How the actions that accept an app are called: names, options, help."""

from __future__ import annotations

import click

from sealroom_agents.governance.actions.entry import HASH, Action, Section, option

SECTION = Section(
    "The app",
    (
        Action(
            "accept-app",
            "app.accept_app",
            "audit an app that had another owner, and accept it",
            "Accept the app that its owner offered with transferOwnership(consortium), if revoking "
            "could stop "
            "all that is in it. Anyone may.\n\n"
            "From its events, its views and its storage: recipes and machines that an earlier owner "
            "left, any "
            "machine, TCB off, code other than known, proxies that can change, owner and pending owner.",
            lambda: [
                option(
                    "--known-code",
                    multiple=True,
                    type=HASH,
                    metavar="HASH",
                    help="keccak256 of runtime code that you reviewed, its own address in it as zeros; "
                    "once for the app, once more for what it delegates to.",
                ),
                option(
                    "--from-block",
                    type=click.IntRange(0),
                    default=0,
                    show_default=True,
                    help="Block before the app's first event.",
                ),
                option("--audit-only", is_flag=True, help="Say what is found; accept nothing."),
            ],
            "send",
        ),
    ),
)
