# SPDX-License-Identifier: Apache-2.0
"""Options that several commands share, and what they turn into."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sealroom_agents.chains import C, private_chain_option

if TYPE_CHECKING:
    from sealroom_agents.attestation import TrustRoot
    from sealroom_agents.chain import ChainReader

HASH_SIZE = 32
RPC_TIMEOUT_S = 20.0
"""How long one question to a chain node may take."""
PRIVATE_CHAIN = f"{__name__}.private_chain"
"""Where a command keeps its `--private-chain`."""


class HashType(click.ParamType):
    """32 bytes as `0x` + 64 hex digits."""

    name = "hash"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> bytes:
        if isinstance(value, bytes):
            return value
        try:
            data = bytes.fromhex(str(value).removeprefix("0x"))
        except ValueError:
            data = b""
        if len(data) != HASH_SIZE:
            self.fail(f"{value!r} is not 0x and 64 hex digits", param, ctx)
        return data


FILE = click.Path(path_type=Path, dir_okay=False)
FILE_OR_FOLDER = click.Path(path_type=Path)


class CardType(click.Path):
    """The file of a study card; who names the folder of a study is told what makes a card of it."""

    def __init__(self) -> None:
        super().__init__(path_type=Path, dir_okay=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path."""
        if Path(value).is_dir():
            self.fail(
                f"{value} is a folder, and no study card: sealroom recipe renders a study, and sealroom card "
                "writes its card",
                param,
                ctx,
            )
        return super().convert(value, param, ctx)


study_option = click.option(
    "--study",
    type=CardType(),
    default=Path("study.json"),
    show_default=True,
    metavar="FILE",
    help="The study card.",
)


def rpc_option(command: C) -> C:
    """`--rpc`, and `--private-chain` for `reader_for`."""
    command = private_chain_option(command, expose_value=False, callback=_keep_private_chain)
    return click.option(
        "--rpc",
        "rpc",
        metavar="URL",
        multiple=True,
        help="Ethereum RPC; give it more than once and all must agree.",
    )(command)


def _keep_private_chain(context: click.Context, _: click.Parameter, value: int | None) -> None:
    context.meta[PRIVATE_CHAIN] = value


simulated_root_option = click.option(
    "--simulated-root",
    type=FILE,
    metavar="FILE",
    help="Trust this simulated TDX root (root.der) in place of Intel's; local chains only.",
)
gate_compose_option = click.option(
    "--gate-compose",
    type=HashType(),
    metavar="HASH",
    help="Compose hash that the gate must run, for when no --rpc can say which one the owners adopted.",
)
keystore_option = click.option(
    "--keystore",
    type=FILE,
    metavar="FILE",
    help="The owner's account as an Ethereum keystore file; its passphrase is asked for, or taken from "
    "$SEALROOM_PASSPHRASE.",
)
yes_option = click.option("--yes", is_flag=True, help="Do not ask; scripts must say it.")
dry_run_option = click.option(
    "--dry-run",
    is_flag=True,
    help="Check all of it and say what would be done; write nothing, send nothing.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")


def trust_for(simulated_root: Path | None, *, chain_id: int) -> TrustRoot:
    """The root to trust: Intel's, or a simulated one when it was named and the chain is a local one.

    Under Intel's, all that owners may grant in their platform policy is accepted; `trust_under` narrows it.
    """
    from sealroom_agents.attestation import (
        INTEL_UNDER_ANY_POLICY,
        load_simulated_root,
        require_local_chain,
    )

    if simulated_root is None:
        return INTEL_UNDER_ANY_POLICY
    trust = load_simulated_root(simulated_root)
    require_local_chain(trust, chain_id)
    return trust


def reader_for(rpc: tuple[str, ...]) -> ChainReader:
    """A reader of the chain; nothing is asked yet."""
    from sealroom_agents.chain.client import ChainReader

    private_chain = click.get_current_context().meta.get(PRIVATE_CHAIN)
    return ChainReader(list(rpc), timeout_s=RPC_TIMEOUT_S, private_chain=private_chain)
