# SPDX-License-Identifier: Apache-2.0
"""Makes the vectors of `walk` anew: `python -m tests.vectors.make_walks`. It needs anvil, and minutes.

Each is a whole envelope, or a model file, of a simulated machine and a local chain, with what its verifier
knows from elsewhere; some hold, and every other is broken at one link. Unlike the other vectors these are
drawn: keys, nonces and times are those of the day on which they were made. They are made anew when a format
of theirs has a new version, and stand still otherwise: what was verified once has to verify years later.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from sealroom.encoding import canonical, to_hex
from sealroom.envelope import Envelope
from sealroom_agents.attestation import TrustRoot
from sealroom_agents.simulator.gpu import encode_evidence
from sealroom_agents.verification import NOTHING, Pin
from sealroom_agents.verification.model_file import write_model
from tests.agents import test_model_file, test_proofs
from tests.agents.liars import LIES, OTHER, Truth, tell_the_truth
from tests.agents.test_verification_gpu import GPUS
from tests.agents.worked import fresh_platform, judged_by, render_recipe
from tests.agents.worked_model import model_run
from tests.local_chain import LocalChain
from tests.vectors.vector import FOLDER, Vector
from tests.vectors.walks import found, read_walk

WALKS = FOLDER / "walk"
LATER_S = 3600
"""The verifier's clock stands so far behind what it looks at."""
OFFLINE = {
    "result": "result.digest",
    "statement": "statement.signature",
    "statement-of-another-run": "statement.run",
    "receipt": "receipt.signature",
    "grant": "grant.signature",
    "grant-for-other-evidence": "grant.evidence",
    "recipe": "recipe.hash",
    "output": "output.contract",
    "output-with-other-noise": "output.noise",
    "quote": "quote.genuine",
    "report-data": "quote.report-data",
    "report-data-with-gpus-undemanded": "quote.gpu",
    "event-log": "event-log.replay",
    "event-log-of-another-recipe": "event-log.recipe",
    "event-log-without-kms": "event-log.key-provider",
    "kms-chain": "gate.kms-chain",
    "gate-quote": "gate.genuine",
    "gate-quote-too-old": "gate.age",
    "gate-quote-of-another-kms": "gate.key-provider",
    "anchor": "anchor.chain",
    "anchor-with-an-owner-twice": "anchor.approvals",
    "pinned-consortium": "pin.consortium",
    "pinned-gate-of-other-code": "pin.gate-compose",
    "pinned-gate-of-another-root": "pin.gate-root",
    "pinned-kms-root": "pin.kms-root",
    "pinned-os-images-of-the-enclave": "pin.enclave-image",
    "pinned-os-images-of-the-gate": "pin.gate-image",
}
"""Name of the case, and the check whose liar made it."""
PROOFS = {
    "blocks-with-another-index": "wrong index",
    "blocks-without-a-header": "no header",
    "blocks-without-a-path": "no path",
    "opened": "no opening",
    "opened-by-another-run": "another run's",
    "gate-registered": "no platform",
    "approved": "no pin",
    "anchored": "no receipt",
    "anchored-in-anothers-place": "another's place",
    "approvals": "approvals",
}
"""Name of the case, and which of the proofs' lies it is."""


@dataclass(frozen=True)
class Told:
    """A case before it is written."""

    comment: str
    data: bytes
    trust: TrustRoot
    pin: Pin
    now: int
    hashes: Mapping[int, bytes] | None = None

    def write(self, name: str, found: Mapping[str, str]) -> None:
        """Write it, with what a walk has to find."""
        fields = {**found, "comment": self.comment, "now": str(self.now)}
        if self.trust.root_der is not None:
            fields["root"] = self.trust.root_der.hex()
            if "gpus" in name:
                fields["gpu-roots"] = self.trust.gpu_roots.hex()
        if self.pin.origins:
            fields["pin"] = canonical(json.loads(self.pin.encode())).decode()
        if self.hashes:
            fields["hashes"] = " ".join(f"{number}:{to_hex(one)}" for number, one in self.hashes.items())
        Vector(fields, self.data).write(WALKS / name)


def of_lies(truth: Truth, now: int) -> Iterator[tuple[str, Told]]:
    """Without a chain."""

    def case(comment: str, envelope: Envelope, pin: Pin | None = None) -> Told:
        return Told(comment, envelope.encode(), truth.trust, truth.pin if pin is None else pin, now)

    yield "holds", case("every link holds, and every origin is pinned", truth.envelope)
    yield (
        "holds-by-its-own-claims",
        case("the same, and nothing is known from elsewhere", truth.envelope, NOTHING),
    )
    for name, check in OFFLINE.items():
        lie = LIES[check](truth)
        assert not lie.seconds_ago
        yield name, case(f"the check {check} alone refuses it", lie.envelope, lie.pin)
    gate = truth.envelope.gate
    changed: dict[str, tuple[str, Envelope]] = {
        "gate-quote-under-another-policy": (
            "the gate names another platform policy than its quote binds",
            replace(truth.envelope, gate=replace(gate, policy_hash=OTHER)),
        ),
        "gate-quote-of-another-compose": (
            "the gate names another app-compose than its event log measures",
            replace(truth.envelope, gate=replace(gate, compose_hash=OTHER)),
        ),
        "gate-quote-with-a-swapped-policy": (
            "the gate's quote binds the platform policy, and another document is carried",
            replace(truth.envelope, gate=replace(gate, policy={**gate.policy, "leaseSeconds": 60})),
        ),
        "gate-quote-with-a-swapped-compose": (
            "the gate's event log measures its app-compose, and other bytes are carried",
            replace(truth.envelope, gate=replace(gate, compose=gate.compose + b" ")),
        ),
    }
    for name, (comment, envelope) in changed.items():
        yield name, case(comment, envelope)
    demanding = replace(truth, recipe=render_recipe(truth.folder / "gpus", study=GPUS))
    mine, others = truth.platform.machine_gpus(1), fresh_platform().machine_gpus(1)

    def gpus(evidence: bytes | Callable[[bytes], bytes]) -> Envelope:
        material = judged_by(truth.platform) if evidence else b""
        return demanding.ran(gpu_evidence=evidence, gpu_material=material).envelope()

    yield (
        "holds-with-gpus",
        case("its recipe demands a GPU", gpus(lambda nonce: encode_evidence(mine, nonce))),
    )
    yield "report-data-without-gpus", case("its recipe demands a GPU, and it carries no evidence", gpus(b""))
    yield (
        "report-data-with-gpus-of-others",
        case("the evidence is of GPUs of another maker", gpus(lambda nonce: encode_evidence(others, nonce))),
    )
    yield (
        "report-data-with-gpus-of-another-run",
        case("the GPU signed another nonce", gpus(lambda nonce: encode_evidence(mine, OTHER))),
    )


def of_models(truth: Truth, now: int) -> Iterator[tuple[str, Told]]:
    """Model files."""
    file = write_model(model_run(truth.folder / "weights", truth.platform, truth.gate).envelope())
    header, data = test_model_file.parted(file)

    def case(comment: str, content: bytes) -> Told:
        return Told(comment, content, truth.trust, truth.pin, now)

    yield "holds-with-a-model", case("a model file with its envelope", file)
    yield "weights", case("one weight of the file is another", test_model_file._weight(header, data))
    chained = LIES["output.checkpoints"](truth).envelope
    yield "checkpoints", case("the chain of checkpoints ends in other weights", write_model(chained))


def of_proofs(folder: Path) -> Iterator[tuple[str, Told]]:
    """On a chain of its own."""
    with LocalChain.start() as chain:
        settled = test_proofs.settle(chain, folder)
        now, trust, pin = int(time.time()) + LATER_S, settled.stage.trust, test_proofs.pin_of(settled)

        def case(comment: str, envelope: Envelope, hashes: Mapping[int, bytes] | None = None) -> Told:
            return Told(comment, envelope.encode(), trust, pin, now, hashes)

        word = test_proofs.signed(settled, settled.alone)
        known = test_proofs.hashes(settled.alone)
        yield "holds-with-proofs", case("the gate vouches for its blocks", word)
        yield "holds-with-a-batch", case("anchored with others; nobody vouches", settled.batched[0])
        yield "holds-with-hashes", case("the verifier knows its blocks", settled.alone, known)
        yield (
            "blocks-of-another-fork",
            case("the verifier knows other blocks", settled.alone, dict.fromkeys(known, OTHER)),
        )
        yield (
            "blocks-by-another-gate",
            case(
                "another gate vouches for them", test_proofs.signed(settled, settled.alone, private_key=OTHER)
            ),
        )
        yield (
            "blocks-of-another-chain",
            case(
                "the gate vouched for another chain", test_proofs.signed(settled, settled.alone, chain_id=1)
            ),
        )
        for name, lie in PROOFS.items():
            make = test_proofs.BROKEN[lie][0]
            yield name, case(f"proofs that show something else: {lie}", make(settled))


def main() -> None:
    """Write all of them anew."""
    shutil.rmtree(WALKS, ignore_errors=True)
    with tempfile.TemporaryDirectory() as scratch:
        truth, now = tell_the_truth(Path(scratch, "truth")), int(time.time()) + LATER_S
        told = [*of_lies(truth, now), *of_models(truth, now), *of_proofs(Path(scratch, "stage"))]
    for name, case in told:
        case.write(name, {"expect": "success"})
        case.write(name, found(read_walk(WALKS / name)))


if __name__ == "__main__":
    main()
