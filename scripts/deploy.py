# SPDX-License-Identifier: Apache-2.0
"""Deploys a consortium with its app; with ledger and factory where there are none yet.

ape run deploy --network ethereum:mainnet --account operator --config deploy.json --out deployment.json
"""

from __future__ import annotations

from pathlib import Path

import click
from ape import project
from ape.api import AccountAPI
from ape.cli import account_option
from scripts._command import ChainCommand, answer, complaints, read_json, signer
from scripts._deploy import Config, Journal, Site, deploy

from sealroom.encoding import to_hex
from sealroom_agents.cli.terminal import warn

HELP = """Deploy a consortium and the DstackApp that it owns.

CONFIG is JSON:

\b
  {"owners": [{"account": "0x…", "id": "hospital-A", "jurisdiction": "DE", "regimes": ["GDPR"]}, …],
   "threshold": 2,
   "salt": "0x…",       32 bytes; random if left out
   "factory": "0x…"}    or "ledger": "0x…"; both are deployed if left out

With "app": "0x…" the consortium is made for an app that dstack's own contracts deployed. Its owner then sends
`transferOwnership(consortium)`, and anybody `ape run govern accept-app`.

A call that is interrupted is repeated with the same configuration, on the same chain: what it has made, and
what it was about to make, is in OUT.part, and is not made again. A deployment that is finished is never
overwritten. A consortium of the same owners, threshold and salt is created once: made again, it is the same
one.

Regimes: HIPAA, GDPR, UK GDPR, PCI, FFIEC, SOC 2. The account pays, and gets no right over what it deploys.
"""


@click.command(cls=ChainCommand, help=HELP)
@account_option()
@click.option(
    "--config",
    "config_file",
    required=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Owners and threshold, as above.",
)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where the addresses are written.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the addresses as JSON.")
def cli(account: AccountAPI, config_file: Path, out: Path, as_json: bool) -> None:
    with complaints():
        config = Config.parse(read_json(config_file))
        for warning in config.warnings():
            warn(warning)
        account = signer(account)
        journal = Journal(out, config, Site(project, account))
        for name, address in journal.made.items():
            warn(f"{name} is there from an earlier call: {address}")
        deployment = deploy(project, account, config, journal)
        journal.done(deployment.json())
    lines = [(name, str(value)) for name, value in deployment.json().items()]
    lines += [("owners", ", ".join(owner.id for owner in config.owners))]
    lines += [("threshold", f"{config.threshold} of {len(config.owners)}"), ("salt", to_hex(journal.salt))]
    answer(deployment.json(), [*lines, ("written to", str(out))], as_json=as_json)
