# SPDX-License-Identifier: Apache-2.0
"""``sealroom upload`` and ``sealroom fetch``: carry sealed files, checked by digest at both ends."""

from __future__ import annotations

import json
from pathlib import Path

import click

from sealroom_agents.cli.options import FILE, HashType, json_option, yes_option
from sealroom_agents.cli.terminal import confirm, interruptible, progress, refuse_stdout, size, table


@click.command()
@click.argument("sealed_file", metavar="SEALED.tar", type=FILE)
@click.argument("url", metavar="URL")
@click.option("--overwrite", is_flag=True, help="Replace what is there; a resealed file, say.")
@click.option("--no-read-back", is_flag=True, help="Do not fetch it again; a signed URL may only take files.")
@yes_option
@json_option
def upload(
    sealed_file: Path, url: str, overwrite: bool, no_read_back: bool, yes: bool, as_json: bool
) -> None:
    """Send a sealed file to s3://BUCKET/KEY, https://HOST/PATH or file:///PATH.

    Only a whole and sound sealed file is sent: whatever else it is, plaintext or a key, is refused. It is
    fetched again and compared, unless --no-read-back.

    s3 needs the extra `sealroom[s3]`, and takes its credentials as other tools do. https is one PUT, so it
    takes a signed URL.

    \b
    Example:
      sealroom upload sealed/hospital-A/cohort-A.tar s3://study-1/hospital-A/cohort-A.tar
      sealroom upload sealed/hospital-A/cohort-A.tar "$SIGNED_URL" --no-read-back --yes
    """
    from sealroom.encoding import to_hex
    from sealroom_agents.owner import remote, stores
    from sealroom_agents.owner.web import shown

    stores.require_supported(url)
    confirm(f"send {sealed_file} to {shown(url)}?", yes=yes)
    total = sealed_file.stat().st_size if sealed_file.is_file() else 0
    with interruptible(), progress(f"sending {sealed_file.name}", total) as advance:
        sent = remote.upload(
            sealed_file, url, overwrite=overwrite, read_back=not no_read_back, progress=advance
        )
    facts = {
        "url": shown(url),
        "datasetId": to_hex(sent.info.dataset_id),
        "headerDigest": to_hex(sent.info.header_digest),
        "sha256": to_hex(sent.digest),
        "size": sent.info.sealed_size,
        "readBack": sent.read_back,
    }
    lines = [
        ("sent", f"{shown(url)}  {size(sent.info.sealed_size)}"),
        ("sha256", to_hex(sent.digest)),
        ("compared", "what lies there is what was sent" if sent.read_back else "no: --no-read-back"),
    ]
    click.echo(json.dumps(facts) if as_json else table(lines))


@click.command()
@click.argument("url", metavar="URL")
@click.option(
    "--out", required=True, type=FILE, metavar="FILE", help="Where it goes: hospital-A/cohort-A.tar."
)
@click.option("--registration", type=FILE, metavar="FILE", help="What its owner registered.")
@click.option("--sha256", type=HashType(), metavar="HASH", help="What `sealroom upload` printed.")
@json_option
def fetch(url: str, out: Path, registration: Path | None, sha256: bytes | None, as_json: bool) -> None:
    """Fetch a sealed file, and keep it only if it is the expected one.

    No server is trusted: what comes must have the registered header and index, or the given digest,
    and be no longer than its own header allows. A redirect is followed to https,
    or from http to http, and nowhere else.

    \b
    Example:
      sealroom fetch s3://study-1/A.tar --registration A.registration.json --out hospital-A/cohort-A.tar
      sealroom fetch https://HOST/A.tar --sha256 0x… --out hospital-A/cohort-A.tar
    """
    from sealroom.encoding import to_hex
    from sealroom_agents.owner import remote
    from sealroom_agents.owner.registration import load_registration
    from sealroom_agents.owner.web import shown

    refuse_stdout(out)
    if registration is None and sha256 is None:
        raise click.UsageError("needs --registration or --sha256: a file is kept only if it can be compared")
    expected = remote.Expected(
        registration=None if registration is None else load_registration(registration), digest=sha256
    )
    with interruptible(), progress(f"fetching {out.name}", LENGTH_UNKNOWN) as advance:
        info = remote.fetch(url, out, expected=expected, progress=advance)
    facts = {
        "sealed": str(out),
        "datasetId": to_hex(info.dataset_id),
        "headerDigest": to_hex(info.header_digest),
        "size": info.sealed_size,
    }
    lines = [
        ("fetched", f"{out}  {size(info.sealed_size)} from {shown(url)}"),
        ("dataset", f"{info.header.dataset} of {info.header.owner}, version {info.header.dataset_version}"),
    ]
    click.echo(json.dumps(facts) if as_json else table(lines))


LENGTH_UNKNOWN = 2**62
"""How long it is shows itself on the way."""
