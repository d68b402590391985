# SPDX-License-Identifier: Apache-2.0
"""``sealroom policy``: what a platform policy says, how two differ, what one says of a recorded machine."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sealroom.codes import Code
from sealroom_agents.cli.options import FILE, FILE_OR_FOLDER, json_option, simulated_root_option
from sealroom_agents.cli.terminal import coloured, complain, one_object, read_bounded, shown, table
from sealroom_agents.errors import CommandExit, ToolError

if TYPE_CHECKING:
    from sealroom.platform_policy import Image, PlatformPolicy

MARKS = {"ok": "ok     ", "refused": "REFUSED", "open": "open   "}
ABSENT = "absent"


@click.group()
def policy() -> None:
    """The owners' platform policy: by which rules a gate judges machines. Owners adopt its hash.

    \b
    Example:
      sealroom policy show platform-policy.json
      sealroom policy check EVIDENCE --policy platform-policy.json
    """


@policy.command()
@click.argument("file", metavar="FILE", type=FILE)
@json_option
def show(file: Path, as_json: bool) -> None:
    """Say what a policy accepts, in words, with its hash.

    \b
    Example:
      sealroom policy show platform-policy.json
    """
    from sealroom.encoding import to_hex

    found = _load(file)
    if as_json:
        told = {"hash": to_hex(found.hash), "profile": found.tcb.profile, "policy": found.to_json()}
        click.echo(one_object(told))
        return
    from sealroom_agents.policy_words import rows

    click.echo(table(list(rows(found))))


@policy.command("hash")
@click.argument("file", metavar="FILE", type=FILE)
@json_option
def hash_(file: Path, as_json: bool) -> None:
    """Print the hash of a policy, which owners adopt: SHA-256 of its canonical bytes, however it is laid out.

    \b
    Example:
      sealroom policy hash platform-policy.json
    """
    from sealroom.encoding import to_hex

    found = to_hex(_load(file).hash)
    click.echo(one_object({"hash": found}) if as_json else found)


@policy.command()
@click.argument("old", metavar="OLD", type=FILE)
@click.argument("new", metavar="NEW", type=FILE)
@json_option
def diff(old: Path, new: Path, as_json: bool) -> None:
    """Say in which members two policies differ: a line with - is only in OLD, one with + only in NEW.

    \b
    Example:
      sealroom policy diff adopted.json proposed.json
    """
    from sealroom.encoding import to_hex

    before, after = _load(old), _load(new)
    was, becomes = dict(_members(before.to_json())), dict(_members(after.to_json()))
    names = sorted({name for name in {*was, *becomes} if was.get(name, ABSENT) != becomes.get(name, ABSENT)})
    if as_json:
        changes = [{"member": name, "old": was.get(name), "new": becomes.get(name)} for name in names]
        hashes = {"old": to_hex(before.hash), "new": to_hex(after.hash)}
        click.echo(one_object({"same": before == after, "hash": hashes, "changes": changes}))
        return
    for name in names:
        for sign, side in (("-", was), ("+", becomes)):
            if name in side:
                click.echo(shown(f"{sign} {name}: {side[name]}"))
    click.echo(
        "the same policy" if before == after else f"{to_hex(before.hash)} becomes {to_hex(after.hash)}"
    )


@policy.command()
@click.argument("evidence", metavar="EVIDENCE", type=FILE_OR_FOLDER)
@click.option(
    "--by", type=click.Choice(["tdx-lite", "image"]), default="tdx-lite", show_default=True,
    help="What the image is to be known by: its measurement, or the registers that follow from it.",
)  # fmt: skip
@click.option(
    "--memory", type=click.IntRange(1), metavar="MIB", multiple=True,
    help="Size of memory that machines may have; may be repeated.  [default: the recorded machine's]",
)  # fmt: skip
def image(evidence: Path, by: str, memory: tuple[int, ...]) -> None:
    """Print the entry of `osImages` for the image that a recorded machine carries, from dstack 0.6 on.

    All of it follows from the image's digest, so the recording need not be trusted: compare the digest with
    the one that the image's release names (digest.txt). Entries by image are also what `sealroom pin
    --os-images` takes.

    \b
    Example:
      sealroom policy image getquote.json --memory 65536
      sealroom policy image getquote.json --by image
    """
    from sealroom.encoding import to_hex
    from sealroom.errors import FormatError
    from sealroom_agents.attestation.dev_images import is_dev_name, said_image
    from sealroom_agents.attestation.lite import as_images, carried_image
    from sealroom_agents.attestation.recording import read_recording

    vm_config = read_recording(evidence).vm_config
    try:
        found = carried_image(vm_config, memory)
    except FormatError as error:
        raise ToolError(Code.OS_IMAGES, f"{evidence}: {error.message}") from error
    name = said_image(vm_config)
    if is_dev_name(name):
        raise ToolError(Code.OS_IMAGE_DEV, f"{name} is an image for developers: no gate accepts it")
    entries: list[Image] = [found] if by == "tdx-lite" else [*as_images(found)]
    click.echo(json.dumps([entry.to_json() for entry in entries], indent=1))
    click.echo(f"image {shown(name) or 'without a name'}, digest {to_hex(found.digest)}", err=True)


@policy.command()
@click.argument("evidence", metavar="EVIDENCE", type=FILE_OR_FOLDER)
@click.option(
    "--policy", "file", type=FILE, required=True, metavar="FILE", help="The platform policy to judge by."
)
@click.option(
    "--kms", "kms_file", type=FILE, metavar="FILE",
    help="The KMS as DstackKms.kmsInfo() tells it: JSON of caPubkey, k256Pubkey, quote and eventlog.",
)  # fmt: skip
@click.option(
    "--at", "moment", type=click.IntRange(0), metavar="SECONDS",
    help="Judge as of this moment, unix seconds; collateral is good for a month.  [default: now]",
)  # fmt: skip
@simulated_root_option
@json_option
def check(
    evidence: Path,
    file: Path,
    kms_file: Path | None,
    moment: int | None,
    simulated_root: Path | None,
    as_json: bool,
) -> int:
    """Judge a recorded machine by a policy: one line a rule, all of them, where a gate stops at the first.

    EVIDENCE is what a guest answers to GetQuote or Attest, as a file; or a folder with quote.bin and
    event_log.json, and, as far as they are there, collateral.json, app-compose.json, app_cert_chain.pem and
    info.json. What is missing leaves its rule open.

    \b
    Exit status:
      0  accepted by every rule
      1  refused by one at least
      3  not refused, and a rule is open

    \b
    Example:
      sealroom policy check recording --policy platform-policy.json --at 1782698817
      sealroom policy check getquote.json --policy platform-policy.json --kms kms.json --json
    """
    from sealroom.encoding import to_hex
    from sealroom_agents.attestation import trust_under
    from sealroom_agents.attestation.judging import judge
    from sealroom_agents.attestation.kms_identity import MAX_INFO_BYTES, KmsInfo
    from sealroom_agents.attestation.recording import read_recording
    from sealroom_agents.attestation.trust import INTEL, load_simulated_root

    found = _load(file)
    root = INTEL if simulated_root is None else load_simulated_root(simulated_root)
    kms = None if kms_file is None else KmsInfo.read(read_bounded(kms_file, MAX_INFO_BYTES, "a KMS"))
    now = int(time.time()) if moment is None else moment
    findings = judge(read_recording(evidence), found, trust=trust_under(found, root), now=now, kms=kms)
    verdicts = {one.verdict for one in findings}
    verdict = "refused" if "refused" in verdicts else "open" if "open" in verdicts else "accepted"
    if as_json:
        rules = [
            {"rule": one.rule, "verdict": one.verdict, "code": one.code or None, "detail": one.detail}
            for one in findings
        ]
        told = {"verdict": verdict, "at": now, "policy": to_hex(found.hash), "rules": rules}
        click.echo(one_object(told, ok=verdict == "accepted"))
    else:
        for one in findings:
            code = f"{one.code}: " if one.code else ""
            click.echo(f"{MARKS[one.verdict]}  {one.rule:<13}{coloured(code + one.detail)}")
        click.echo(f"{verdict} by policy {to_hex(found.hash)}, profile {found.tcb.profile}")
    if verdict == "refused":
        first = next(one for one in findings if one.verdict == "refused")
        complain(f"the rule {first.rule} refuses the machine: {first.code}", None)
        return CommandExit.FAILED
    return CommandExit.UNDECIDED if verdict == "open" else 0


def _load(file: Path) -> PlatformPolicy:
    from sealroom_agents.gate.policy_file import load_policy

    return load_policy(file)


def _members(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Each value inside with its path; the items of an array of objects by what they are, not by place."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _members(item, f"{name}.{key}" if name else key)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for item in value:
            text = json.dumps(item, sort_keys=True, separators=(",", ":"))
            yield f"{name}[{item.get('digest', text[:24])} {item.get('by', '')}]", text
    else:
        yield name, json.dumps(value)
