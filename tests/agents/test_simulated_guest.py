# SPDX-License-Identifier: Apache-2.0
"""The simulated guest agent's whole surface: version 0 by dstack's own client, 1 by its published rules."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID
from dstack_sdk import AsyncDstackClient, DstackClient

from sealroom.encoding import sha256
from sealroom.keys import KeyInterface, public_key33, recover_kms_root
from sealroom_agents.attestation.eventlog import read_event_log
from sealroom_agents.attestation.kms_identity import require_app_chain
from sealroom_agents.attestation.versioned import read_attestation
from sealroom_agents.simulator import GuestAgent, Interfaces, SimulatedPlatform
from sealroom_agents.simulator.kms import derive_domain, derive_path
from sealroom_agents.simulator.signing import verify

COMPOSE = b'{"manifest_version":2,"name":"cardio-renal","runner":"docker-compose"}'
APP_ID = bytes(range(20))
PLATFORM = SimulatedPlatform(b"\x71" * 32)
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
APP_KEY = bytes.fromhex("1a2b3c4d5e6f7a8b9c0d1e2f3a4b5c6d7e8f9a0b1c2d3e4f5a6b7c8d9e0f1a2b")
"""The key of dstack's published vectors."""

Post = Callable[..., httpx.Response]


@pytest.fixture
def post(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Post]:
    """Asks an agent that serves the interfaces of the test's parameter, both where there is none."""
    interfaces = getattr(request, "param", Interfaces.BOTH)
    made = GuestAgent(PLATFORM, COMPOSE, APP_ID, interfaces=interfaces)
    with (
        made.serve(tmp_path / "g.sock") as running,
        httpx.Client(transport=httpx.HTTPTransport(uds=str(running.path)), base_url="http://guest") as client,
    ):
        yield lambda method, **request: client.post(f"/{method}", json=request)


@pytest.fixture(params=[Interfaces.V0, Interfaces.BOTH])
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DstackClient]:
    """dstack's own client, at an agent of 0.5.11 and at one of 0.6.0."""
    made = GuestAgent(PLATFORM, COMPOSE, APP_ID, interfaces=request.param)
    with made.serve(tmp_path / "g.sock") as running:
        client = DstackClient(str(running.path), timeout=60)
        with client:  # which gives its asynchronous half
            yield client


# --- which interfaces are served ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("post", "served", "version"),
    [
        (Interfaces.V0, ["", "prpc/"], "0.5.11"),
        (Interfaces.V1, ["v1/"], "0.6.0"),
        (Interfaces.BOTH, ["", "prpc/", "v0/", "v1/"], "0.6.0"),
    ],
    indirect=["post"],
)
def test_an_interface_that_is_not_served_is_the_web_servers_404(
    post: Post, served: list[str], version: str
) -> None:
    for prefix in ("", "prpc/", "v0/", "v1/"):
        answer = post(f"{prefix}Version")
        if prefix in served:
            assert answer.json()["version"] == version
            lacking = post(f"{prefix}Nothing")
            assert (lacking.status_code, lacking.json()) == (404, {"error": "Service not found: Nothing"})
        else:
            assert answer.status_code == 404
            assert "Service not found" not in answer.text


def test_who_asks_for_json_gets_the_404_as_json(tmp_path: Path) -> None:
    with (
        GuestAgent(PLATFORM, COMPOSE, APP_ID, interfaces=Interfaces.V0).serve(tmp_path / "g.sock") as running,
        httpx.Client(transport=httpx.HTTPTransport(uds=str(running.path)), base_url="http://guest") as client,
    ):
        answer = client.post("/v1/Version", json={}, headers={"Accept": "application/json"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, 404)


@pytest.mark.parametrize("method", ["GetQuote", "Sign", "Verify", "EmitEvent", "GetTlsKey"])
def test_version_1_lacks_what_dstack_left_out(post: Post, method: str) -> None:
    answer = post(f"v1/{method}")
    assert (answer.status_code, answer.json()) == (404, {"error": f"Service not found: {method}"})


# --- version 0, by the unmodified client -------------------------------------------------------------


def test_the_client_reads_what_it_is(client: DstackClient) -> None:
    info = client.info()
    assert (info.app_id, info.compose_hash) == (APP_ID.hex(), sha256(COMPOSE).hex())
    assert info.tcb_info.app_compose.encode() == COMPOSE
    assert client.is_reachable()


def test_the_client_attests(client: DstackClient) -> None:
    quoted, attested = client.get_quote(b"mine"), client.attest(b"mine")
    found = read_attestation(attested.decode_attestation())
    assert (found.version, found.quote) == (found.version, quoted.decode_quote())
    assert found.version == (0 if client.version().version == "0.5.11" else 1)
    assert found.report_data == b"mine".ljust(64, b"\0")
    assert found.vm_config == quoted.vm_config
    logs = [read_event_log(one) for one in (found.event_log, quoted.event_log)]
    assert logs[0].is_stripped and not logs[1].is_stripped
    assert logs[0].claims() == logs[1].claims()
    assert logs[0].replay(3) == logs[1].replay(3)


@pytest.mark.parametrize("algorithm", ["secp256k1", "k256", "secp256k1_prehashed", "ed25519"])
def test_the_client_signs_and_verifies(client: DstackClient, algorithm: str) -> None:
    data = hashlib.sha256(b"words").digest()
    signed = client.sign(algorithm, data)
    signature, public = signed.decode_signature(), signed.decode_public_key()
    assert (len(signature), len(public)) == (64, 32 if algorithm == "ed25519" else 33)
    payload, by_app, by_root = signed.decode_signature_chain()
    assert payload == signature
    if algorithm != "ed25519":
        root = recover_kms_root(
            public, name="vms", purpose="signing", app_id=APP_ID, signature_chain=(by_app, by_root)
        )
        assert root == PLATFORM.kms.root_public_key
    assert client.verify(algorithm, data, signature, public).valid
    assert not client.verify(algorithm, data[::-1], signature, public).valid
    key = client.get_key("vms", "signing", "ed25519" if algorithm == "ed25519" else "secp256k1")
    assert key.decode_signature_chain() == [by_app, by_root]


def test_a_signature_with_a_high_s_does_not_hold(client: DstackClient) -> None:
    signed = client.sign("secp256k1", b"words")
    raw, public = signed.decode_signature(), signed.decode_public_key()
    high = raw[:32] + (ORDER - int.from_bytes(raw[32:], "big")).to_bytes(32, "big")
    assert not client.verify("secp256k1", b"words", high, public).valid


def test_what_is_no_signature_is_an_error_and_no_verdict(client: DstackClient) -> None:
    good = client.sign("secp256k1", b"words")
    signature, public = good.decode_signature(), good.decode_public_key()
    for words in (
        ("rsa", b"words", signature, public), ("", b"words", signature, public),
        ("secp256k1", b"words", signature[:-1], public), ("secp256k1", b"words", bytes(64), public),
        ("secp256k1", b"words", signature, public[:-1]), ("ed25519", b"words", signature, public),
    ):  # fmt: skip
        with pytest.raises(httpx.HTTPStatusError) as caught:
            client.verify(*words)
        assert caught.value.response.status_code == 400
    with pytest.raises(httpx.HTTPStatusError):
        client.sign("", b"words")


def test_a_digest_of_another_length_is_padded_or_cut_where_it_is_verified() -> None:
    """As dstack documents it: `Sign` takes 32 bytes alone, `Verify` does not."""
    digest = bytes(16) + hashlib.sha256(b"words").digest()[:16]
    made = GuestAgent(PLATFORM, COMPOSE, APP_ID)
    signed = made.sign({"algorithm": "secp256k1_prehashed", "data": digest.hex()})
    signature, public = (bytes.fromhex(signed[name]) for name in ("signature", "public_key"))
    for data, holds in ((digest, True), (digest[16:], True), (digest + b"\1", True), (digest[17:], False)):
        assert verify("secp256k1_prehashed", data, signature, public) is holds


def test_the_client_gets_a_certificate_that_leads_to_the_kms(client: DstackClient) -> None:
    """AT-19: by the production reader of real apps' certificates."""
    now = int(time.time())
    issued = client.get_tls_key(
        "console.example", ["a.example", "127.0.0.1"], usage_ra_tls=True, usage_client_auth=True,
        not_before=now - 60, not_after=now + 3600, with_app_info=True,
    )  # fmt: skip
    chain = "".join(issued.certificate_chain).encode()
    leaf = require_app_chain(chain, app_id=APP_ID, key_provider_id=PLATFORM.kms.key_provider_id, now=now)
    key = load_pem_private_key(issued.key.encode(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) == public
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["a.example"]
    uses = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(uses) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    held = b"".join(one.value.public_bytes() for one in leaf.extensions)
    if client.version().version == "0.5.11":  # the newer form of a proof is not these bytes in a row
        assert hashlib.sha512(b"ratls-cert:" + public).digest() in held
    assert issued.key != client.get_tls_key("console.example").key


def test_dates_in_the_wrong_order_are_refused_from_0_6_on(client: DstackClient) -> None:
    if client.version().version == "0.5.11":
        pytest.skip("dstack 0.5 issued it")
    with pytest.raises(httpx.HTTPStatusError):
        client.get_tls_key("a", not_before=2_000_000_000, not_after=1_000_000_000)


def test_the_client_extends_rtmr3_on_0_5_alone(client: DstackClient) -> None:
    before = client.get_quote(b"x")
    if client.version().version == "0.5.11":
        client.emit_event("mine", b"\0\1")
        after = client.get_quote(b"x")
        assert after.decode_event_log()[-1].event == "mine"
        assert after.replay_rtmrs()[3] != before.replay_rtmrs()[3]
    else:
        with pytest.raises(httpx.HTTPStatusError) as caught:
            client.emit_event("mine", b"\0\1")
        assert "removed in dstack 0.6.0" in caught.value.response.json()["error"]


async def _asked(path: str) -> str:
    async with AsyncDstackClient(path, timeout=60) as client:
        return (await client.get_key("a", "b")).key


def test_the_asynchronous_client_works_too(client: DstackClient, tmp_path: Path) -> None:
    import asyncio

    assert asyncio.run(_asked(str(tmp_path / "g.sock"))) == client.get_key("a", "b").key


# --- version 1, by its published rules ---------------------------------------------------------------

V1_VECTORS = [
    ("", "secp256k1", "59f60584ce6fd2a3a31997256db9d77322463fc8a6b1520110401bcb1ee92387",
     "0377c7fb050db181d392266a3cee9adb2901c6d665f11bac68be5457f577ba4908"),
    ("", "ed25519", "b023493030669cf22e9cafa6a464d4cf3ae4edfe5474ec796710f21ea011946d",
     "a3dc149fd5b765eab2eb7d3174fa939e39386898f10b15b7b146f6f1358ecf2a"),
    ("storage-encryption", "secp256k1", "5510330f86902ddae38c6d89c93a8408019332c17a429e1abd01c4a28d1544a6",
     "03d962450a41748021c8b02787ac36ce642ff0ae25f4c55019eb527e1112cfd764"),
    ("storage-encryption", "ed25519", "3c4c3ece12fa99ccb93fc0090877f80e70545fdd971e2ac93d3398c4684538d3",
     "2380c4a33a60b60613fa43866421e5b96eb8dcde211317200fd0d41e7e491288"),
    ("a/b/c", "secp256k1", "7f0973449298085d2d36a3b4c4d3243c100ba1981ffa885fe9e9dee883e69538",
     "02e9b1a61b6d70aa9b241753828c316bf90e33e77b2e113f9ba75a8b6dc3cde5c1"),
    ("k\0:ey", "ed25519", "42da8bf0b479ed125c370e3b91f982735bf08ff592abbd586985affa43ee96a1",
     "c833107822b003ff5675b33b90b151d4315c3ab9162b17d876e8dffde41abf9b"),
]  # fmt: skip
"""domain, algorithm, private and public key: dstack `docs/guest-api-v1.md`."""


@pytest.mark.parametrize(("domain", "algorithm", "private", "public"), V1_VECTORS)
def test_keys_of_version_1_equal_dstacks_own_vectors(
    domain: str, algorithm: str, private: str, public: str
) -> None:
    key, found, _ = derive_domain(APP_KEY, domain=domain, algorithm=algorithm)
    assert (key.hex(), found.hex()) == (private, public)
    assert key != derive_path(APP_KEY, path=domain, purpose="", algorithm=algorithm)[0]


def test_the_claim_of_version_1_equals_dstacks_own_vector() -> None:
    _, _, signature = derive_domain(APP_KEY, domain="storage-encryption", algorithm="secp256k1")
    assert signature.hex() == (
        "5b6193729ce7976ec67863f21692d4b98c69832698aae8e001a7d33a6f818b6e"
        "46ca950725b6e90e8ca9bcf394abd03ce264bf9b7eec1e91693247f9dd53c26901"
    )


@pytest.mark.parametrize("algorithm", ["", "k256", "secp256k1_prehashed", "rsa", "SECP256K1"])
def test_version_1_has_no_default_algorithm_and_no_alias(post: Post, algorithm: str) -> None:
    answer = post("v1/GetKey", domain="a", algorithm=algorithm)
    assert answer.status_code == 400
    assert "use `secp256k1` or `ed25519`" in answer.json()["error"]


def test_a_key_of_version_1_comes_with_its_public_key_and_the_same_link_to_the_kms(post: Post) -> None:
    new = post("v1/GetKey", domain="a", algorithm="secp256k1").json()
    old = post("v0/GetKey", path="a", purpose="p").json()
    assert set(new) == {"key", "public_key", "signature_chain"}
    assert public_key33(bytes.fromhex(new["key"])).hex() == new["public_key"]
    assert new["key"] != old["key"]
    assert new["signature_chain"][1] == old["signature_chain"][1], "by the KMS, over the app's key"
    root = recover_kms_root(
        bytes.fromhex(new["public_key"]), interface=KeyInterface.V1, name="a", purpose="",
        app_id=APP_ID, signature_chain=[bytes.fromhex(one) for one in new["signature_chain"]],
    )  # fmt: skip
    assert root == PLATFORM.kms.root_public_key


def test_info_of_version_1_has_the_recipe_and_nothing_that_looks_like_evidence(post: Post) -> None:
    info = post("v1/Info").json()
    assert set(info) == {
        "app_id", "app_name", "compose_hash", "app_compose", "instance_id", "device_id", "os_image_hash",
        "mr_aggregated", "vm_config", "key_provider_info", "cloud_vendor", "cloud_product",
    }  # fmt: skip
    assert info["app_compose"].encode() == COMPOSE


def test_attest_of_version_1_pads_and_never_cuts(post: Post) -> None:
    answer = post("v1/Attest", report_data="aa", include_boottime_gpu_evidence=True).json()
    assert answer["boottime_gpu_evidence"] == []
    found = read_attestation(bytes.fromhex(answer["attestation"]))
    assert (found.version, found.report_data) == (1, b"\xaa".ljust(64, b"\0"))
    assert post("v1/Attest", report_data="00" * 65).status_code == 400
    assert post("v1/Attest", report_data="00", include_boottime_gpu_evidence="yes").status_code == 400


def test_a_certificate_of_version_1_carries_the_attestation_of_its_key(post: Post) -> None:
    answer = post("v1/IssueCert", subject="a", usage_ra_tls=True, usage_server_auth=True).json()
    leaf = x509.load_pem_x509_certificate(answer["certificate_chain"][0].encode())
    oid = x509.ObjectIdentifier("1.3.6.1.4.1.62397.1.8")
    held = leaf.extensions.get_extension_for_oid(oid).value
    assert isinstance(held, x509.UnrecognizedExtension)
    public = leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    found = read_attestation(held.value[4:])  # behind the head of a long OCTET STRING
    assert found.report_data == hashlib.sha512(b"ratls-cert:" + public).digest()


@pytest.mark.parametrize(
    "request_",
    [
        {"subject": 7}, {"subject": "s" * 300}, {"alt_names": "a"}, {"alt_names": [7]},
        {"alt_names": ["a"] * 33}, {"alt_names": ["\u00e4"]}, {"usage_ra_tls": 1}, {"not_before": "now"},
        {"not_before": -1}, {"not_before": True}, {"not_after": 2**62}, {"not_before": 5, "not_after": 5},
        {"subject": "s" * 100}, {"not_before": 2_000_000_000, "not_after": 1_000_000_000},
    ],
    ids=str,
)  # fmt: skip
def test_a_certificate_that_cannot_be_is_refused(post: Post, request_: dict[str, Any]) -> None:
    answer = post("v1/IssueCert", **request_)
    assert answer.status_code == 400, answer.text
    assert isinstance(answer.json()["error"], str)


def test_an_app_extends_rtmr3_so_often_and_no_more() -> None:
    made = GuestAgent(PLATFORM, COMPOSE, APP_ID, interfaces=Interfaces.V0)
    for _ in range(64):
        made.emit_event({"event": "mine", "payload": ""})
    with pytest.raises(Exception, match="at most 64"):
        made.emit_event({"event": "mine", "payload": ""})
    assert json.loads(made.enclave.event_log)[-1]["event"] == "mine"
