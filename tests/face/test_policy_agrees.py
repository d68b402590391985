# SPDX-License-Identifier: Apache-2.0
"""The page of changes reads platform policies and gates as the commands do: the same hash, the same words,
the same code for each fault."""

from __future__ import annotations

import copy
import hashlib
import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from sealroom.encoding import canonical, sha256, to_hex
from sealroom.errors import SealroomError
from sealroom.key_release import GateIdentity
from sealroom.keys import KeyInterface
from sealroom.platform_policy import (
    ANY,
    BY_IMAGE,
    MAX_POLICY_BYTES,
    USER_DATA,
    GuestRules,
    OsImage,
    PlatformPolicy,
    TcbRules,
)
from sealroom_agents.attestation import verify_gate
from sealroom_agents.attestation.trust import INTEL, load_simulated_root, trust_under
from sealroom_agents.policy_words import rows
from sealroom_agents.simulator import SimulatedEnclave, SimulatedPlatform
from sealroom_agents.simulator.platform import simulated_os_image
from tests.face.bundling import ROOT, bundled
from tests.gate_answers import APP_ID, COMPOSE, gate_answer
from tests.vectors.make_policy import LITE
from tests.vectors.vector import cases, read

LIMIT_S = 600
NOW = 1_780_000_000
PLATFORM, OTHER = SimulatedPlatform(b"\x51" * 32), SimulatedPlatform(b"\x52" * 32)
ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 3, 2**32, 2**53, 1.5,
    "", "x", "intel", "0x", [], [1], [1, 2], ["x"], {}, {"by": "image"},
)  # fmt: skip
"""Values that are put in place of each member in turn."""


def page(lines: list[dict[str, Any]], folder: Path) -> list[dict[str, Any]]:
    """What the page's modules say of each."""
    (folder / "lines").write_text("".join(json.dumps(line) + "\n" for line in lines))
    command = ["node", str(bundled(ROOT / "tests/face/policy_corpus.ts", folder)), str(folder / "lines")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def told(body: bytes) -> dict[str, Any]:
    """What the command says of a policy."""
    try:
        found = PlatformPolicy.parse(body)
    except SealroomError as error:
        return {"code": str(error.code)}
    images = sorted({to_hex(image.digest) for image in found.os_images})
    return {"hash": to_hex(found.hash), "images": images, "rows": [list(row) for row in rows(found)]}


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to each member and item."""
    members = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for step, inside in members:
        yield (*path, step)
        yield from places(inside, (*path, step))


def spoilt(body: bytes) -> Iterator[bytes]:
    """The document with each member by turns absent, and each odd value in its place."""
    whole = json.loads(body)
    for path in places(whole):
        for value in (..., *ODD):
            changed = copy.deepcopy(whole)
            held = changed
            for step in path[:-1]:
                held = held[step]
            if value is ...:
                del held[path[-1]]
            else:
                held[path[-1]] = value
            yield json.dumps(changed).encode()


def test_every_policy_is_read_alike(tmp_path: Path) -> None:
    """AT-06, AT-20: all vectors, each of the good ones spoilt in every member, and what is no document."""
    vectors = {path.name: read(path) for path in cases("policy")}
    bodies = {name: one.body for name, one in vectors.items()}
    whole = vectors["example"].body
    bodies |= {
        "longest": whole.ljust(MAX_POLICY_BYTES),
        "too long": whole.ljust(MAX_POLICY_BYTES + 1),
        "none": b"",
        "no object": b"[]",
        "no UTF-8": whole.replace(b"intel", b"\xff\xfe"),
        "mark": b"\xef\xbb\xbf" + whole,
        "more behind": whole + b"{}",
        "canonical": canonical(json.loads(whole)),
    }
    for name in ("example", "gpu_rules", "three_ways"):
        bodies |= {f"{name} spoilt, {place}": body for place, body in enumerate(spoilt(vectors[name].body))}
    found = page([{"policy": to_hex(body)} for body in bodies.values()], tmp_path)
    for (name, body), mine in zip(bodies.items(), found, strict=True):
        assert mine == told(body), (name, body)
    by_name = dict(zip(bodies, found, strict=True))
    for name, vector in vectors.items():
        expected = vector.fields["expect"]
        assert by_name[name].get("code", "success") == expected, name
        if expected == "success":
            assert by_name[name]["hash"] == "0x" + vector.fields["hash"]
    assert sum("hash" in one for one in found) > 50


# --- gates ----------------------------------------------------------------------------------------------


def judged(gate: GateIdentity, policy: PlatformPolicy, root: Path | None, chain: int) -> dict[str, Any]:
    """What `sealroom govern platform --gate --policy` finds in the same bytes."""
    try:
        trust = trust_under(policy, INTEL if root is None else load_simulated_root(root))
        facts = verify_gate(gate.to_json(), trust=trust, now=NOW)
    except SealroomError as error:
        return {"code": str(error.code)}
    mine = (chain, policy.hash, policy.kms_root)
    if mine != (facts.chain_id, facts.policy_hash, facts.kms_root_fingerprint):
        return {"code": "proposal-differs"}
    return {
        "gateRoot": to_hex(facts.gate_root),
        "gateSigner": facts.signer,
        "gateCompose": to_hex(facts.compose_hash),
        "policyHash": to_hex(policy.hash),
        "osImages": sorted({to_hex(image.digest) for image in policy.os_images}),
        "imageKnown": True,
        "before": None,
        "device": to_hex(facts.evidence.device_id),
    }


def by_image(image: OsImage) -> OsImage:
    return replace(image, by=BY_IMAGE, rt_mr=image.rt_mr[1:])


TCB = PLATFORM.policy().tcb


def tcb(**changes: Any) -> TcbRules:
    return replace(TCB, **changes)


def gates() -> Iterator[tuple[str, str, GateIdentity, PlatformPolicy, SimulatedPlatform | None, int]]:
    """Name, the code that it must have, the gate, the policy, whose root is trusted, and the chain."""
    policies = {
        "as it is": PLATFORM.policy(),
        "server": PLATFORM.policy(tcb=tcb(dynamic_platform=True, cached_keys=True, smt=True)),
        "older hosts": PLATFORM.policy(
            guest=GuestRules(config_id=ANY, device_id=USER_DATA, event_logs=(1, 2))
        ),
        "by image": PLATFORM.policy(os_images=(by_image(simulated_os_image()),)),
        "safe": PLATFORM.policy(emit="safe"),
    }
    for name, policy in policies.items():
        yield name, "", gate_answer(PLATFORM, issued=NOW, policy=policy), policy, PLATFORM, 31337
    for name, code, policy in (
        ("a later evaluation", "tcb-not-up-to-date", PLATFORM.policy(tcb=tcb(min_evaluation=2**32 - 1))),
        ("another module", "td-attributes", PLATFORM.policy(tcb=tcb(tdx_modules=(b"\x01" * 48,)))),
        ("no such image", "os-image-not-allowed",
         PLATFORM.policy(os_images=(replace(simulated_os_image(), mr_td=b"\x02" * 48),))),
        ("event log 2", "event-log-version", PLATFORM.policy(guest=GuestRules(event_logs=(2,)))),
        ("another KMS", "proposal-differs", replace(PLATFORM.policy(), kms_root=b"\x09" * 32)),
    ):  # fmt: skip
        yield name, code, gate_answer(PLATFORM, issued=NOW, policy=policy), policy, PLATFORM, 31337
    policy = PLATFORM.policy()
    good = gate_answer(PLATFORM, issued=NOW)
    for change, code in (
        ({"root_public_key": b"\x08" * 1216}, "report-data-mismatch"),
        ({"kms_root_key": b"\x02" + b"\x11" * 32}, "report-data-mismatch"),
        ({"chain_id": 1337}, "report-data-mismatch"),
        ({"chain_id": 1}, "simulated-root-off-local-chain"),
        ({"app_id": bytes(20)}, "app-id-mismatch"),
        ({"compose_hash": bytes(32)}, "compose-hash-mismatch"),
        ({"compose": COMPOSE + b" "}, "compose-hash-mismatch"),
        ({"policy": PLATFORM.policy(emit="safe").document()}, "platform-policy-mismatch"),
        ({"signature_chain": (bytes(65), bytes(65))}, "key-provider-mismatch"),
        ({"event_log": "[]"}, "event-log-mismatch"),
        ({"quote": b""}, "quote-invalid"),
    ):
        yield str(change), code, replace(good, **change), policy, PLATFORM, 31337
    newer = gate_answer(PLATFORM, issued=NOW, keys=KeyInterface.V1)
    by_app, by_root = newer.signature_chain
    for name, code, gate in (
        ("keys of version 1", "", newer),
        ("version 1 said to be 0", "key-provider-mismatch", replace(newer, key_interface="v0")),
        ("version 0 said to be 1", "key-provider-mismatch", replace(good, key_interface="v1")),
        ("a chain of both", "key-provider-mismatch",
         replace(newer, signature_chain=(good.signature_chain[0], by_root))),
        ("a chain the other way round", "key-provider-mismatch",
         replace(newer, signature_chain=(by_root, by_app))),
    ):  # fmt: skip
        yield name, code, gate, policy, PLATFORM, 31337
    yield "another chain", "proposal-differs", good, policy, PLATFORM, 1337
    yield "no root", "platform-policy", good, policy, None, 31337
    yield "another root", "platform-policy", good, policy, OTHER, 31337
    bare = SimulatedEnclave(PLATFORM, COMPOSE, APP_ID, key_provider="local-sgx")
    yield (
        "no KMS",
        "key-provider-mismatch",
        gate_answer(PLATFORM, issued=NOW, subject=bare),
        policy,
        PLATFORM,
        31337,
    )


def test_every_gate_is_judged_alike(tmp_path: Path) -> None:
    """AT-30, AT-06, AT-20: as it is, under stricter rules, and one thing false at a time."""
    lines, mine, names = [], [], []
    for name, code, gate, policy, platform, chain in gates():
        root = None
        if platform is not None:
            root = tmp_path / f"{hashlib.sha256(platform.root_der).hexdigest()}.der"
            root.write_bytes(platform.root_der)
        files = [canonical(gate.to_json()), policy.encode(), *([root.read_bytes()] if root else [])]
        lines.append(
            {"files": [to_hex(one) for one in files], "chain": str(chain), "adopted": None, "now": NOW}
        )
        mine.append(judged(gate, policy, root, chain))
        names.append(name)
        assert mine[-1].get("code", "") == code, name
    for name, expected, found in zip(names, mine, page(lines, tmp_path), strict=True):
        assert found == expected, name


def test_files_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    """AT-30, AT-34: another policy than the gate's, one that is not adopted, old evidence."""
    old, new = PLATFORM.policy(), PLATFORM.policy(emit="safe")
    gate, root = canonical(gate_answer(PLATFORM, issued=NOW, policy=new).to_json()), PLATFORM.root_der
    lite = json.loads(new.encode())
    lite["osImages"] = [LITE]
    unknown = PlatformPolicy.parse(json.dumps(lite).encode())
    by_measurement = canonical(gate_answer(PLATFORM, issued=NOW, policy=unknown).to_json())
    both = PlatformPolicy.parse(
        json.dumps({**lite, "osImages": sorted([*lite["osImages"], *json.loads(new.encode())["osImages"]],
                    key=lambda one: one.get("digest", to_hex(sha256(b"list"))))}).encode()
    )  # fmt: skip
    known = canonical(gate_answer(PLATFORM, issued=NOW, policy=both).to_json())

    def booted(image: bytes, policy: PlatformPolicy) -> bytes:
        subject = SimulatedEnclave(PLATFORM, COMPOSE, APP_ID, os_image=image)
        return canonical(gate_answer(PLATFORM, issued=NOW, policy=policy, subject=subject).to_json())

    month = 30 * 86_400
    good = [gate, new.encode(), root]
    told = [
        (good, old, NOW, {"before": None}),
        ([*good, old.encode()], old, NOW, {"before": to_hex(old.hash)}),
        (good, new, NOW, {"before": to_hex(new.hash)}),
        ([by_measurement, unknown.encode(), root], None, NOW, {"imageKnown": False}),
        ([known, both.encode(), root], None, NOW, {"imageKnown": True}),
        # A tampered image, whatever it says to be, is never one that the page calls known.
        ([booted(b"\x66" * 32, both), both.encode(), root], None, NOW, {"imageKnown": False}),
        ([booted(sha256(b"list"), unknown), unknown.encode(), root], None, NOW, {"imageKnown": False}),
        ([booted(b"\x66" * 32, new), new.encode(), root], None, NOW, {"code": "os-image-not-allowed"}),
        ([*good, old.encode()], None, NOW, {"code": "proposal-differs"}),
        ([gate, old.encode(), root], old, NOW, {"code": "proposal-differs"}),
        *(([canonical({**json.loads(gate), "keyInterface": odd}), new.encode(), root], None, NOW,
           {"code": "malformed"}) for odd in ("v0", "v2", "v1 ", "", None, 1, ["v1"])),
        ([canonical({**json.loads(gate), "keyInterface": "v0", "version": 4}), new.encode(), root], None, NOW,
         {"code": "unsupported-version"}),
        ([gate, root], None, NOW, {"code": "malformed"}),
        ([new.encode(), root], None, NOW, {"code": "malformed"}),
        ([gate, gate, root], None, NOW, {"code": "malformed"}),
        ([*good, root], None, NOW, {"code": "malformed"}),
        ([*good, root, root], None, NOW, {"code": "too-large"}),
        ([gate, b"{", root], None, NOW, {"code": "malformed"}),
        ([gate, new.encode(), root[:200]], None, NOW, {"code": "trust-anchor"}),
        (good, None, NOW - 301, {"code": "gate-evidence-stale"}),
        (good, None, NOW + 400 * 86_400, {"code": "quote-invalid"}),
        ([canonical({**gate_answer(PLATFORM, issued=NOW - month - 1, policy=new).to_json(),
                     "collateral": PLATFORM.collateral(NOW)}), new.encode(), root],
         None, NOW, {"code": "gate-evidence-stale"}),
        ([canonical({**gate_answer(PLATFORM, issued=NOW + 301, policy=new).to_json(),
                     "collateral": PLATFORM.collateral(NOW)}), new.encode(), root],
         None, NOW, {"code": "gate-evidence-stale"}),
    ]  # fmt: skip
    lines = [
        {"files": [to_hex(one) for one in files], "chain": "31337", "now": now,
         "adopted": adopted and to_hex(adopted.hash)}
        for files, adopted, now, _ in told
    ]  # fmt: skip
    for place, (found, (*_, expected)) in enumerate(zip(page(lines, tmp_path), told, strict=True)):
        assert {name: found.get(name) for name in expected} == expected, (place, found)
