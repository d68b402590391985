# SPDX-License-Identifier: Apache-2.0
"""Evidence in the forms that real dstack hosts have: configuration ids, both event logs, names of machines,
images by registers and by measurement. Recordings of real machines stand beside the project, and are read
from there; without them their tests are skipped."""

from __future__ import annotations

import base64
import hashlib
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from eth_utils.crypto import keccak

from sealroom.errors import FormatError
from sealroom.platform_policy import BY_IMAGE, GuestRules, LiteImage, OsImage
from sealroom_agents.attestation import (
    INTEL,
    INTEL_UNDER_ANY_POLICY,
    TrustRoot,
    read_event_log,
    replayed,
    said_registers,
    trust_under,
    verify_evidence,
    verify_quote,
)
from sealroom_agents.attestation.config_id import require_config_id
from sealroom_agents.attestation.dev_images import dev_image, is_dev_name, said_image
from sealroom_agents.attestation.eventlog import Claims
from sealroom_agents.attestation.lite import as_images, is_booted, read_measurement
from sealroom_agents.errors import AttestationError, ConfigurationError
from sealroom_agents.facts import Evidence
from sealroom_agents.simulator import Event, SimulatedEnclave, SimulatedPlatform, runtime_event, to_json
from sealroom_agents.simulator.platform import simulated_os_image

NOW = 1_780_000_000
APP_ID = bytes(range(20))
COMPOSE = b'{"manifest_version":2,"name":"cardio-renal","runner":"docker-compose"}'
REPORT_DATA = bytes(range(64))
PLATFORM = SimulatedPlatform(b"\x51" * 32)
COLLATERAL = PLATFORM.collateral(NOW)
TRUST = PLATFORM.trust()
FLIPS = 120
"""Bits of real evidence that are changed, one at a time."""

RECORDED = Path(__file__).resolve().parents[3] / "shared" / "vectors" / "platform"
needs_recordings = pytest.mark.skipif(not RECORDED.is_dir(), reason="no recordings in ../shared/vectors")
GPU, CPU, LITE, KMS = "dstack-0.5.8-gpu1", "dstack-cpu-uptodate", "dstack-0.6", "phala-cloud-kms"


def verified(trust: TrustRoot = TRUST, **twin: Any) -> Evidence:
    """Evidence of a simulated enclave that deviates from a good one in `twin`."""
    quote, log, _ = SimulatedEnclave(PLATFORM, COMPOSE, APP_ID, **twin).evidence(REPORT_DATA)
    return verify_evidence(quote, log, COLLATERAL, trust=trust, now=NOW, report_data=REPORT_DATA)


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(AttestationError) as caught:
        call()
    return caught.value.code


# --- configuration id ----------------------------------------------------------------------------

COMPOSE_HASH = hashlib.sha256(COMPOSE).digest()
PROVIDER_ID = PLATFORM.kms.key_provider_id
INSTANCE = SimulatedEnclave(PLATFORM, COMPOSE, APP_ID).instance_id


def filled(form: int, digest: bytes) -> bytes:
    return bytes([form]) + digest + bytes(15)


def form_2(kind: int = 2, app: bytes = APP_ID, provider: bytes = PROVIDER_ID) -> bytes:
    return filled(2, keccak(COMPOSE_HASH + app + bytes([kind]) + provider))


def form_3(**members: object) -> bytes:
    document = {
        "version": 3,
        "app_id": APP_ID.hex(),
        "compose_hash": COMPOSE_HASH.hex(),
        "key_provider": "kms",
        "key_provider_id": PROVIDER_ID.hex(),
        "instance_id": INSTANCE.hex(),
        **members,
    }
    present = {name: value for name, value in document.items() if value is not None}
    text = json.dumps(present, sort_keys=True, separators=(",", ":"))
    return filled(3, hashlib.sha256(b"dstack-mr-config-v3:\0" + text.encode()).digest())


@pytest.mark.parametrize(
    "config_id",
    [
        filled(1, COMPOSE_HASH),
        form_2(),
        form_3(),
        form_3(key_provider_id=None),
        form_3(init_script_hashes=[]),
    ],
    ids=["recipe", "recipe, app, provider", "document", "document, no provider id", "document, scripts"],
)
def test_a_configuration_id_of_each_form_binds_what_was_measured(config_id: bytes) -> None:
    """AT-19, AT-21."""
    assert verified(config_id=config_id).compose_hash == COMPOSE_HASH


@pytest.mark.parametrize(
    ("config_id", "code"),
    [
        (filled(1, hashlib.sha256(b"another recipe").digest()), "config-id-mismatch"),
        (form_2(kind=1), "config-id-mismatch"),
        (form_2(app=bytes(20)), "config-id-mismatch"),
        (form_2(provider=b"another KMS"), "config-id-mismatch"),
        (form_3(app_id=None), "config-id-mismatch"),
        (form_3(app_id="00" * 20), "config-id-mismatch"),
        (form_3(key_provider="none"), "config-id-mismatch"),
        (form_3(instance_id="00" * 20), "config-id-mismatch"),
        (form_3(gpu_policy_hash="00" * 32), "config-id-mismatch"),
        (form_3(init_script_hashes=["00" * 32]), "config-id-mismatch"),
        (filled(2, COMPOSE_HASH), "config-id-mismatch"),
        (filled(0, COMPOSE_HASH), "config-id-unknown"),
        (filled(4, COMPOSE_HASH), "config-id-unknown"),
        (filled(1, COMPOSE_HASH)[:-1] + b"\x01", "config-id-unknown"),
        (bytes(48), "config-id-unbound"),
    ],
)
def test_a_configuration_id_that_binds_anything_else_is_refused(config_id: bytes, code: str) -> None:
    """AT-19, AT-21: the host created the TD for something else than what runs in it."""
    assert refused(lambda: verified(config_id=config_id)) == code


def test_a_td_without_configuration_id_is_for_the_owners_to_accept() -> None:
    """AT-21: `use_mrconfigid = false`, and hosts of others."""
    assert verified(replace(TRUST, allow_unbound_config=True), config_id=bytes(48)).app_id == APP_ID


def test_the_document_is_spelled_as_dstack_spells_it() -> None:
    """The example in dstack's own test of `MrConfigV3`, and what follows from it."""
    text = (
        '{"app_id":"' + "11" * 20 + '","compose_hash":"' + "22" * 32 + '","gpu_policy_hash":"' + "55" * 32
        + '","instance_id":"' + "44" * 20 + '","key_provider":"kms","key_provider_id":"' + "33" * 32
        + '","version":3}'
    )  # fmt: skip
    claims = Claims(
        app_id=b"\x11" * 20,
        compose_hash=b"\x22" * 32,
        instance_id=b"\x44" * 20,
        os_image_hash=bytes(32),
        key_provider="kms",
        key_provider_id=b"\x33" * 32,
        key_provider_info=b"",
        gpu_policy_hash=b"\x55" * 32,
    )
    config_id = filled(3, hashlib.sha256(b"dstack-mr-config-v3:\0" + text.encode()).digest())
    assert require_config_id(config_id, claims, INTEL) == 3
    other = replace(claims, gpu_policy_hash=b"\x56" * 32)
    assert refused(lambda: require_config_id(config_id, other, INTEL)) == "config-id-mismatch"


def test_a_local_key_provider_has_its_own_number_and_word() -> None:
    claims = Claims(
        app_id=APP_ID,
        compose_hash=COMPOSE_HASH,
        instance_id=b"",
        os_image_hash=bytes(32),
        key_provider="local-sgx",
        key_provider_id=PROVIDER_ID,
        key_provider_info=b"",
    )
    assert require_config_id(form_2(kind=1), claims, INTEL) == 2
    assert require_config_id(form_3(key_provider="local", instance_id=None), claims, INTEL) == 3
    unknown = replace(claims, key_provider="of-its-own")
    assert refused(lambda: require_config_id(form_2(), unknown, INTEL)) == "config-id-mismatch"


# --- event log -----------------------------------------------------------------------------------


def events(version: int = 1, **more: Sequence[tuple[str, bytes]]) -> list[Event]:
    """The good log with events put behind those that `more` names, `_` for `-`."""
    found = []
    for event in SimulatedEnclave(PLATFORM, COMPOSE, APP_ID).events:
        if event.imr == 3:
            found.append(runtime_event(event.name, event.payload, version=version))
            for name, payload in more.get(event.name.replace("-", "_"), ()):
                found.append(runtime_event(name, payload, version=version))
    return found


BOTH = replace(TRUST, event_log_versions=frozenset({1, 2}))
SCRIPT, OTHER_SCRIPT = hashlib.sha256(b"a").digest(), hashlib.sha256(b"b").digest()
POLICY = hashlib.sha256(b"{}").digest()


def test_a_log_of_version_2_is_for_the_owners_to_accept() -> None:
    """AT-18: what is hashed of an event differs, and each form is read by its own rule."""
    log = events(2)
    assert verified(BOTH, events=log) == replace(
        verified(),
        rt_mr=verified(BOTH, events=log).rt_mr,
        mr_aggregated=verified(BOTH, events=log).mr_aggregated,
    )
    assert verified(BOTH).compose_hash == COMPOSE_HASH
    assert refused(lambda: verified(events=log)) == "event-log-version"
    only_new = replace(TRUST, event_log_versions=frozenset({2}))
    assert refused(lambda: verified(only_new)) == "event-log-version"


def test_a_log_of_two_versions_is_refused() -> None:
    """AT-18."""
    old, new = events(1), events(2)
    assert refused(lambda: verified(BOTH, events=[*old[:3], *new[3:]])) == "event-log-mismatch"


@pytest.mark.parametrize(
    "change",
    [
        {"version": 1},
        {"version": 3},
        {"version": True},
        {"version": "2"},
        {"preimage": ""},
        {"preimage": "AA"},
        {"preimage": b"{}".hex()},
        {"more": 1},
        {"event_payload": "00"},
    ],
    ids=str,
)
def test_an_event_of_version_2_is_read_strictly(change: dict[str, Any]) -> None:
    """AT-15, AT-18."""
    log = json.loads(to_json(events(2)))
    assert read_event_log(json.dumps(log)).claims().app_id == APP_ID
    log[-1].update(change)
    assert refused(lambda: read_event_log(json.dumps(log))) == "event-log-mismatch"


def test_what_newer_guests_measure_is_read() -> None:
    """GP-08: order and places are dstack's; scripts stand as often as there are some."""
    log = events(
        compose_hash=[
            ("init-script-hash", SCRIPT),
            ("init-script-hash", OTHER_SCRIPT),
            ("gpu-policy-hash", POLICY),
            ("gpu-attestation", b'{"devices":1}'),
        ],
        boot_mr_done=[("mr-kms", bytes(32))],
        system_ready=[("of-the-app", b"x"), ("of-the-app", b"y")],
    )
    claims = read_event_log(to_json(log)).claims()
    assert claims.init_script_hashes == (SCRIPT, OTHER_SCRIPT)
    assert (claims.gpu_policy_hash, claims.gpu_attestation) == (POLICY, b'{"devices":1}')
    bound = form_3(init_script_hashes=[SCRIPT.hex(), OTHER_SCRIPT.hex()], gpu_policy_hash=POLICY.hex())
    assert verified(events=log, config_id=bound).compose_hash == COMPOSE_HASH
    turned = form_3(init_script_hashes=[OTHER_SCRIPT.hex(), SCRIPT.hex()], gpu_policy_hash=POLICY.hex())
    assert refused(lambda: verified(events=log, config_id=turned)) == "config-id-mismatch"


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"system_ready": [("gpu-attestation", b"{}")]}, "event-log-mismatch"),
        ({"boot_mr_done": [("gpu-policy-hash", POLICY)]}, "event-log-mismatch"),
        ({"boot_mr_done": [("init-script-hash", SCRIPT)]}, "event-log-mismatch"),
        ({"system_ready": [("mr-kms", bytes(32))]}, "event-log-mismatch"),
        ({"compose_hash": [("mr-kms", bytes(31))]}, "event-log-mismatch"),
        ({"compose_hash": [("init-script-hash", SCRIPT)] * 6}, "event-log-mismatch"),
        ({"compose_hash": [("gpu-policy-hash", POLICY)] * 2}, "event-log-duplicate"),
        ({"compose_hash": [("gpu-attestation", b"{}")] * 2}, "event-log-duplicate"),
        (
            {"compose_hash": [("init-script-hash", SCRIPT)], "system_ready": [("init-script-hash", SCRIPT)]},
            "event-log-duplicate",
        ),
        ({"compose_hash": [("unknown", b"")] * 2}, "event-log-duplicate"),
        ({"system_ready": [("storage-fs", b"zfs")]}, "event-log-duplicate"),
    ],
)
def test_a_measurement_out_of_its_place_is_refused(more: dict[str, Any], code: str) -> None:
    """AT-16, GP-08."""
    assert refused(lambda: read_event_log(to_json(events(**more))).claims()) == code


def test_an_unknown_event_of_the_boot_changes_nothing() -> None:
    """A later dstack may measure more; it is replayed, and nothing is taken from it."""
    assert verified(events=events(boot_mr_done=[("of-a-later-dstack", b"x")])).compose_hash == COMPOSE_HASH


# --- names of machines ---------------------------------------------------------------------------


def test_machines_are_named_by_the_rule_that_the_owners_chose() -> None:
    """AT-27."""
    by_ppid = verified()
    by_user_data = verified(replace(TRUST, device_rules=("user-data",)))
    assert by_ppid.device_id == PLATFORM.machine().device_id != by_user_data.device_id
    assert (
        by_user_data.device_id
        == hashlib.sha256(SimulatedEnclave(PLATFORM, COMPOSE, APP_ID).quote(REPORT_DATA)[28:48]).digest()
    )
    assert (by_ppid.other_devices, by_user_data.other_devices) == ((), ())
    either = verified(replace(TRUST, device_rules=("ppid", "user-data")))
    assert (either.device_id, *either.other_devices) == (by_ppid.device_id, by_user_data.device_id)


def test_the_rules_for_guests_come_from_the_policy() -> None:
    """AT-06, AT-18, AT-21, AT-27."""
    rules = GuestRules(config_id="any", device_id="user-data", event_logs=(2,))
    trust = trust_under(PLATFORM.policy(guest=rules), TRUST)
    assert (trust.allow_unbound_config, trust.device_rules) == (True, ("user-data",))
    assert trust.event_log_versions == {2}
    strict = trust_under(PLATFORM.policy(), TRUST)
    assert (strict.allow_unbound_config, strict.device_rules) == (False, ("ppid",))
    assert strict.event_log_versions == {1}


# --- images --------------------------------------------------------------------------------------


def test_an_image_by_kernel_and_firmware_leaves_the_hardware_open() -> None:
    """AT-20."""
    whole = simulated_os_image()
    part = OsImage(by=BY_IMAGE, digest=whole.digest, mr_td=whole.mr_td, rt_mr=whole.rt_mr[1:])
    other = [
        replace(event, digest=hashlib.sha384(b"more processors").digest()) if event.imr == 0 else event
        for event in SimulatedEnclave(PLATFORM, COMPOSE, APP_ID).events
    ]
    twin = SimulatedEnclave(PLATFORM, COMPOSE, APP_ID)
    twin.events = tuple(other)
    quote, log, _ = twin.evidence(REPORT_DATA)

    def judged(image: OsImage) -> Evidence:
        trust = PLATFORM.trust(os_images=(image,))
        return verify_evidence(quote, log, COLLATERAL, trust=trust, now=NOW, report_data=REPORT_DATA)

    assert judged(part).os_image_hash == whole.digest
    assert refused(lambda: judged(whole)) == "os-image-not-allowed"
    for place in range(2):
        rt_mr = tuple(bytes(48) if place == number else each for number, each in enumerate(part.rt_mr))
        assert refused(lambda rt_mr=rt_mr: judged(replace(part, rt_mr=rt_mr))) == "os-image-not-allowed"
    assert refused(lambda: judged(replace(part, mr_td=bytes(48)))) == "os-image-not-allowed"


def test_the_registers_say_the_image_and_the_guest_does_not() -> None:
    """AT-20: a KMS may tell the guest another digest than that of what booted."""
    image = simulated_os_image()
    renamed = replace(image, digest=b"\x07" * 32)
    assert verified(PLATFORM.trust(os_images=(renamed,))).os_image_hash == b"\x07" * 32


@pytest.mark.parametrize(
    ("name", "is_dev"),
    [
        ("dstack-nvidia-dev-0.5.8", True),
        ("dstack-dev-0.5.3", True),
        ("dstack-0.5.8", False),
        ("dstack-nvidia-0.5.5", False),
        ("devices-0.6", False),
        ("", False),
    ],
)
def test_images_for_developers_have_dev_in_their_name(name: str, is_dev: bool) -> None:
    assert is_dev_name(name) == is_dev
    assert said_image(json.dumps({"image": name})) == name


@pytest.mark.parametrize("text", ["", "[]", "{", '{"image":1,"image":2}', "x" * 70_000])
def test_a_vm_config_that_is_none_is_refused(text: str) -> None:
    assert refused(lambda: said_image(text)) == "malformed"


# --- recordings of real machines -----------------------------------------------------------------

SERVER = replace(INTEL, allow_dynamic_platform=True, allow_cached_keys=True, allow_smt=True)


def recorded(guest: str, name: str) -> bytes:
    return (RECORDED / guest / name).read_bytes()


def judged(guest: str, trust: TrustRoot) -> Evidence:
    """The evidence of a recorded guest at the moment for which its collateral is."""
    expected = json.loads(recorded(guest, "expected.json"))
    facts = verify_quote(
        recorded(guest, "quote.bin"),
        json.loads(recorded(guest, "collateral.json")),
        trust=trust,
        now=expected["verify_now"],
    )
    return replayed(facts, recorded(guest, "event_log.json").decode(), trust=trust)


def lite_guest() -> tuple[LiteImage, dict[str, bytes], Any]:
    """The image of the recorded guest, its registers, and its event log."""
    recording = json.loads(recorded(LITE, "tdx-lite-getquote.json"))
    parts = json.loads(recording["vm_config"])["tdx_measurement"]
    image = LiteImage(
        checksums=base64.b64decode(parts["checksum_file"]),
        measurement=base64.b64decode(parts["measurement"]),
        memory=(2048,),
    )
    return image, said_registers(bytes.fromhex(recording["quote"])), read_event_log(recording["event_log"])


@needs_recordings
def test_a_real_guest_is_accepted_as_on_a_server_and_named_by_either_rule() -> None:
    """AT-06, AT-27: UpToDate, with what all servers have."""
    expected = json.loads(recorded(CPU, "expected.json"))
    evidence = judged(CPU, SERVER)
    assert evidence.compose_hash == hashlib.sha256(recorded(CPU, "app-compose.json")).digest()
    assert evidence.compose_hash.hex() == expected["compose_hash"]
    assert evidence.app_id.hex() == expected["app_id"]
    assert evidence.device_id.hex() == expected["expected"]["device_id_from_ppid"]
    # This guest is older than 0.5.6: what it tells of itself is the other rule's name.
    older = judged(CPU, replace(SERVER, device_rules=("user-data",)))
    assert older.device_id.hex() == expected["device_id"]
    assert judged(CPU, INTEL_UNDER_ANY_POLICY).other_devices == (older.device_id,)


@needs_recordings
@pytest.mark.parametrize("guest", [CPU, GPU])
def test_real_guests_are_refused_where_owners_grant_nothing(guest: str) -> None:
    """AT-29: each of the three is needed, so there is one name for all."""
    assert refused(lambda: judged(guest, INTEL)) == "device-not-allowed"
    for grant in ("allow_dynamic_platform", "allow_cached_keys", "allow_smt"):
        lacking = replace(SERVER, **{grant: False})
        assert refused(lambda lacking=lacking: judged(guest, lacking)) == "device-not-allowed"


@needs_recordings
def test_a_real_image_for_developers_is_refused_by_its_name() -> None:
    """AT-20: whoever rents the machine can log in, whatever the owners allowed."""
    expected = json.loads(recorded(GPU, "expected.json"))
    report = expected["expected"]["report"]["TD10"]
    rt_mr = tuple(bytes.fromhex(report[f"rt_mr{number}"]) for number in range(4))
    said = said_image(expected["vm_config"])
    assert is_dev_name(said)
    assert said.startswith(str(dev_image(rt_mr)))
    allowed = OsImage(
        by=BY_IMAGE,
        digest=bytes.fromhex(expected["os_image_hash"]),
        mr_td=bytes.fromhex(report["mr_td"]),
        rt_mr=rt_mr[1:3],
    )
    assert refused(lambda: judged(GPU, SERVER)) == "os-image-dev"
    assert refused(lambda: judged(GPU, replace(SERVER, os_images=(allowed,)))) == "os-image-dev"


@needs_recordings
def test_a_real_machine_is_proven_to_have_booted_an_image_from_hashes_alone() -> None:
    """AT-20: the registers follow from the digest, the size of memory, and three digests of ACPI tables."""
    image, said, log = lite_guest()
    registers = [said[f"rtMr{number}"] for number in range(4)]
    assert list(log.registers()) == registers
    assert is_booted(image, said["mrTd"], registers, log.acpi())
    for entry in as_images(image):
        assert entry.is_booted(said["mrTd"], tuple(registers)) == (entry.mr_td == said["mrTd"])
    # What the guest measured as its image is another one: it came from the KMS.
    assert log.claims().os_image_hash != image.digest


@needs_recordings
def test_nothing_else_than_the_image_and_its_memory_passes_for_it() -> None:
    """AT-20."""
    image, said, log = lite_guest()
    registers = [said[f"rtMr{number}"] for number in range(4)]
    assert not is_booted(replace(image, memory=(4096,)), said["mrTd"], registers, log.acpi())
    assert is_booted(replace(image, memory=(2048, 4096)), said["mrTd"], registers, log.acpi())
    assert not is_booted(image, bytes(48), registers, log.acpi())
    assert not is_booted(image, said["mrTd"], registers, log.acpi()[:2])
    assert not is_booted(image, said["mrTd"], registers, (*log.acpi()[:2], bytes(48)))
    for number in range(3):
        other = [bytes(48) if number == place else each for place, each in enumerate(registers)]
        assert not is_booted(image, said["mrTd"], other, log.acpi())


@needs_recordings
def test_a_measurement_that_does_not_fit_is_refused() -> None:
    """AT-20, AT-31: when the root of trust is made of the policy, not when a machine comes."""
    image, _, _ = lite_guest()
    assert read_measurement(image).mr_tds

    def bad(**changes: Any) -> None:
        with pytest.raises(FormatError) as caught:
            read_measurement(replace(image, **changes))
        assert caught.value.code == "malformed"

    bad(memory=(2047,))
    bad(memory=(2815,))
    bad(checksums=image.checksums.replace(b"measurement", b"measuremenu"))
    bad(checksums=b"\xff" + image.checksums)
    dice = random.Random(5)
    for _ in range(FLIPS):
        place = dice.randrange(len(image.measurement))
        flipped = bytearray(image.measurement)
        flipped[place] ^= 1 << dice.randrange(8)
        bad(measurement=bytes(flipped))
        # Also where the list of checksums names exactly these bytes: read to its end, or refused.
        named = f"{hashlib.sha256(flipped).hexdigest()}  measurement.tdx.cbor\n".encode()
        with_list = replace(image, measurement=bytes(flipped), checksums=named)
        try:
            read_measurement(with_list)
        except FormatError as error:
            assert error.code == "malformed"
    with pytest.raises(ConfigurationError) as caught:
        trust_under(PLATFORM.policy(os_images=(replace(image, memory=(100,)),)), TRUST)
    assert caught.value.code == "platform-policy"


@needs_recordings
def test_no_bit_of_real_evidence_can_be_changed() -> None:
    """AT-02, AT-15: of the signed quote, and of what is measured in the log."""
    expected, dice = json.loads(recorded(CPU, "expected.json")), random.Random(7)
    quote, log = recorded(CPU, "quote.bin"), recorded(CPU, "event_log.json")
    collateral = json.loads(recorded(CPU, "collateral.json"))
    good = judged(CPU, SERVER)

    def seen(quote: bytes, log: bytes) -> Evidence | str:
        try:
            facts = verify_quote(quote, collateral, trust=SERVER, now=expected["verify_now"])
            return replayed(facts, log.decode("utf-8", "surrogateescape"), trust=SERVER)
        except AttestationError as error:
            return error.code

    assert seen(quote, log) == good
    for _ in range(FLIPS):
        place = dice.randrange(632)
        changed = bytearray(quote)
        changed[place] ^= 1 << dice.randrange(8)
        assert isinstance(seen(bytes(changed), log), str), place
        # Behind the signed part: signatures, certificates, and padding that says nothing.
        place = dice.randrange(632, len(quote))
        changed = bytearray(quote)
        changed[place] ^= 1 << dice.randrange(8)
        assert seen(bytes(changed), log) == good or isinstance(seen(bytes(changed), log), str), place
    for _ in range(FLIPS):
        place = dice.randrange(len(log))
        changed = bytearray(log)
        changed[place] ^= 1 << dice.randrange(8)
        # What describes an event of firmware is not hashed; nothing is taken from it.
        assert seen(quote, bytes(changed)) == good or isinstance(seen(quote, bytes(changed)), str), place
