# SPDX-License-Identifier: Apache-2.0
"""Evidence of real machines is judged alike by the verify page and by `sealroom verify`.

The recordings stand beside the project, and are read from there; without them these tests are skipped.
"""

from __future__ import annotations

import json
import random
import subprocess
from pathlib import Path
from typing import Any

from sealroom.encoding import to_hex
from sealroom_agents.attestation import INTEL, INTEL_UNDER_ANY_POLICY, replayed, verify_quote
from sealroom_agents.errors import AttestationError
from tests.agents.test_platform_evidence import CPU, GPU, needs_recordings, recorded
from tests.face.bundling import ROOT, bundled

FLIPS = 40
"""Bits of a quote, and of an event log, that are changed one at a time."""
TIMEOUT_S = 600


def told(case: dict[str, Any]) -> dict[str, Any]:
    """What the command's code says of a case."""
    trust = INTEL if case["strict"] else INTEL_UNDER_ANY_POLICY
    try:
        quote, collateral = bytes.fromhex(case["quote"][2:]), json.loads(case["collateral"])
        facts = verify_quote(quote, collateral, trust=trust, now=case["now"])
        found = replayed(facts, case["eventLog"], trust=trust)
    except AttestationError as error:
        return {"code": str(error.code)}
    return {
        "appId": to_hex(found.app_id),
        "composeHash": to_hex(found.compose_hash),
        "osImageHash": to_hex(found.os_image_hash),
        "keyProvider": found.key_provider,
        "keyProviderId": to_hex(found.key_provider_id),
        "deviceId": to_hex(found.device_id),
        "otherDevices": [to_hex(name) for name in found.other_devices],
    }


def flipped(data: bytes, dice: random.Random, end: int) -> bytes:
    changed = bytearray(data)
    changed[dice.randrange(end)] ^= 1 << dice.randrange(7)
    return bytes(changed)


@needs_recordings
def test_real_machines_are_judged_alike(tmp_path: Path) -> None:
    """AT-06, AT-15, AT-20, AT-27, AT-29: as they are, under strict rules, too late, with a bit changed."""
    dice, cases = random.Random(11), []
    for guest in (CPU, GPU):
        quote, log = recorded(guest, "quote.bin"), recorded(guest, "event_log.json")
        now = json.loads(recorded(guest, "expected.json"))["verify_now"]

        def case(quote: bytes = quote, log: bytes = log, guest: str = guest, **more: Any) -> None:
            whole = {
                "quote": to_hex(quote),
                "eventLog": log.decode("ascii", "replace"),
                "collateral": recorded(guest, "collateral.json").decode(),
                "strict": False,
            }
            cases.append(whole | more)

        case(now=now)
        case(now=now, strict=True)
        case(now=now + 400 * 86_400)
        case(now=now, log=b"[]")
        for _ in range(FLIPS):
            case(now=now, quote=flipped(quote, dice, 632))
            case(now=now, log=flipped(log, dice, len(log)))
    for place, one in enumerate(cases):
        (tmp_path / f"{place:04}.case").write_text(json.dumps(one))
    runner = bundled(ROOT / "tests/face/evidence_corpus.ts", tmp_path / "bundle")
    command = ["node", str(runner), str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=True)
    page = [json.loads(line) for line in ran.stdout.splitlines()]
    mine = [told(one) for one in cases]
    assert page == mine
    assert "code" not in mine[0], "the guest without GPUs is a good one"
    codes = [one.get("code") for one in mine]
    assert codes[1] == "device-not-allowed"
    assert codes[len(cases) // 2] == "os-image-dev"
