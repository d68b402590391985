# SPDX-License-Identifier: Apache-2.0
"""``sealroom verify``: one line a link, the first broken one by name, and what all of them prove."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sealroom.codes import Code
from sealroom.encoding import sha256, to_hex
from sealroom_agents.cli.file_kinds import ENVELOPE, expecting
from sealroom_agents.cli.options import (
    FILE,
    json_option,
    reader_for,
    rpc_option,
    simulated_root_option,
    trust_for,
)
from sealroom_agents.cli.ruling import rules_of, told_rules
from sealroom_agents.cli.terminal import coloured, complain, finding, read_bounded, warn, write_out
from sealroom_agents.errors import CommandExit, ToolError
from sealroom_agents.recipe_words import guarantee_facts

if TYPE_CHECKING:
    from sealroom.envelope import Envelope
    from sealroom.recipe import Recipe
    from sealroom_agents.errors import ChainError
    from sealroom_agents.verification import Link, Pin, TrustedBlock, Verdict


class BlockHash(click.ParamType[tuple[int, bytes]]):
    """The hash of a block, behind its number: `1300:0x…`."""

    name = "block hash"

    def convert(self, value: Any, _: Any, __: Any) -> tuple[int, bytes]:
        """Number and hash."""
        from sealroom.encoding import from_hex
        from sealroom.errors import FormatError

        number, _, text = str(value).partition(":")
        try:
            digest = from_hex(text, 32)
        except FormatError:
            digest = b""
        if not (number.isascii() and number.isdecimal() and len(number) < 17 and digest):
            self.fail(f"{value!r} is no number of a block, a colon and its hash: 1300:0x…")
        return int(number), digest


@click.command()
@click.argument("file", metavar="[FILE]", type=FILE, required=False)
@click.option(
    "--pin",
    "pin_file",
    type=FILE,
    metavar="FILE",
    help="What you know from elsewhere: consortium, gate, KMS root and OS images (see: sealroom pin).",
)
@click.option(
    "--policy", "policy_file", type=FILE, metavar="FILE",
    help="The platform policy by which the gate judged; machines are then held against it.",
)  # fmt: skip
@click.option(
    "--attestation",
    "attestation_file",
    type=FILE,
    metavar="FILE",
    help="An attestation.json, which must say what the envelope says (see: sealroom attestation).",
)
@click.option(
    "--block-hash",
    "block_hashes",
    type=BlockHash(),
    metavar="NUMBER:HASH",
    multiple=True,
    help="Hash of a block, from whom you believe; the envelope's proofs are compared with it. May be given "
    "several times.",
)
@click.option(
    "--room", "folder", type=click.Path(path_type=Path, file_okay=False), metavar="FOLDER",
    help="Take pin, node and simulated root from this local room (see: sealroom up --local).",
)  # fmt: skip
@click.option(
    "--page", type=FILE, metavar="FILE",
    help="Write the page that verifies in a browser, from disk and without network; - is stdout.",
)  # fmt: skip
@rpc_option
@simulated_root_option
@json_option
def verify(
    file: Path | None,
    pin_file: Path | None,
    policy_file: Path | None,
    attestation_file: Path | None,
    block_hashes: tuple[tuple[int, bytes], ...],
    folder: Path | None,
    page: Path | None,
    rpc: tuple[str, ...],
    simulated_root: Path | None,
    as_json: bool,
) -> int:
    """Walk every link of a result's envelope, and say what it proves.

    FILE is an envelope, or a model file that has one in it: then also that each weight is the signed one, and
    that the hash chain of checkpoints ends in these weights.

    Offline: the result, who signed it, which gate let it have keys, which recipe ran, on which hardware.
    Anybody can make all of that with a consortium, a gate and firmware of their own. With --pin it is
    compared with the ones that you know, and becomes a proof.

    What the chain says of the run: that the owners had adopted the gate and approved the study, that the
    budget was booked and the receipt anchored. A published envelope carries proofs of that, which rest on the
    hashes of a few blocks; each is told with who vouches for it. The gate that granted signs for them, which
    counts where --pin holds gate, KMS root and OS images. Nodes of --rpc do, any that have the headers of
    these blocks; --block-hash does without a node. With --rpc also whether anyone revoked since. For an
    envelope without proofs --rpc must be a node that keeps old state.

    Machines, GPUs and the lease are held against the platform policy by which the gate judged. The envelope
    carries it, and the gate's quote binds its hash; a document in --policy must have the same.

    --page writes one file that walks the same links in an auditor's browser: it asks nobody, and compiles no
    SQL. Its SHA-256 stands in the release's SHA256SUMS.

    \b
    Exit status:
      0  proven, or the same on a simulated machine: all links hold, and every origin is the pinned one
      1  broken: the first broken link is named
      3  not decided: no node answered, or they disagree
      4  self-consistent, origin unproven: all links hold, and anybody may have made it

    \b
    Example:
      sealroom verify envelope.json --pin pin.json
      sealroom verify envelope.json --pin pin.json --rpc URL
      sealroom verify envelope.json --pin pin.json --block-hash 1290:0x… --block-hash 1300:0x…
      sealroom verify envelope.json --pin pin.json --policy platform-policy.json
      sealroom verify model.safetensors --pin pin.json --attestation attestation.json
      sealroom verify --page verify.html
    """
    if page is not None:
        _write_page(page)
    if file is None:
        if page is None:
            raise click.UsageError("name a file to verify, or where the page goes: --page FILE")
        return 0
    from sealroom.envelope import MAX_ENVELOPE_BYTES, parse_envelope
    from sealroom_agents import verification
    from sealroom_agents.errors import ChainError
    from sealroom_agents.verification.attestation_file import MAX_ATTESTATION_BYTES, attestation_link
    from sealroom_agents.verification.model_file import (
        MAX_MODEL_BYTES,
        is_model_file,
        model_links,
        read_model,
    )

    room: Room | None = None
    if folder is not None:
        from sealroom_agents.local.room import Room

        room = Room.read(folder)
        pin_file, rpc = pin_file or room.places.pin, rpc or (room.rpc,)
        simulated_root = simulated_root or room.places.root
    data = read_bounded(file, max(MAX_ENVELOPE_BYTES, MAX_MODEL_BYTES), "an envelope or a model")
    held = read_model(data) if is_model_file(data) else None
    with expecting(file, ENVELOPE):
        envelope = parse_envelope(data) if held is None else held.envelope
    pin = verification.NOTHING
    if pin_file is not None:
        pin = verification.parse_pin(read_bounded(pin_file, verification.PIN_LIMIT_BYTES, "a pin file"))
    trust = trust_for(simulated_root, chain_id=envelope.statement.chain_id)
    policy, trust, unruled = rules_of(policy_file, envelope, trust)
    reader = reader_for(rpc) if rpc else None
    links = [] if held is None else model_links(held)
    if attestation_file is not None:
        said = read_bounded(attestation_file, MAX_ATTESTATION_BYTES, "an attestation")
        links.append(attestation_link(said, envelope))
    if not as_json:
        _tell_links(links)
    undecided: ChainError | None = None
    if verification.first_broken(links) is None:
        try:
            now = int(time.time())
            hashes = _hashes(block_hashes)
            for link in verification.walk(
                envelope, trust=trust, pin=pin, chain=reader, now=now, hashes=hashes, policy=policy
            ):
                links.append(link)
                if not as_json:
                    _tell_links([link])
        except ChainError as error:
            undecided = error if room is None else room.away(error)
    verdict = verification.verdict_of(
        links, pin=pin, on_chain=reader is not None, simulated=trust.is_simulated
    )
    holds = verdict.broken is None and undecided is None
    if holds and unruled is not None:
        raise unruled
    unused = {number for number, _ in block_hashes} - {block.number for block in verdict.blocks}
    if holds and unused:
        warn(f"no proof is of block {', '.join(map(str, sorted(unused)))}: what you gave of it is not used")
    recipe = _recipe(envelope, links) if holds else None
    if as_json:
        facts = _facts(links, pin, verdict, undecided)
        promise = None if recipe is None else guarantee_facts(recipe)
        rules = None if policy is None or not holds else to_hex(policy.hash)
        told = {"onChain": reader is not None, "policy": rules, "guarantee": promise, **facts}
        click.echo(json.dumps(told))
    else:
        if policy is not None and holds:
            click.echo(told_rules(policy, policy_file))
        for label, answer in [*_promised(recipe), *verdict.lines()]:
            click.echo(f"{label}: {coloured(answer)}")
    if undecided is not None:
        complain(f"not decided: {undecided.message}", undecided.hint)
        return CommandExit.UNDECIDED
    if verdict.broken is not None:
        complain(
            f"the link {verdict.broken.name} is broken: {verdict.broken.detail}", _hint(verdict.broken.code)
        )
        return CommandExit.FAILED
    if not as_json:
        _tell(len(links), verdict)
    return CommandExit.UNPROVEN if verdict.unproven else 0


def _write_page(page: Path) -> None:
    built = resources.files("sealroom_agents").joinpath("console", "static", "built", "verify.html")
    try:
        data = built.read_bytes()
    except FileNotFoundError:
        hint = "run .ci/setup in the checkout, then install again"
        raise ToolError(Code.SOURCE_UNREADABLE, "this installation has no verify page", hint) from None
    write_out(page, data)
    if str(page) != "-":
        click.echo(f"wrote {page}, SHA-256 {sha256(data).hex()}", err=True)


def _tell_links(links: Sequence[Link]) -> None:
    for link in links:
        finding(link.name, link.detail, ok=link.ok, width=17)
        for block in link.blocks:
            click.echo(f"{'':7} {'':17}  {_told_block(block)}")


def _told_block(block: TrustedBlock) -> str:
    measured = "" if block.gate_compose is None else f" (compose {to_hex(block.gate_compose)[:10]}…)"
    words = {"node": "--rpc", "auditor": "--block-hash", "gate": f"the gate's signature{measured}"}
    who = " and ".join(words[voucher] for voucher in block.vouchers) or "nobody"
    return f"{block.number}:{to_hex(block.hash)} {', '.join(block.shows)}; vouched for by: {who}"


def _hashes(given: Sequence[tuple[int, bytes]]) -> dict[int, bytes]:
    hashes: dict[int, bytes] = {}
    for number, digest in given:
        if hashes.setdefault(number, digest) != digest:
            raise click.UsageError(f"--block-hash names two hashes of block {number}")
    return hashes


def _recipe(envelope: Envelope, links: list[Link]) -> Recipe | None:
    """The recipe in the envelope, where it is what ran and the result is of its contract."""
    from sealroom.recipe import parse

    held = {link.name for link in links if link.ok}
    return parse(envelope.recipe) if held >= {"recipe", "output"} else None


def _promised(recipe: Recipe | None) -> list[tuple[str, str]]:
    """What the recipe promises, and each field with the noise that it got."""
    from sealroom_agents.cli.promise import guarantee_line, told

    if recipe is None:
        return []
    return [
        guarantee_line(recipe),
        ("protects", f"each {recipe.unit} with all its rows"),
        *(
            (
                f"field {field.name}",
                f"{field.sentence(recipe.rows)} {field.cost.law} noise, {field.cost.text()}; 95 %: "
                f"{told(field, recipe.rows)}",
            )
            for field in recipe.output.fields
        ),
    ]


def _facts(links: list[Link], pin: Pin, verdict: Verdict, undecided: ChainError | None) -> dict[str, object]:
    outcome = "undecided" if undecided is not None else str(verdict.outcome)
    return {
        "ok": outcome in ("proven", "simulated"),
        "verdict": outcome,
        "simulated": verdict.simulated,
        "pinned": sorted(pin.origins),
        "unproven": list(verdict.unproven),
        "enclaveProven": verdict.enclave_proven,
        "anchored": verdict.anchored,
        "unchecked": list(verdict.unchecked),
        "blocks": [
            {
                "number": block.number,
                "hash": to_hex(block.hash),
                "shows": list(block.shows),
                "vouchers": list(block.vouchers),
                "gateCompose": None if block.gate_compose is None else to_hex(block.gate_compose),
            }
            for block in verdict.blocks
        ],
        "links": [
            {"name": one.name, "ok": one.ok, "code": one.code, "check": one.check, "detail": one.detail}
            for one in links
        ],
    }


def _tell(count: int, verdict: Verdict) -> None:
    """The last lines, for people: what is proven, and what is not."""
    from sealroom_agents.verification import ORIGINS

    if verdict.unproven:
        missing = ", ".join(ORIGINS[origin] for origin in verdict.unproven)
        click.echo(f"self-consistent, origin unproven: all {count} links hold, by its own claims", err=True)
        warn(f"nothing that you pinned vouches for: {missing}; pass --pin FILE that holds it (sealroom pin)")
    else:
        word = "holds, on a simulated machine" if verdict.simulated else "proven"
        click.echo(f"{word}: all {count} links hold, and every origin is the pinned one", err=True)
    if verdict.simulated:
        warn("the hardware is SIMULATED: the holder of its root key can make such an envelope")
    if verdict.unchecked:
        what = ", ".join(verdict.unchecked)
        if any(not block.vouchers for block in verdict.blocks):
            warn(f"what the proofs say is as good as these blocks ({what}); pass --rpc URL or --block-hash")
        elif verdict.rests_on_gate:
            warn(
                f"what the proofs say is as good as the gate that signed for these blocks ({what}); pass "
                "--pin FILE that holds gate, KMS root and OS images, or --rpc URL"
            )
        else:
            warn(f"not checked, for it is on chain: {what}; pass --rpc URL")


def _hint(code: Code | None) -> str | None:
    hints = {
        Code.QUOTE_INVALID: "a result of a simulated platform needs --simulated-root root.der, and proves "
        "nothing elsewhere",
        Code.WRONG_CHAIN: "ask a node of the chain that the envelope names; without proofs in it, one that "
        "keeps old state",
        Code.BLOCK_MISMATCH: "the hash that was given is of another fork or chain, or the proofs are",
        Code.MODEL_MISMATCH: "take the file anew from where it was published, or write it from the envelope: "
        "sealroom model",
        Code.ATTESTATION_MISMATCH: "write it anew from the envelope: sealroom attestation",
        Code.RECEIPT_NOT_ANCHORED: "a result counts once its receipt is anchored",
        Code.CONSORTIUM_NOT_PINNED: "this is the result of other owners, or the pin file is of another study",
        Code.GATE_NOT_PINNED: "where the owners changed their gate, pin the one of the time of this result",
        Code.OS_IMAGE_NOT_PINNED: "add the image to the pin file only if its registers come from its maker",
    }
    return None if code is None else hints.get(code)
