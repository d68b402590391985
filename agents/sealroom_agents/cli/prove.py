# SPDX-License-Identifier: Apache-2.0
"""``sealroom prove``: put into an envelope what proves that its receipt stands on chain."""

from __future__ import annotations

from pathlib import Path

import click

from sealroom.codes import Code
from sealroom.errors import EnvelopeError, KeyReleaseError
from sealroom_agents.cli.options import FILE, json_option, reader_for, rpc_option
from sealroom_agents.cli.terminal import read_bounded, write_document
from sealroom_agents.errors import ChainError, ToolError, UndecidedError


@click.command()
@click.argument("file", metavar="FILE", type=FILE)
@rpc_option
@click.option(
    "--gate",
    metavar="URL",
    help="The gate that granted the run: its signature on the blocks comes with the proofs.",
)
@click.option("--out", type=FILE, required=True, help="Where the envelope goes; - is stdout.")
@json_option
def prove(file: Path, rpc: tuple[str, ...], gate: str | None, out: Path, as_json: bool) -> None:
    """Write an anchored envelope with proofs: for who took it before its runner had them.

    The node must have the logs and receipts of the run's blocks, as any has for some months. Proofs are
    unsigned and follow from the chain alone, so it does not matter who takes them: they hold or they do not.
    With --gate the gate that granted the run signs for the hashes of their blocks.

    \b
    Exit status:
      0  written
      1  the receipt is not anchored, or its block is not final yet; or the gate refuses
      3  no node answered, or none shows all of it; or the gate does not answer

    \b
    Example:
      sealroom prove envelope.json --rpc URL --gate URL --out proven.json
      sealroom verify proven.json --pin pin.json --block-hash 1290:0x…
    """
    from sealroom.envelope import MAX_ENVELOPE_BYTES, parse_envelope

    envelope = parse_envelope(read_bounded(file, MAX_ENVELOPE_BYTES, "an envelope"))
    if not rpc:
        raise click.UsageError("--rpc is missing")
    if envelope.anchor is None:
        raise ToolError(Code.RECEIPT_NOT_ANCHORED, "the envelope does not say where its receipt stands")
    chain = reader_for(rpc)
    try:
        if chain.chain_id() != envelope.statement.chain_id:
            raise ToolError(Code.WRONG_CHAIN, f"this is not chain {envelope.statement.chain_id}")
        proven = chain.with_proofs(envelope)
    except ChainError as error:
        raise UndecidedError(error.code, f"not written: {error.message}", error.hint) from error
    if proven is None:
        raise ToolError(
            Code.RECEIPT_NOT_ANCHORED,
            f"block {envelope.anchor.block}, in which the receipt is anchored, is not final",
            "try again later: on Ethereum a quarter of an hour after it was anchored",
        )
    if gate is not None:
        from sealroom.runtime.gate_client import GateRefused, HttpGate
        from sealroom_agents.finality import with_word

        try:
            proven = with_word(proven, HttpGate(gate))
        except (KeyReleaseError, EnvelopeError) as error:
            if error.code.transient and not isinstance(error, GateRefused):
                raise UndecidedError(error.code, f"not written: {error.message}", error.hint) from error
            raise
    proofs = 0 if proven.anchor is None else len(proven.anchor.proofs)
    about = f" with {proofs} proofs"
    write_document(out, proven.encode(), {"proofs": proofs}, about=about, as_json=as_json)
