# SPDX-License-Identifier: Apache-2.0
"""``sealroom upload`` and ``sealroom fetch``: carry sealed files, compared by digest at both ends."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sealroom_agents.cli.file_kinds import SEALED, expecting
from sealroom_agents.cli.options import FILE, HashType, dry_run_option, json_option, yes_option
from sealroom_agents.cli.terminal import (
    complain,
    confirm,
    interruptible,
    one_object,
    progress,
    refuse_stdout,
    size,
    table,
)
from sealroom_agents.cli.transfer_told import question, rehearse_fetch, rehearse_upload
from sealroom_agents.errors import CommandExit
from sealroom_agents.owner.transfer.urls import MAX_PARALLEL, PARALLEL, WEB, require_supported, shown

if TYPE_CHECKING:
    from sealroom_agents.owner.transfer.ahead import Ahead

_GOES_ON = "the same command goes on where this one was"
_AS_IT_WAS = "nothing was changed there"
_NOT_KNOWN = "it may be there, if the server had all of it: send it again"

parallel_option = click.option(
    "--parallel",
    type=click.IntRange(1, MAX_PARALLEL),
    default=PARALLEL,
    show_default=True,
    metavar="N",
    help="Requests at a time. Each takes 16 MB of memory.",
)


@click.command()
@click.argument("sealed_file", metavar="SEALED.tar", type=FILE)
@click.argument("url", metavar="URL")
@click.option("--overwrite", is_flag=True, help="Replace what is there; a resealed file, say.")
@click.option("--no-read-back", is_flag=True, help="Do not fetch it again; a signed URL may only take files.")
@parallel_option
@dry_run_option
@yes_option
@json_option
def upload(
    sealed_file: Path,
    url: str,
    overwrite: bool,
    no_read_back: bool,
    parallel: int,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """Send a sealed file to s3://BUCKET/KEY, https://HOST/PATH or file:///PATH.

    Only a whole and sound sealed file is sent: whatever else it is, plaintext or a key, is refused. It is
    read once, and each part is compared with the index before it leaves: a file that is broken, or changes
    meanwhile, never appears there. Then it is fetched again and compared, unless --no-read-back.

    s3 needs the extra `sealroom[s3]`, and takes its credentials as other tools do. Of a file of more than
    16 MB, several parts are sent at a time. Stopped or cut off, the same command goes on where it was, by a
    small hidden file beside the sealed one. https is one PUT to a signed URL, and begins anew.

    Before you are asked, the store is: what is there is not replaced without --overwrite, and what it has of
    a run before is told. A signed URL cannot be asked. With --dry-run all of the file is read and compared,
    too, and nothing is sent.

    \b
    Example:
      sealroom upload sealed/hospital-A/cohort-A.tar s3://study-1/hospital-A/cohort-A.tar --dry-run
      sealroom upload sealed/hospital-A/cohort-A.tar s3://study-1/hospital-A/cohort-A.tar
      sealroom upload sealed/hospital-A/cohort-A.tar "$SIGNED_URL" --no-read-back --yes
    """
    from sealroom.encoding import to_hex
    from sealroom_agents.owner.transfer import sending

    scheme = require_supported(url)
    if dry_run or not yes:
        ahead = _looked(sealed_file, url, overwrite=overwrite, whole=dry_run)
        if dry_run:
            rehearse_upload(sealed_file, shown(url), ahead, read_back=not no_read_back, as_json=as_json)
            return CommandExit.DONE
        confirm(question(sealed_file, shown(url), ahead), yes=yes)
    total = sealed_file.stat().st_size if sealed_file.is_file() else 0
    arrived = False

    def has_arrived() -> None:
        nonlocal arrived
        arrived = True

    try:
        with (
            expecting(sealed_file, SEALED),
            interruptible(),
            progress(f"sending {sealed_file.name}", total) as advance,
        ):
            sent = sending.upload(
                sealed_file,
                url,
                overwrite=overwrite,
                read_back=not no_read_back,
                parallel=parallel,
                arrived=has_arrived,
                progress=advance,
            )
    except KeyboardInterrupt:
        if arrived:
            return _stopped("all of it is there, but was not compared: send it again with --overwrite")
        return _stopped(_GOES_ON if scheme == "s3" else _NOT_KNOWN if scheme in WEB else _AS_IT_WAS)
    facts = {
        "url": shown(url),
        "datasetId": to_hex(sent.info.dataset_id),
        "headerDigest": to_hex(sent.info.header_digest),
        "sha256": to_hex(sent.digest),
        "size": sent.info.sealed_size,
        "resumed": sent.resumed,
        "readBack": sent.read_back,
    }
    lines = [
        ("sent", f"{shown(url)}  {size(sent.info.sealed_size)}{_of_before(sent.resumed)}"),
        ("sha256", to_hex(sent.digest)),
        ("compared", "what lies there is what was sent" if sent.read_back else "no: --no-read-back"),
    ]
    click.echo(one_object(facts) if as_json else table(lines))
    return CommandExit.DONE


@click.command()
@click.argument("url", metavar="URL")
@click.option(
    "--out", required=True, type=FILE, metavar="FILE", help="Where it goes: hospital-A/cohort-A.tar."
)
@click.option("--registration", type=FILE, metavar="FILE", help="What its owner registered.")
@click.option("--sha256", type=HashType(), metavar="HASH", help="What `sealroom upload` printed.")
@parallel_option
@dry_run_option
@json_option
def fetch(
    url: str,
    out: Path,
    registration: Path | None,
    sha256: bytes | None,
    parallel: int,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Fetch a sealed file, and keep it only if it is the expected one.

    No server is trusted: what comes must have the registered header and index, or the given digest,
    and be no longer than its own header allows. A redirect is followed to https,
    or from http to http, and nowhere else.

    Stopped or cut off, the same command goes on where it was: what lies in .NAME.fetching beside FILE is
    compared part by part, and only what is missing or wrong is fetched. A server without ranges sends it
    all again. FILE appears once it is whole. With --dry-run the two ends of the file are fetched and
    compared, and what lies here is: it is told how much would come, and nothing is written.

    \b
    Example:
      sealroom fetch s3://study-1/A.tar --registration A.registration.json --out hospital-A/cohort-A.tar
      sealroom fetch https://HOST/A.tar --sha256 0x… --out hospital-A/cohort-A.tar
    """
    from sealroom.encoding import to_hex
    from sealroom_agents.owner.registration import load_registration
    from sealroom_agents.owner.transfer import fetching

    refuse_stdout(out)
    if registration is None and sha256 is None:
        raise click.UsageError("needs --registration or --sha256: a file is kept only if it can be compared")
    expected = fetching.Expected(
        registration=None if registration is None else load_registration(registration), digest=sha256
    )
    if dry_run:
        with interruptible():
            coming = fetching.look(url, out, expected=expected)
        rehearse_fetch(out, shown(url), coming, expected, as_json=as_json)
        return CommandExit.DONE
    try:
        with interruptible(), progress(f"fetching {out.name}", None) as advance:
            fetched = fetching.fetch(url, out, expected=expected, parallel=parallel, progress=advance)
    except KeyboardInterrupt:
        return _stopped(_GOES_ON)
    info = fetched.info
    facts = {
        "sealed": str(out),
        "datasetId": to_hex(info.dataset_id),
        "headerDigest": to_hex(info.header_digest),
        "size": info.sealed_size,
        "resumed": fetched.resumed,
    }
    lines = [
        ("fetched", f"{out}  {size(info.sealed_size)} from {shown(url)}{_of_before(fetched.resumed)}"),
        ("dataset", f"{info.header.dataset} of {info.header.owner}, version {info.header.dataset_version}"),
    ]
    click.echo(one_object(facts) if as_json else table(lines))
    return CommandExit.DONE


def _looked(sealed_file: Path, url: str, *, overwrite: bool, whole: bool) -> Ahead:
    """What sending would do. whole: with all of the file read and compared."""
    from sealroom_agents.owner.transfer import ahead

    total = sealed_file.stat().st_size if whole and sealed_file.is_file() else 0
    with (
        expecting(sealed_file, SEALED),
        interruptible(),
        progress(f"reading {sealed_file.name}", total) as advance,
    ):
        return ahead.look(sealed_file, url, overwrite=overwrite, whole=whole, progress=advance)


def _of_before(resumed: int) -> str:
    return f", {size(resumed)} of it by a run before" if resumed else ""


def _stopped(how_on: str) -> int:
    complain("stopped", how_on)
    return CommandExit.INTERRUPTED
