# SPDX-License-Identifier: Apache-2.0
"""`sealroom policy`: a policy told, hashed and compared, and a recorded machine held against it rule by rule.

Recordings of real machines stand beside the project, and are read from there; without them their tests are
skipped.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests.agents.test_platform_evidence import (
    CPU,
    GPU,
    KMS,
    LITE,
    RECORDED,
    needs_recordings,
    recorded,
)
from tests.agents.worked import WorkedGate, fresh_platform, make_gate, make_run, render_recipe

from sealroom.encoding import to_hex
from sealroom.errors import FormatError
from sealroom.guarantee import GUARANTEES
from sealroom.platform_policy import (
    BY_IMAGE,
    FINAL,
    INTEL,
    UP_TO_DATE,
    GuestRules,
    Image,
    LiteImage,
    OsImage,
    PlatformPolicy,
    TcbRules,
)
from sealroom_agents.attestation import INTEL as INTEL_ROOT
from sealroom_agents.attestation import read_event_log, trust_under
from sealroom_agents.attestation.kms_identity import KmsInfo, require_app_chain, require_bound_keys
from sealroom_agents.attestation.quote import said_facts
from sealroom_agents.attestation.recording import read_recording
from sealroom_agents.attestation.versioned import read_attestation
from sealroom_agents.cli import main
from sealroom_agents.errors import AttestationError, ToolError
from sealroom_agents.simulator import SimulatedEnclave, SimulatedPlatform

NOW = 1_780_000_000
APP_ID = bytes(range(20))
COMPOSE = b'{"manifest_version":2,"name":"cardio-renal","runner":"docker-compose"}'
PLATFORM = SimulatedPlatform(b"\x51" * 32)


def call(*words: object) -> Result:
    return CliRunner().invoke(main, ["policy", *map(str, words)], catch_exceptions=False)


def asked(*words: object) -> tuple[int, dict[str, Any]]:
    result = call("check", *words, "--json")
    return result.exit_code, json.loads(result.stdout.splitlines()[0])


def verdicts(told: dict[str, Any]) -> dict[str, str]:
    """What each rule said: its code where it refused."""
    return {rule["rule"]: rule["code"] or rule["verdict"] for rule in told["rules"]}


@pytest.fixture
def written(tmp_path: Path) -> Callable[[PlatformPolicy], Path]:
    def write(policy: PlatformPolicy) -> Path:
        place = tmp_path / f"{policy.hash.hex()[:8]}.json"
        place.write_bytes(policy.encode())
        return place

    return write


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """A folder with the evidence of a simulated machine."""
    folder = tmp_path / "recording"
    folder.mkdir()
    quote, log, vm_config = SimulatedEnclave(PLATFORM, COMPOSE, APP_ID).evidence(bytes(64))
    (folder / "quote.bin").write_bytes(quote)
    (folder / "event_log.json").write_text(log)
    (folder / "collateral.json").write_text(json.dumps(PLATFORM.collateral(NOW)))
    (folder / "app-compose.json").write_bytes(COMPOSE)
    (folder / "info.json").write_text(json.dumps({"vm_config": vm_config}))
    (folder.parent / "root.der").write_bytes(PLATFORM.root_der)
    return folder


# --- documents -----------------------------------------------------------------------------------


def test_a_policy_is_told_in_words(written: Callable[[PlatformPolicy], Path]) -> None:
    strict, server = PLATFORM.policy(), server_policy()
    told = call("show", written(strict)).stdout
    assert "strict: nothing" in told
    assert f"0x{strict.hash.hex()}" in told
    assert "by registers" in told
    leases = "30 s, granted and renewed on a block at most 90 s old and a watcher's report at most 30 s old"
    assert leases in told
    told = call("show", written(server)).stdout
    assert "server: dynamic platform, cached keys, threads share a core" in told
    found = json.loads(call("show", written(server), "--json").stdout)
    assert (found["profile"], found["hash"]) == ("server", "0x" + server.hash.hex())
    assert PlatformPolicy.parse(json.dumps({"version": 5, **found["policy"]}).encode()) == server


@pytest.mark.parametrize(
    ("grants", "profile"),
    [((False,) * 3, "strict"), ((True,) * 3, "server"), ((True, False, True), "custom")],
)
def test_what_a_policy_grants_has_a_name(grants: tuple[bool, ...], profile: str) -> None:
    """AT-29."""
    dynamic, cached, smt = grants
    tcb = replace(PLATFORM.policy().tcb, dynamic_platform=dynamic, cached_keys=cached, smt=smt)
    assert tcb.profile == profile


def test_a_policy_has_one_hash_however_it_is_laid_out(
    written: Callable[[PlatformPolicy], Path], tmp_path: Path
) -> None:
    policy = PLATFORM.policy()
    wide = tmp_path / "wide.json"
    wide.write_text(json.dumps(json.loads(policy.encode()), indent=4))
    for place in (written(policy), wide):
        assert call("hash", place).stdout.strip() == "0x" + policy.hash.hex()
    assert json.loads(call("hash", wide, "--json").stdout) == {"ok": True, "hash": "0x" + policy.hash.hex()}
    wide.write_text("{}")
    assert call("hash", wide).exit_code != 0


def test_two_policies_are_compared_by_member(written: Callable[[PlatformPolicy], Path]) -> None:
    old = PLATFORM.policy()
    guest, tcb = GuestRules(config_id="any"), replace(old.tcb, smt=True)
    new = replace(old, emit="safe", guest=guest, tcb=tcb, lease_seconds=60)
    told = call("diff", written(old), written(new)).stdout
    assert "- leaseSeconds: 30\n+ leaseSeconds: 60" in told
    assert "- tcb.smt: false\n+ tcb.smt: true" in told
    assert '- guest.configId: "bound"\n+ guest.configId: "any"' in told
    found = json.loads(call("diff", written(old), written(new), "--json").stdout)
    assert [one["member"] for one in found["changes"]] == [
        "emit",
        "guest.configId",
        "leaseSeconds",
        "tcb.smt",
    ]
    assert "the same policy" in call("diff", written(old), written(old)).stdout


# --- simulated machines --------------------------------------------------------------------------


def test_a_machine_is_judged_by_every_rule(
    recording: Path, written: Callable[[PlatformPolicy], Path]
) -> None:
    """AT-05 to AT-20: all that a gate asks, and what is open is said."""
    options = ("--policy", written(PLATFORM.policy()), "--at", NOW, "--simulated-root",
               recording.parent / "root.der")  # fmt: skip
    code, told = asked(recording, *options)
    assert verdicts(told) == {
        "td": "ok", "quote": "ok", "event-log": "ok", "config-id": "ok", "recipe": "ok", "os-image": "ok",
        "key-provider": "ok", "app-chain": "open", "kms-root": "open", "machine": "ok",
    }  # fmt: skip
    assert (code, told["verdict"]) == (3, "open")
    (recording / "app-compose.json").write_bytes(COMPOSE + b"\n")
    code, told = asked(recording, *options)
    assert verdicts(told)["recipe"] == "compose-hash-mismatch"
    assert (code, told["verdict"]) == (1, "refused")
    said = call("check", recording, *options)
    assert "REFUSED  recipe" in said.stdout
    assert "the rule recipe refuses the machine" in said.stderr
    # A simulated root's policy, where nobody named that root.
    assert call("check", recording, "--policy", written(PLATFORM.policy())).exit_code == 78


@pytest.mark.parametrize(
    ("name", "content", "rule", "code"),
    [
        ("quote.bin", b"no quote", "td", "quote-invalid"),
        ("event_log.json", b"[]", "event-log", "event-log-mismatch"),
        ("collateral.json", b"{}", "quote", "quote-invalid"),
        ("app_cert_chain.pem", b"none", "app-chain", "kms-chain-broken"),
        ("info.json", b'{"vm_config":"[]"}', "os-image", "malformed"),
        ("info.json", b'{"vm_config":"{\\"image\\":\\"dstack-dev-0.6\\"}"}', "os-image", "os-image-dev"),
    ],
)
def test_one_broken_part_breaks_its_rule(
    recording: Path,
    written: Callable[[PlatformPolicy], Path],
    name: str,
    content: bytes,
    rule: str,
    code: str,
) -> None:
    """AT-15, AT-20, AT-31."""
    (recording / name).write_bytes(content)
    _, told = asked(
        recording, "--policy", written(PLATFORM.policy()), "--at", NOW, "--simulated-root",
        recording.parent / "root.der",
    )  # fmt: skip
    assert verdicts(told)[rule] == code
    assert told["verdict"] == "refused"


@pytest.mark.parametrize(
    "text", ["", "[]", '{"quote":1}', '{"quote":"zz","event_log":""}', '{"attestation":"x"}']
)
def test_a_file_that_is_no_recording_is_refused(text: str, tmp_path: Path) -> None:
    place = tmp_path / "answer.json"
    place.write_text(text)
    for path in (place, tmp_path, tmp_path / "none.json"):
        with pytest.raises(ToolError) as caught:
            read_recording(path)
        assert caught.value.code == "recording-malformed"


def test_a_result_is_held_against_the_policy_of_its_gate(
    tmp_path: Path, written: Callable[[PlatformPolicy], Path]
) -> None:
    """AT-06, AT-20, AT-30, OP-10: what the owners' document grants counts and no more, whether it comes in a
    file or is the one that the envelope carries."""
    platform = fresh_platform()
    policy = platform.policy()
    gate = make_gate(platform, policy=policy)
    run = make_run(platform, gate, render_recipe(tmp_path / "approved"))
    envelope, root = tmp_path / "envelope.json", tmp_path / "root.der"
    envelope.write_bytes(run.envelope().encode())
    root.write_bytes(platform.root_der)

    def verified(policy: PlatformPolicy | None) -> Result:
        words = ["verify", envelope, "--simulated-root", root]
        words += [] if policy is None else ["--policy", written(policy)]
        return CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)

    for given, whose in ((policy, "in "), (None, "that the envelope carries")):
        held = verified(given)
        assert held.exit_code == 4, "it holds; nothing pins its origin"
        assert f"rules: the platform policy {to_hex(policy.hash)} {whose}" in held.stdout
    other = verified(replace(policy, emit="safe"))
    assert other.exit_code == 1
    assert "the gate judged by policy" in other.stderr
    long = replace(run, grant=replace(run.grant, lease_seconds=policy.lease_seconds + 1))
    envelope.write_bytes(long.envelope().encode())
    for given in (policy, None):
        refused = verified(given)
        assert refused.exit_code == 1
        assert "the link grant is broken: a lease of 31 s, and 30 s by the platform policy" in refused.stderr
    strange = OsImage(digest=bytes(32), mr_td=bytes(48), rt_mr=(bytes(48),) * 3)
    narrow = replace(policy, os_images=(strange,))
    gate = make_gate(platform, policy=narrow)
    envelope.write_bytes(make_run(platform, gate, run.recipe.compose).envelope().encode())
    for given in (narrow, None):
        refused = verified(given)
        assert refused.exit_code == 1
        assert "the link event-log is broken" in refused.stderr


def test_a_carried_policy_that_cannot_rule_proves_nothing(tmp_path: Path) -> None:
    """AT-30: it was swapped, is for another root, or of a version that this release does not read."""
    platform = fresh_platform()
    recipe, root = render_recipe(tmp_path / "approved"), tmp_path / "root.der"
    root.write_bytes(platform.root_der)
    policy = platform.policy()
    gate = make_gate(platform, policy=policy)
    told = make_gate(platform, policy=replace(policy, root="intel"))

    def verified(gate: WorkedGate) -> Result:
        envelope = tmp_path / "envelope.json"
        envelope.write_bytes(make_run(platform, gate, recipe).envelope().encode())
        words = ["verify", str(envelope), "--simulated-root", str(root), "--json"]
        return CliRunner().invoke(main, words, catch_exceptions=False)

    assert json.loads(verified(gate).stdout)["policy"] == to_hex(policy.hash)
    lax = {**gate.identity.policy, "leaseSeconds": 60}
    swapped = verified(replace(gate, identity=replace(gate.identity, policy=lax)))
    assert swapped.exit_code == 1 and json.loads(swapped.stdout)["policy"] is None
    assert json.loads(swapped.stdout)["links"][-1]["code"] == "platform-policy-mismatch"
    later = make_gate(platform, document={**policy.document(), "version": 6})
    for gate, words in (
        (told, "the platform policy is for quotes of root intel"),
        (later, "the platform policy that the envelope carries"),
    ):
        ended = verified(gate)
        said = json.loads(ended.stdout)
        assert (ended.exit_code, said["ok"], said["code"]) == (78, False, "platform-policy")
        assert words in said["error"] and "verdict" not in said


# --- real machines -------------------------------------------------------------------------------


def server_policy(*images: Image, kms_root: bytes = bytes(32), **guest: Any) -> PlatformPolicy:
    """What owners adopt for real servers."""
    some = OsImage(digest=bytes(32), mr_td=bytes(48), rt_mr=(bytes(48),) * 3)
    return PlatformPolicy(
        root=INTEL,
        tcb=TcbRules(
            status=UP_TO_DATE, min_evaluation=18, rejected_advisories=(), tdx_modules=(), v5_quotes=False,
            dynamic_platform=True, cached_keys=True, smt=True,
        ),
        guest=GuestRules(**guest),
        os_images=images or (some,),
        kms_root=kms_root,
        gpu=PLATFORM.policy().gpu,
        guarantees=tuple(GUARANTEES),
        emit=FINAL,
        lease_seconds=30,
        staleness_seconds=90,
        heartbeat_seconds=30,
    )  # fmt: skip


def of_guest(guest: str, tmp_path: Path) -> tuple[Path, dict[str, Any], OsImage]:
    """A recorded guest as a folder, what is known of it, and its image by kernel and firmware."""
    folder = tmp_path / guest
    shutil.copytree(RECORDED / guest, folder)
    expected = json.loads((folder / "expected.json").read_bytes())
    (folder / "info.json").write_text(json.dumps({"vm_config": expected["vm_config"]}))
    report = expected["expected"]["report"]["TD10"]
    image = OsImage(
        by=BY_IMAGE,
        digest=bytes.fromhex(expected["os_image_hash"]),
        mr_td=bytes.fromhex(report["mr_td"]),
        rt_mr=(bytes.fromhex(report["rt_mr1"]), bytes.fromhex(report["rt_mr2"])),
    )
    return folder, expected, image


@needs_recordings
def test_a_real_guest_is_accepted_by_the_servers_profile_and_no_other(
    tmp_path: Path, written: Callable[[PlatformPolicy], Path]
) -> None:
    """AT-06, AT-20, AT-29: of the KMS's root key the recording says nothing, so that rule is open."""
    folder, expected, image = of_guest(CPU, tmp_path)
    policy = server_policy(image, device_id="user-data")
    code, told = asked(folder, "--policy", written(policy), "--at", expected["verify_now"])
    assert verdicts(told) == {
        "td": "ok", "quote": "ok", "event-log": "ok", "config-id": "ok", "recipe": "ok", "os-image": "ok",
        "key-provider": "ok", "app-chain": "ok", "kms-root": "open", "machine": "ok",
    }  # fmt: skip
    assert code == 3
    assert expected["device_id"] in told["rules"][-1]["detail"]
    strict = replace(policy, tcb=replace(policy.tcb, dynamic_platform=False, cached_keys=False, smt=False))
    code, told = asked(folder, "--policy", written(strict), "--at", expected["verify_now"])
    assert (code, verdicts(told)["quote"]) == (1, "device-not-allowed")
    _, told = asked(folder, "--policy", written(policy), "--at", expected["verify_window"][1] + 1)
    assert verdicts(told)["quote"] == "quote-invalid"
    newer = replace(policy, tcb=replace(policy.tcb, min_evaluation=99))
    _, told = asked(folder, "--policy", written(newer), "--at", expected["verify_now"])
    assert verdicts(told)["quote"] == "tcb-not-up-to-date"
    other = replace(policy, os_images=server_policy().os_images)
    _, told = asked(folder, "--policy", written(other), "--at", expected["verify_now"])
    assert verdicts(told)["os-image"] == "os-image-not-allowed"


def kms_file(tmp_path: Path, **changes: Any) -> tuple[Path, dict[str, Any]]:
    """Phala's KMS as its contract would tell it."""
    keys = json.loads(recorded(KMS, "kms.json"))
    told = {
        "caPubkey": "0x" + keys["ca_pubkey_spki_der"],
        "k256Pubkey": "0x" + keys["k256_pubkey"],
        "quote": "0x" + recorded(KMS, "quote.bin").hex(),
        "eventlog": recorded(KMS, "event_log.json").decode(),
        **changes,
    }
    place = tmp_path / "kms.json"
    place.write_text(json.dumps(told))
    return place, keys


@needs_recordings
def test_a_real_image_for_developers_is_refused_and_all_else_of_it_holds(
    tmp_path: Path, written: Callable[[PlatformPolicy], Path]
) -> None:
    """AT-19, AT-20: from the KMS's contract over its quote to the app's own certificate."""
    folder, expected, image = of_guest(GPU, tmp_path)
    place, keys = kms_file(tmp_path)
    root = hashlib.sha256(bytes.fromhex(keys["k256_pubkey"])).digest()
    options = ("--policy", written(server_policy(image, kms_root=root)), "--at", expected["verify_now"])
    code, told = asked(folder, *options, "--kms", place)
    assert verdicts(told) == {
        "td": "ok", "quote": "ok", "event-log": "ok", "config-id": "ok", "recipe": "ok",
        "os-image": "os-image-dev", "key-provider": "ok", "app-chain": "ok", "kms-root": "ok",
        "machine": "ok",
    }  # fmt: skip
    assert (code, told["verdict"]) == (1, "refused")
    assert "dstack-nvidia-dev-0.5.8" in next(
        one["detail"] for one in told["rules"] if one["rule"] == "os-image"
    )
    other = server_policy(image, kms_root=bytes(32))
    _, told = asked(folder, "--policy", written(other), "--at", expected["verify_now"], "--kms", place)
    assert verdicts(told)["kms-root"] == "key-provider-mismatch"


@needs_recordings
def test_a_real_lite_guest_is_proven_to_run_its_image_from_hashes(
    tmp_path: Path, written: Callable[[PlatformPolicy], Path]
) -> None:
    """AT-20: both forms of its evidence; without collateral its quote stays open."""
    answer = json.loads(recorded(LITE, "tdx-lite-getquote.json"))
    parts = json.loads(answer["vm_config"])["tdx_measurement"]
    image = LiteImage(
        checksums=base64.b64decode(parts["checksum_file"]),
        measurement=base64.b64decode(parts["measurement"]),
        memory=(2048,),
    )
    for name in ("tdx-lite-getquote.json", "tdx-lite-attestation.json"):
        place = tmp_path / name
        place.write_bytes(recorded(LITE, name))
        code, told = asked(place, "--policy", written(server_policy(image)))
        assert verdicts(told) == {
            "td": "ok", "quote": "open", "event-log": "ok", "config-id": "ok", "recipe": "open",
            "os-image": "ok", "key-provider": "ok", "app-chain": "open", "kms-root": "open", "machine": "ok",
        }  # fmt: skip
        assert code == 3
        assert image.digest.hex() in told["rules"][5]["detail"]
        larger = replace(image, memory=(4096,))
        _, told = asked(place, "--policy", written(server_policy(larger)))
        assert verdicts(told)["os-image"] == "os-image-not-allowed"


@needs_recordings
def test_the_entry_of_an_image_follows_from_its_digest(tmp_path: Path) -> None:
    """AT-20: what a policy or a pin says of an image, from one machine that carries it."""
    place = tmp_path / "answer.json"
    answer = json.loads(recorded(LITE, "tdx-lite-getquote.json"))
    vm_config = json.loads(answer["vm_config"])

    def told(*words: object, **changes: Any) -> Result:
        place.write_text(json.dumps({**answer, "vm_config": json.dumps(vm_config | changes)}))
        return call("image", place, *words)

    (entry,) = json.loads(told().stdout)
    found = LiteImage.from_json(entry)
    assert (found.memory, found.digest.hex()) == ((2048,), vm_config["os_image_hash"])
    assert found.digest.hex() in told().stderr
    (larger,) = json.loads(told("--memory", 65536, "--memory", 4096).stdout)
    assert LiteImage.from_json(larger).memory == (4096, 65536)
    entries = [OsImage.from_json(one) for one in json.loads(told("--by", "image").stdout)]
    assert {one.by for one in entries} == {BY_IMAGE}
    registers = said_facts(bytes.fromhex(answer["quote"]), trust=INTEL_ROOT)
    assert any(one.is_booted(registers.mr_td, registers.rt_mr) for one in entries)
    for changes, code in (
        ({"os_image_hash": "00" * 32}, "another digest"),
        ({"tdx_measurement": None}, "no tdx_measurement"),
        ({"memory_size": "2 GiB"}, "no size of memory"),
        ({"image": "dstack-dev-0.6.0"}, "for developers"),
    ):
        refused = told(**changes)
        assert refused.exit_code == 1
        assert code in refused.stderr
    assert "not known for 100 MiB" in told("--memory", 100).stderr


# --- forms of evidence ---------------------------------------------------------------------------


def packed(value: Any) -> bytes:
    """MessagePack, as Rust writes it: bytes as arrays of numbers where they are no byte strings."""
    if isinstance(value, dict):
        return (
            b"\xdf"
            + len(value).to_bytes(4, "big")
            + b"".join(packed(k) + packed(v) for k, v in value.items())
        )
    if isinstance(value, list):
        return b"\xdd" + len(value).to_bytes(4, "big") + b"".join(map(packed, value))
    if isinstance(value, str):
        return b"\xdb" + len(value.encode()).to_bytes(4, "big") + value.encode()
    if isinstance(value, bytes):
        return b"\xc6" + len(value).to_bytes(4, "big") + value
    return b"\xce" + int(value).to_bytes(4, "big")


def version_1(quote: bytes, log: str, *, numbers: bool = False, **changes: Any) -> bytes:
    def blob(value: bytes) -> Any:
        return list(value) if numbers else value

    events = [
        {**event, "digest": blob(bytes.fromhex(event["digest"])),
         "event_payload": blob(bytes.fromhex(event["event_payload"]))}
        for event in json.loads(log) if event["imr"] == 3
    ]  # fmt: skip
    whole = {
        "version": 1,
        "platform": {"kind": "tdx", "data": {"quote": blob(quote), "event_log": events}},
        "stack": {
            "kind": "dstack",
            "data": {"report_data": blob(bytes(64)), "runtime_events": [], "config": "{}"},
        },
    }
    return packed(whole | changes)


@pytest.mark.parametrize("numbers", [False, True])
def test_an_attestation_of_version_1_is_read(numbers: bool) -> None:
    quote, log, _ = SimulatedEnclave(PLATFORM, COMPOSE, APP_ID).evidence(bytes(64))
    found = read_attestation(version_1(quote, log, numbers=numbers))
    assert (found.version, found.quote, found.vm_config) == (1, quote, "{}")
    read = read_event_log(found.event_log)
    assert read.is_stripped
    assert read.claims() == read_event_log(log).claims()
    assert read.replay(3) == read_event_log(log).replay(3)


@needs_recordings
def test_a_real_attestation_of_version_0_holds_what_its_quote_does() -> None:
    data = bytes.fromhex(json.loads(recorded(LITE, "tdx-lite-attestation.json"))["attestation"])
    answer = json.loads(recorded(LITE, "tdx-lite-getquote.json"))
    found = read_attestation(data)
    assert (found.version, found.quote.hex()) == (0, answer["quote"])
    assert (found.report_data.hex(), found.vm_config) == (answer["report_data"], answer["vm_config"])
    assert read_event_log(found.event_log).claims() == read_event_log(answer["event_log"]).claims()
    for cut in (1, 2, 40, len(data) - 1):
        with pytest.raises(AttestationError) as caught:
            read_attestation(data[:cut])
        assert caught.value.code == "malformed"
    for bad, code in ((data + b"\0", "malformed"), (b"\0\1" + data[2:], "quote-not-tdx")):
        with pytest.raises(AttestationError) as caught:
            read_attestation(bad)
        assert caught.value.code == code


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "malformed"),
        (b"\xc1", "malformed"),
        (b"\x81" * 100, "malformed"),
        (b"\xdd\xff\xff\xff\xff", "malformed"),
        (packed({"version": 2}), "malformed"),
        (packed({"version": 1, "platform": {"kind": "sev-snp", "data": {}}, "stack": {}}), "quote-not-tdx"),
        (packed({"version": 1, "platform": 1, "stack": 1}), "malformed"),
        (b"\x82\xa1a\x01\xa1a\x01", "malformed"),
        (b"\x81\xa1\xff\x01", "malformed"),
        (b"\0" * (2 * 1024 * 1024 + 1), "evidence-too-large"),
    ],
    ids=range(10),
)
def test_what_is_no_attestation_is_refused(data: bytes, code: str) -> None:
    """AT-31."""
    with pytest.raises(AttestationError) as caught:
        read_attestation(data)
    assert caught.value.code == code


# --- KMS -----------------------------------------------------------------------------------------


@needs_recordings
def test_a_real_kms_binds_both_of_its_keys(tmp_path: Path) -> None:
    """AT-19, AT-34."""
    place, keys = kms_file(tmp_path)
    info = KmsInfo.read(place.read_bytes())
    assert info.report_data.hex() == keys["report_data"]
    trust = trust_under(server_policy(), INTEL_ROOT)
    require_bound_keys(info, trust=trust)
    assert said_facts(info.quote, trust=trust).report_data == info.report_data
    for changed in (
        replace(info, signature_key=b"\x02" + info.signature_key[1:]),
        replace(info, certificate_key=info.certificate_key[:-1] + b"\0"),
    ):
        with pytest.raises(AttestationError) as caught:
            require_bound_keys(changed, trust=trust)
        assert caught.value.code == "report-data-mismatch"
    for changes in ({"quote": "0xzz"}, {"more": 1}, {"k256Pubkey": "0x00"}):
        place, _ = kms_file(tmp_path, **changes)
        with pytest.raises(FormatError):
            KmsInfo.read(place.read_bytes())


@needs_recordings
@pytest.mark.parametrize("guest", [CPU, GPU])
def test_a_real_apps_certificate_leads_to_the_kms_that_was_measured(guest: str) -> None:
    """AT-19."""
    expected = json.loads(recorded(guest, "expected.json"))
    claims = read_event_log(recorded(guest, "event_log.json").decode()).claims()
    pem, now = recorded(guest, "app_cert_chain.pem"), expected["verify_now"]

    def leads(pem: bytes = pem, **changes: Any) -> None:
        require_app_chain(
            pem, **{"app_id": claims.app_id, "key_provider_id": claims.key_provider_id, "now": now, **changes}
        )

    leads()
    other = recorded(GPU if guest == CPU else CPU, "app_cert_chain.pem")
    end = b"-----END CERTIFICATE-----\n"
    leaf, app_ca, kms_ca, *_ = (part + end for part in pem.replace(b"\r", b"").split(end))
    for bad in (
        {"app_id": bytes(20)},
        {"key_provider_id": claims.key_provider_id[:-1] + b"\0"},
        {"now": 4_000_000_000},
        {"pem": other},
        {"pem": leaf + kms_ca},
        {"pem": app_ca + leaf + kms_ca},
        {"pem": leaf + other[other.index(b"-----END") + len(end) :]},
        {"pem": b""},
        {"pem": b"\xff"},
    ):
        with pytest.raises(AttestationError) as caught:
            leads(**bad)
        assert caught.value.code == "kms-chain-broken"
