# SPDX-License-Identifier: Apache-2.0
"""The verify page and `sealroom verify` say the same of every envelope and model file.

The same links, the same first broken one, the same code, the same words for what holds.
Envelopes with proofs are in `tests/agents/test_proofs.py`, beside the chain that they come from.
"""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from eth_utils.crypto import keccak

from sealroom.envelope import MAX_ENVELOPE_BYTES
from sealroom_agents.attestation import INTEL_UNDER_ANY_POLICY
from sealroom_agents.simulator import SimulatedEnclave, runtime_event
from sealroom_agents.simulator.gpu import encode_evidence
from sealroom_agents.simulator.measurement import Measurements
from sealroom_agents.simulator.pccs import TcbState
from sealroom_agents.verification import NOTHING
from sealroom_agents.verification.model_file import write_model
from tests.agents import test_model_file, test_verification
from tests.agents.liars import LIES, Truth, tell_the_truth
from tests.agents.test_verification_gpu import GPUS
from tests.agents.worked import fresh_platform, judged_by, make_gate, render_recipe
from tests.agents.worked_model import model_run
from tests.face.corpus import Case, require_agreement, told, told_by_page
from tests.vectors.vector import cases as vectors
from tests.vectors.vector import read

FLIPS = 60
"""Bits of a true envelope, and of a model file, that are changed one at a time."""


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Truth:
    return tell_the_truth(tmp_path_factory.mktemp("truth"))


def edited(data: bytes, edit: Callable[[dict[str, Any]], object]) -> bytes:
    """The JSON of an envelope, changed."""
    content = json.loads(data)
    edit(content)
    return json.dumps(content).encode()


BEGIN = "-----BEGIN CERTIFICATE-----"
ARMOUR = {
    "another word": (BEGIN, "-----BEGIN CERTIFICATF-----"),
    "a dash less": (BEGIN, BEGIN[1:]),
    "another end": ("-----END CERTIFICATE-----", "-----END CERTIFICATE----"),
    "a space in a line": ("\n-----END", " \n-----END"),
    "an empty line": ("\n-----END", "\n\n-----END"),
    "a return": ("\n-----END", "\r\n-----END"),
    "a form feed": ("\n-----END", "\f-----END"),
    "a letter more": ("\n-----END", "A\n-----END"),
}
"""What may be wrong with the armour of a certificate (PEM) that the chain can do without."""


def flipped(data: bytes, dice: random.Random) -> bytes:
    """With one bit changed."""
    changed = bytearray(data)
    changed[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    return bytes(changed)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of all members and items."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for name, item in inner for found in ((*path, name), *places(item, (*path, name)))]


def put(path: tuple[Any, ...], value: Any) -> Callable[[dict[str, Any]], object]:
    def edit(content: Any) -> None:
        for step in path[:-1]:
            content = content[step]
        content[path[-1]] = value

    return edit


JUNK = (
    b"", b"{}", b"[]", b"null", b"\xef\xbb\xbf{}", b'{"version":3}', b'{"version":2}', b'{"version":true}',
    b"[" * 100_000, b'{"a":' * 30 + b"1" + b"}" * 30, b" " * (MAX_ENVELOPE_BYTES + 1), b'{"version":3.0}',
    b'{"version":3,"version":3}', b'{"version":3e0}', b'{"a":"\\ud800"}', b'{"a":NaN}',
    b'{"a":9007199254740992}',
)  # fmt: skip


def test_every_lie_breaks_at_the_same_link(truth: Truth, tmp_path: Path) -> None:
    """OU-09, AT-01 to AT-30: each check of the command has its twin on the page, and no lie gets past it."""
    now = int(time.time())
    cases = {
        "the truth": Case(truth.envelope.encode(), truth.trust, truth.pin, now),
        "without pins": Case(truth.envelope.encode(), truth.trust, NOTHING, now),
        "under Intel's root": Case(truth.envelope.encode(), INTEL_UNDER_ANY_POLICY, truth.pin, now),
        "with known images": Case(truth.envelope.encode(), truth.platform.trust(), truth.pin, now),
        "off local chains": Case(truth.stated(chain_id=1).encode(), truth.trust, NOTHING, now),
    }
    for name, tell in LIES.items():
        lie = tell(truth)
        cases[name] = Case(lie.envelope.encode(), truth.trust, lie.pin or truth.pin, now - lie.seconds_ago)
    require_agreement(cases, tmp_path)


def test_evidence_of_gpus_is_left_to_the_command(truth: Truth, tmp_path: Path) -> None:
    """GP-01: the page walks none, so it calls no envelope that carries what its recipe demands broken or
    proven: it decides nothing. Where evidence is missing or undemanded, it says what the command says."""
    demanding = replace(truth, recipe=render_recipe(tmp_path / "gpus", study=GPUS))
    mine, others = truth.platform.machine_gpus(1), fresh_platform().machine_gpus(1)

    def case(of: Truth, evidence: bytes | Callable[[bytes], bytes]) -> Case:
        run = of.ran(gpu_evidence=evidence, gpu_material=judged_by(truth.platform) if evidence else b"")
        return Case(run.envelope().encode(), truth.trust, NOTHING, int(time.time()))

    of_none = truth.ran(gpu_material=b"x").envelope().encode()
    alike = {
        "none": case(demanding, b""),
        "undemanded": case(truth, b"x"),
        "judged by something": Case(of_none, truth.trust, NOTHING, int(time.time())),
    }
    require_agreement(alike, tmp_path / "alike")
    carried = {
        "honest": case(demanding, lambda nonce: encode_evidence(mine, nonce)),
        "of another mint": case(demanding, lambda nonce: encode_evidence(others, nonce)),
    }
    assert [told(case)["verdict"] for case in carried.values()] == ["self-consistent", "broken"]
    for found in told_by_page(carried, tmp_path / "carried").values():
        assert found.pop("ms") >= 0 and "sealroom verify FILE" in found.pop("detail")
        assert found == {"code": "gpu-evidence-unwalked"}


def test_every_edit_is_found_alike(truth: Truth, tmp_path: Path) -> None:
    """OU-09, CE-18: members gone, of another type, of another run; any bit; what is no envelope at all."""
    whole, now, dice = truth.envelope.encode(), int(time.time()), random.Random(5)
    cases: dict[str, bytes] = {f"junk {place}": junk for place, junk in enumerate(JUNK)}
    for name, (edit, _, _) in test_verification.EDITS.items():
        cases[f"edited: {name}"] = edited(whole, edit)
    for name, (shown, _, _) in test_verification.SHOWN.items():
        cases[f"shown: {name}"] = truth.run.shown(**shown(truth.run)).envelope().encode()
    taken = json.loads(truth.ran().envelope().encode())
    for name, (parts, _) in test_verification.SWAPS.items():
        cases[f"of another run: {name}"] = edited(
            whole, lambda e, parts=parts: e.update({p: taken[p] for p in parts})
        )
    for path in places(json.loads(whole)):
        value = dice.choice([None, "x", "", 0, -1, 2**53 - 1, [], {}, True])
        cases[f"{path} is {value!r}"] = edited(whole, put(path, value))
    for number in range(FLIPS):
        cases[f"bit {number}"] = flipped(whole, dice)
    require_agreement({name: Case(data, truth.trust, NOTHING, now) for name, data in cases.items()}, tmp_path)


STATES: dict[str, dict[str, Any]] = {
    **{
        f"{part} is {status}": {part: status}
        for part in ("status", "module_status", "qe_status")
        for status in ("OutOfDate", "SWHardeningNeeded", "ConfigurationNeeded", "Revoked")
    },
    "an advisory applies": {"advisories": ("INTEL-SA-00615",)},
    "below every level": {"pce_svn": 99},
    "its CA is revoked": {"pck_ca_revoked": True},
}  # fmt: skip
"""What the collateral says of the machine."""
DAY_S = 86_400
TD: dict[str, dict[str, Any]] = {
    "debug": {"td_attributes": bytes.fromhex("0100001000000000")},
    "another attribute": {"td_attributes": bytes.fromhex("0000005000000000")},
    "no SEPT_VE_DISABLE": {"td_attributes": bytes(8)},
    "a module of anybody's": {"mr_signer_seam": b"\x01" + bytes(47)},
    "a debug module": {"seam_attributes": b"\x01" + bytes(7)},
    "a module that no TCB info names": {"tee_tcb_svn": bytes([9, 9]) + bytes(14)},
    "a module of identity 3": {"tee_tcb_svn": bytes([9, 3]) + bytes([9] * 14)},
    "an old module": {"tee_tcb_svn": bytes([0, 1]) + bytes([9] * 14)},
    "an old TD": {"tee_tcb_svn": bytes(16)},
    "another vendor": {"qe_vendor_id": bytes(16)},
    "version 5": {"version": 5},
}
"""What the quote says of the TD."""
HARDWARE: dict[str, dict[str, Any]] = {
    "a dynamic platform": {"dynamic_platform": True},
    "cached keys": {"cached_keys": True},
    "two threads a core": {"smt_enabled": True},
    "another family": {"fmspc": bytes.fromhex("5ea100000001")},
}


def test_machines_are_judged_alike(truth: Truth, tmp_path: Path) -> None:
    """AT-05 to AT-14, AT-29: the TD, its module, TCB, packages, threads; revoked certificates."""
    platform, run, now = truth.platform, truth.run, int(time.time())
    cases = {}

    def shown(name: str, quote: bytes, collateral: dict[str, str]) -> None:
        cases[name] = replace(run.shown(quote=quote).lie(), collateral=collateral).encode()

    fresh = platform.collateral(now)
    for name, state in STATES.items():
        shown(name, run.quote, platform.collateral(now, state=TcbState(**state)))
    revoked = (platform.machine().pck_serial,)
    shown("it is revoked", run.quote, platform.collateral(now, state=TcbState(revoked_pck=revoked)))
    old, new = platform.collateral(now - 40 * DAY_S), platform.collateral(now + 40 * DAY_S)
    for part in fresh:
        for when, other in (("old", old), ("new", new)):
            shown(f"{when} {part}", run.quote, {**fresh, part: other[part]})
        shown(f"no {part}", run.quote, {name: each for name, each in fresh.items() if name != part})
        shown(f"empty {part}", run.quote, {**fresh, part: ""})
        shown(f"{part} of others", run.quote, {**fresh, part: fresh_platform().collateral(now)[part]})
    for part in [name for name in fresh if name.endswith("issuer_chain")]:
        for name, (old_text, new_text) in ARMOUR.items():
            chain = new_text.join(fresh[part].rsplit(old_text, 1))
            shown(f"{part}: {name} of the root", run.quote, {**fresh, part: chain})
        shown(
            f"{part}: the root left out", run.quote, {**fresh, part: fresh[part][: fresh[part].rindex(BEGIN)]}
        )
        shown(
            f"{part}: nine",
            run.quote,
            {**fresh, part: fresh[part] + 7 * fresh[part][fresh[part].rindex(BEGIN) :]},
        )
    shown("a member more", run.quote, {**fresh, "more": "x"})
    shown("no chain of the machine", run.quote, {**fresh, "pck_certificate_chain": ""})
    for name, options in TD.items():
        shown(name, platform.machine().quote(bytes(64), MEASURED, **options), fresh)
    for name, hardware in HARDWARE.items():
        shown(name, platform.machine(**hardware).quote(bytes(64), MEASURED), fresh)
    require_agreement({name: Case(data, truth.trust, NOTHING, now) for name, data in cases.items()}, tmp_path)


def test_guests_are_judged_alike(truth: Truth, tmp_path: Path) -> None:
    """AT-16, AT-18, AT-19, AT-21: what the host bound to the TD, and what the guest measured."""
    now = int(time.time())
    good = SimulatedEnclave(truth.platform, truth.recipe, bytes.fromhex(truth.run.place.app[2:]))

    def filled(form: int, digest: bytes) -> bytes:
        return bytes([form]) + digest + bytes(15)

    document = {
        "app_id": good.app_id.hex(), "compose_hash": good.compose_hash.hex(),
        "instance_id": good.instance_id.hex(), "key_provider": "kms",
        "key_provider_id": good.key_provider_id.hex(), "version": 3,
    }  # fmt: skip

    def third(**members: object) -> bytes:
        text = json.dumps(document | members, sort_keys=True, separators=(",", ":"))
        return filled(3, hashlib.sha256(b"dstack-mr-config-v3:\0" + text.encode()).digest())

    second = keccak(good.compose_hash + good.app_id + b"\x02" + good.key_provider_id)
    twins: dict[str, dict[str, Any]] = {
        "form 1": {"config_id": filled(1, good.compose_hash)},
        "form 1 of another recipe": {"config_id": filled(1, bytes(32))},
        "form 1 and more": {"config_id": filled(1, good.compose_hash)[:-1] + b"x"},
        "form 2": {"config_id": filled(2, second)},
        "form 2 of another": {"config_id": filled(2, bytes(32))},
        "form 3": {"config_id": third()},
        "form 3 with scripts": {"config_id": third(init_script_hashes=[])},
        "form 3 with a GPU": {"config_id": third(gpu_policy_hash="00" * 32)},
        "form 3 of another instance": {"config_id": third(instance_id="00" * 20)},
        "form 4": {"config_id": filled(4, good.compose_hash)},
        "no form": {"config_id": bytes(48)},
    }
    runtime = [event for event in good.events if event.imr == 3]

    def after(name: str, *more: tuple[str, bytes]) -> dict[str, Any]:
        found = []
        for event in runtime:
            found.append(event)
            found += [runtime_event(*one) for one in more if event.name == name]
        return {"events": found}

    script, policy = ("init-script-hash", b"\1" * 32), ("gpu-policy-hash", b"\2" * 32)
    gpus = ("gpu-attestation", b"{}")
    twins |= {
        "what newer guests measure": after("compose-hash", script, script, policy, gpus),
        "mr-kms": after("boot-mr-done", ("mr-kms", bytes(32))),
        "mr-kms, short": after("boot-mr-done", ("mr-kms", bytes(31))),
        "an unknown event": after("boot-mr-done", ("of-a-later-dstack", b"x")),
        "an unknown event twice": after("boot-mr-done", *[("of-a-later-dstack", b"x")] * 2),
        "six scripts": after("compose-hash", *[script] * 6),
        "a script too late": after("boot-mr-done", script),
        "a policy twice": after("compose-hash", policy, policy),
        "a policy too late": after("boot-mr-done", policy),
        "GPUs too late": after("system-ready", gpus),
        "a file system twice": after("system-ready", ("storage-fs", b"zfs")),
        "version 2": {"events": [runtime_event(one.name, one.payload, version=2) for one in runtime]},
        "two versions": {"events": [
            runtime_event(one.name, one.payload, version=1 + place % 2) for place, one in enumerate(runtime)
        ]},
    }  # fmt: skip
    cases = {
        name: Case(truth.ran(twin=twin).envelope().encode(), truth.trust, NOTHING, now)
        for name, twin in twins.items()
    }
    whole = json.loads(truth.run.event_log)
    for name, left in {
        "without firmware's events": [event for event in whole if event["imr"] == 3],
        "without some of firmware's events": [event for event in whole if event["imr"] != 1],
        "without events of the guest": [event for event in whole if event["imr"] != 3],
    }.items():
        shown = truth.run.shown(event_log=json.dumps(left)).lie()
        cases[name] = Case(shown.encode(), truth.trust, NOTHING, now)
    require_agreement(cases, tmp_path)
    broken = {}
    for name, case in cases.items():
        links = told(case)["links"]
        broken[name] = next((str(link["code"]) for link in links if not link["ok"]), "")
    assert broken == {
        "form 1": "",
        "form 1 of another recipe": "config-id-mismatch",
        "form 1 and more": "config-id-unknown",
        "form 2": "",
        "form 2 of another": "config-id-mismatch",
        "form 3": "",
        "form 3 with scripts": "",
        "form 3 with a GPU": "config-id-mismatch",
        "form 3 of another instance": "config-id-mismatch",
        "form 4": "config-id-unknown",
        "no form": "config-id-unbound",
        "what newer guests measure": "",
        "mr-kms": "",
        "mr-kms, short": "event-log-mismatch",
        "an unknown event": "",
        "an unknown event twice": "event-log-duplicate",
        "six scripts": "event-log-mismatch",
        "a script too late": "event-log-mismatch",
        "a policy twice": "event-log-duplicate",
        "a policy too late": "event-log-mismatch",
        "GPUs too late": "event-log-mismatch",
        "a file system twice": "event-log-duplicate",
        "version 2": "event-log-version",
        "two versions": "event-log-mismatch",
        "without firmware's events": "",
        "without some of firmware's events": "event-log-mismatch",
        "without events of the guest": "event-log-mismatch",
    }


MEASURED = Measurements(mr_td=bytes(48), rt_mr=(bytes(48),) * 4, mr_config_id=bytes(48))


def test_every_model_file_is_judged_alike(tmp_path: Path) -> None:
    """OU-09: the weights, the chain of checkpoints, the one spelling of the file."""
    platform, dice, now = fresh_platform(), random.Random(5), int(time.time())
    run = model_run(tmp_path / "model", platform, make_gate(platform))
    file = write_model(run.envelope())
    header, data = test_model_file.parted(file)
    cases = {"the file": file, "its envelope": run.envelope().encode()}
    cases["a weight"] = test_model_file._weight(header, data)
    for name, (change, _) in test_model_file.LIES.items():
        cases[name] = change(*test_model_file.parted(file))
    for number in range(FLIPS):
        cases[f"bit {number}"] = flipped(file, dice)
    trust = platform.trust()
    require_agreement(
        {name: Case(each, trust, NOTHING, now) for name, each in cases.items()}, tmp_path / "cases"
    )


def test_every_vector_is_judged_alike(tmp_path: Path) -> None:
    require_agreement({path.name: Case(read(path).body) for path in vectors("envelope")}, tmp_path)
