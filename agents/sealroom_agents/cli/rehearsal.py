# SPDX-License-Identifier: Apache-2.0
"""`--dry-run`: how every command that has it says what it would have done, in one form.

All that can be checked was checked before; what is told here was neither written nor sent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import click

from sealroom_agents.cli.terminal import table


def rehearsed(would: Sequence[tuple[str, str]], facts: Mapping[str, object], *, as_json: bool) -> None:
    """Say what would be done, as a table or as JSON. would: what, and where or to whom."""
    if as_json:
        told = [{"act": act, "what": what} for act, what in would]
        click.echo(json.dumps({"ok": True, "dryRun": True, "would": told, **facts}))
        return
    click.echo(table([(f"would {act}", what) for act, what in would]))
    click.echo("a dry run: nothing was written or sent", err=True)
