# SPDX-License-Identifier: Apache-2.0
"""``sealroom gpu``: what evidence of NVIDIA GPUs proves, one line a link."""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sealroom.codes import Code
from sealroom_agents.cli.options import FILE, HashType, json_option
from sealroom_agents.cli.terminal import coloured, complain, interruptible, read_bounded, table, write_out
from sealroom_agents.errors import AttestationError, CommandExit

if TYPE_CHECKING:
    from sealroom_agents.attestation.gpu import Gpu, Terms, Walk

FOLDER = click.Path(path_type=Path, file_okay=False, exists=True)
HEADS = {"holds": "ok    ", "broken": "BROKEN", "not asked": "-     "}


@click.command()
@click.argument("file", metavar="FILE", type=FILE)
@click.option("--nonce", type=HashType(), required=True, help="The 32 bytes that the reports must answer.")
@click.option(
    "--rims", type=FOLDER, metavar="FOLDER",
    help="NVIDIA's reference manifests: NAME.xml, or NAME@TIME.xml, fetched at this unix time.",
)  # fmt: skip
@click.option(
    "--ocsp", "answers", type=FOLDER, metavar="FOLDER", help="Answers of NVIDIA's OCSP responder, *.der."
)
@click.option(
    "--ask", type=click.Path(path_type=Path, file_okay=False), metavar="FOLDER",
    help="Write requests to NVIDIA's OCSP responder there, *.req, one for each certificate.",
)  # fmt: skip
@click.option(
    "--fetch", type=click.Path(path_type=Path, file_okay=False), metavar="FOLDER",
    help="Ask NVIDIA first: bring manifests into FOLDER/rims and its word on certificates into FOLDER/ocsp.",
)  # fmt: skip
@click.option(
    "--every", type=click.IntRange(1, 7 * 24 * 3600), metavar="SECONDS",
    help="With --fetch: do it again each time so many seconds have passed, until stopped.",
)  # fmt: skip
@click.option(
    "--policy", type=FILE, metavar="FILE",
    help="The owners' platform policy, whose rules for GPUs must be kept.",
)  # fmt: skip
@click.option("--count", type=click.IntRange(1, 16), help="How many GPUs there must be.")
@click.option("--tokens", type=FILE, metavar="FILE", help="What NVIDIA's service (NRAS) answered.")
@click.option("--keys", type=FILE, metavar="FILE", help="The keys that it publishes: a JWK set.")
@click.option(
    "--at", "moment", type=click.IntRange(0, 2**40), metavar="TIME",
    help="Judge as of this unix time.  [default: now]",
)  # fmt: skip
@json_option
def gpu(
    file: Path,
    nonce: bytes,
    rims: Path | None,
    answers: Path | None,
    ask: Path | None,
    fetch: Path | None,
    every: int | None,
    policy: Path | None,
    count: int | None,
    tokens: Path | None,
    keys: Path | None,
    moment: int | None,
    as_json: bool,
) -> int:
    """Verify evidence of NVIDIA GPUs here; without --fetch nobody is asked, NVIDIA neither.

    FILE is what `nvattest collect-evidence` wrote, or the evidence in an answer of dstack's AttestGpu: a JSON
    array, one object a GPU. Hopper (H100, H200) is verified, and no other architecture.

    The state says how far the evidence carries: signature-verified is a genuine chip that signed this nonce;
    vbios-matched and fully-matched say that it measured the VBIOS, and the driver too, for which --rims has
    NVIDIA's signed manifest. No state says that the GPU is in the machine that sent the evidence, or that
    confidential computing was on: docs/gpu.md has the limits.

    With --policy, evidence must also keep the rules that the owners' platform policy has for GPUs.

    With --fetch, what NVIDIA publishes about these GPUs is fetched before it is judged by: the folder is what
    a gate's --gpu-material names. A file is replaced by what is worth something, and else is left as it is.
    NVIDIA learns which certificates and versions are asked for. Evidence that is not genuine fetches nothing.
    With --every it keeps the folder fresh, as a service beside a gate: what goes wrong in one round is told,
    and tried again in the next; with --json, each round that judged is one object on a line of its own.

    The gate verifies evidence by the same code, where a recipe demands GPUs.

    \b
    Exit status:
      0  every link that could be looked at holds; the state says what that proves
      1  broken: the last line names the link

    \b
    Example:
      sealroom gpu evidence.json --nonce 0x…
      sealroom gpu evidence.json --nonce 0x… --rims rims --ocsp answers --count 1
      sealroom gpu evidence.json --nonce 0x… --rims rims --ocsp answers --policy policy.json
      sealroom gpu evidence.json --nonce 0x… --ask requests
      sealroom gpu evidence.json --nonce 0x… --fetch /var/lib/sealroom/gpu --policy policy.json
      sealroom gpu evidence.json --nonce 0x… --fetch /var/lib/sealroom/gpu --every 21600
    """
    from sealroom.key_release.messages import MAX_GPU_EVIDENCE
    from sealroom_agents.attestation.gpu.nras import MAX_ANSWER_BYTES, MAX_KEYS_BYTES

    if (tokens is None) != (keys is None):
        raise click.UsageError("--tokens and --keys go together: the keys say whether the tokens are genuine")
    told = None
    if tokens is not None and keys is not None:
        told = (
            read_bounded(tokens, MAX_ANSWER_BYTES, "an answer of NVIDIA's service"),
            read_bounded(keys, MAX_KEYS_BYTES, "a JWK set"),
        )
    if fetch is not None and (rims is not None or answers is not None or moment is not None):
        raise click.UsageError("--fetch judges now, by what it fetches: without --rims, --ocsp and --at")
    if every is not None and fetch is None:
        raise click.UsageError("--every keeps a folder fresh: name it with --fetch")
    judge = _Judge(
        evidence=read_bounded(file, MAX_GPU_EVIDENCE, "GPU evidence"),
        nonce=nonce,
        terms=_terms(policy, count, told),
        ask=ask,
        as_json=as_json,
    )
    if every is None:
        return judge.told(rims, answers, fetch=fetch, moment=moment)
    with interruptible():
        while True:
            try:
                judge.told(None, None, fetch=fetch, moment=None)
            except AttestationError as error:
                complain(error.message, error.hint)
            except OSError as error:
                complain(str(error), None)
            time.sleep(every)


@dataclass(frozen=True)
class _Judge:
    """Evidence, and what is asked of it each time it is judged."""

    evidence: bytes
    nonce: bytes
    terms: Terms
    ask: Path | None
    as_json: bool

    def told(self, rims: Path | None, answers: Path | None, *, fetch: Path | None, moment: int | None) -> int:
        """Judge it, and say what was found. Returns the exit status."""
        from sealroom_agents.attestation.gpu import load_material, walk_gpus

        if fetch is not None:
            rims, answers = _fetch(self.evidence, self.nonce, fetch)
        found = walk_gpus(
            self.evidence,
            nonce=self.nonce,
            now=int(time.time()) if moment is None else moment,
            material=load_material(rims, answers),
            terms=self.terms,
        )
        if self.ask is not None:
            _write_requests(self.ask, found)
        if self.as_json:
            click.echo(json.dumps(_facts(found)))
        else:
            _tell(found)
        return CommandExit.DONE if found.broken is None else CommandExit.FAILED


def _fetch(evidence: bytes, nonce: bytes, folder: Path) -> tuple[Path, Path] | tuple[None, None]:
    """Ask NVIDIA about GPUs whose signatures hold; of others nothing is asked, and the walk says why."""
    from sealroom_agents.attestation.gpu import Trust, read_evidence, walk_gpus
    from sealroom_agents.attestation.gpu.fetch import fetch_material

    now = int(time.time())
    if walk_gpus(evidence, nonce=nonce, now=now).broken is not None:
        return None, None
    fetch_material(read_evidence(evidence), folder, now=now, trust=Trust())
    return folder / "rims", folder / "ocsp"


def _terms(policy: Path | None, count: int | None, told: tuple[bytes, bytes] | None) -> Terms:
    """What is asked for. Raises `AttestationError` `gpu-not-allowed` where the policy accepts no GPU."""
    from sealroom.platform_policy import MAX_POLICY_BYTES, PlatformPolicy
    from sealroom_agents.attestation.gpu import Terms

    if policy is None:
        return Terms(count=count, tokens=told)
    rules = PlatformPolicy.parse(read_bounded(policy, MAX_POLICY_BYTES, "a platform policy")).gpu
    if rules is None:
        raise AttestationError(Code.GPU_NOT_ALLOWED, "the platform policy accepts no GPU evidence")
    return Terms.under(rules, count=count, tokens=told)


def _write_requests(folder: Path, found: Walk) -> None:
    """One request a certificate, named by its serial number; NVIDIA's responder takes them by POST."""
    from sealroom_agents.attestation.gpu import request

    for certificate, issuer in found.asked:
        path = folder / f"{certificate.serial_number:x}.req"
        write_out(path, request(certificate, issuer, secrets.token_bytes(32)))
    click.echo(f"wrote {len(found.asked)} requests to {folder}", err=True)


def _tell(found: Walk) -> None:
    width = max(len(link.name) for link in found.links)
    for link in found.links:
        click.echo(f"{HEADS[link.outcome]}  {link.name:<{width}}  {coloured(link.words)}")
    for one in found.gpus:
        click.echo()
        click.echo(table([(name, str(value)) for name, value in _gpu(one).items() if value is not None]))
    if found.broken is not None:
        complain(f"{found.broken.name}: {found.broken.words} ({found.broken.code})", None)
        return
    click.echo()
    click.echo(f"{found.state}; revocation {'asked, none revoked' if found.asked_all else 'not asked'}")


def _facts(found: Walk) -> dict[str, Any]:
    return {
        "ok": found.broken is None,
        "state": str(found.state),
        "revocation": "good" if found.asked_all else "not-asked",
        "links": [
            {"name": link.name, "outcome": str(link.outcome), "words": link.words, "code": link.code}
            for link in found.links
        ],
        "gpus": [_gpu(one) for one in found.gpus],
    }


def _gpu(one: Gpu) -> dict[str, Any]:
    return {
        "ueid": one.ueid,
        "chip": one.chip,
        "driver": one.driver,
        "vbios": one.vbios,
        "protectedPcie": one.protected_pcie,
        "vbiosMatched": one.vbios_matched,
        "driverMatched": one.driver_matched,
    }
