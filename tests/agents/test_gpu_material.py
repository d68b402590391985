# SPDX-License-Identifier: Apache-2.0
"""Manifests, answers about certificates and tokens of GPUs: what each is worth, and when it is refused."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
import xml.etree.ElementTree
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from hypothesis import given
from hypothesis import strategies as st
from tests.minted_gpu import (
    DAY,
    DRIVER,
    DRIVER_INDICES,
    DRIVER_RIM,
    NOW,
    VBIOS,
    VBIOS_INDICES,
    VBIOS_RIM,
    Mint,
    answer,
    golden,
    made_chain,
    raw_signature,
    responder,
)

from sealroom.errors import SealroomError
from sealroom_agents.attestation.gpu import (
    Fetched,
    Material,
    MaterialFolder,
    State,
    Terms,
    Walk,
    load_material,
    request,
    standing,
    verify_rim,
    walk_gpus,
)
from sealroom_agents.attestation.gpu.canonical_xml import XmlError, canonical_xml, read_xml

NONCE = bytes(range(100, 132))
MINT = Mint()
EVIDENCE = MINT.evidence(NONCE)
VBIOS_XML = MINT.rim(VBIOS, VBIOS_INDICES)
DRIVER_XML = MINT.rim(DRIVER, DRIVER_INDICES)
RIMS = {VBIOS_RIM: [Fetched(VBIOS_XML)], DRIVER_RIM: [Fetched(DRIVER_XML)]}


def walk(rims: dict[str, list[Fetched]] = RIMS, answers: list[bytes] | None = None, **terms: Any) -> Walk:
    """Verify the mint's evidence with this at hand."""
    return walk_gpus(
        EVIDENCE, nonce=NONCE, now=NOW, trust=MINT.trust, material=Material(rims, answers or []),
        terms=Terms(**terms),
    )  # fmt: skip


def code(found: Walk) -> str:
    """Why a walk broke."""
    assert found.broken is found.links[-1] and found.state is State.UNVERIFIED
    return str(found.links[-1].code)


def refused(look: Callable[[], object]) -> str:
    """The code of what is refused."""
    with pytest.raises(SealroomError) as caught:
        look()
    return str(caught.value.code)


# --- manifests ----------------------------------------------------------------------------------------


def test_a_state_is_as_far_as_the_manifests_carry() -> None:
    """GP-06: a missing manifest is never taken for one that matches."""
    assert walk().state is State.FULLY_MATCHED
    assert [(gpu.vbios_matched, gpu.driver_matched) for gpu in walk().gpus] == [(4, 2)]
    assert walk({VBIOS_RIM: RIMS[VBIOS_RIM]}).state is State.VBIOS_MATCHED
    assert walk({DRIVER_RIM: RIMS[DRIVER_RIM]}).state is State.SIGNATURE_VERIFIED
    assert walk({}).state is State.SIGNATURE_VERIFIED


def test_one_of_several_values_is_enough_and_none_is_refused() -> None:
    """NVIDIA signs manifests anew with further alternatives."""
    other = MINT.rim(VBIOS, VBIOS_INDICES, values={9: (bytes(48), golden(9))})
    assert walk({VBIOS_RIM: [Fetched(other)]}).state is State.VBIOS_MATCHED
    wrong = MINT.rim(VBIOS, VBIOS_INDICES, values={9: (bytes(48), golden(8))})
    assert code(walk({VBIOS_RIM: [Fetched(wrong)]})) == "gpu-measurement"
    beyond = MINT.rim(DRIVER, DRIVER_INDICES, values={21: (golden(22),), 22: (golden(21),)})
    found = walk({DRIVER_RIM: [Fetched(beyond)]})
    assert code(found) == "gpu-measurement" and found.links[-1].words.endswith(": 21, 22")


def test_a_measurement_that_is_not_active_does_not_count_and_none_active_is_no_manifest() -> None:
    idle = MINT.rim(VBIOS, VBIOS_INDICES, active="False")
    assert code(walk({VBIOS_RIM: [Fetched(idle)]})) == "gpu-rim-malformed"
    only_decoder = MINT.rim(DRIVER, (35,))
    assert code(walk({DRIVER_RIM: [Fetched(only_decoder)]})) == "gpu-measurement", "the decoder is off"


def test_the_decoder_s_measurement_counts_while_it_is_on() -> None:
    mint = Mint(MINT.device, MINT.signer, {11: b"\xaa"})
    for value, state in ((golden(35), State.SIGNATURE_VERIFIED), (bytes(48), State.UNVERIFIED)):
        rim = mint.rim(DRIVER, DRIVER_INDICES, values={35: (value,)})
        material = Material({DRIVER_RIM: [Fetched(rim)]})
        found = walk_gpus(mint.evidence(NONCE), nonce=NONCE, now=NOW, trust=mint.trust, material=material)
        assert found.state is state


def test_a_measurement_in_two_manifests_is_an_error() -> None:
    both = MINT.rim(DRIVER, (*DRIVER_INDICES, VBIOS_INDICES[0]))
    assert code(walk({**RIMS, DRIVER_RIM: [Fetched(both)]})) == "gpu-rim-collision"


def test_a_manifest_of_another_version_or_chip_does_not_count_under_this_name() -> None:
    """GP-06: the old firmware's own manifest matches it, and is not the one that is asked for."""
    older = MINT.rim("96.00.5E.00.01", VBIOS_INDICES)
    assert code(walk({VBIOS_RIM: [Fetched(older)]})) == "gpu-rim-other"
    other = MINT.rim(VBIOS, VBIOS_INDICES, product="GB100")
    assert code(walk({VBIOS_RIM: [Fetched(other)]})) == "gpu-rim-other"


def test_the_manifest_that_was_fetched_last_counts_if_it_was_lately_enough() -> None:
    wrong = Fetched(MINT.rim(VBIOS, VBIOS_INDICES, values={9: (bytes(48),)}), NOW - 2 * DAY)
    right = Fetched(VBIOS_XML, NOW - DAY)
    assert walk({VBIOS_RIM: [right, wrong]}, rim_age_s=DAY).state is State.VBIOS_MATCHED
    assert code(walk({VBIOS_RIM: [right, wrong]}, rim_age_s=DAY - 1)) == "gpu-rim-stale"
    assert code(walk({VBIOS_RIM: [Fetched(VBIOS_XML, NOW + 301)]})) == "gpu-rim-stale", "fetched tomorrow"
    meanwhile = walk({VBIOS_RIM: [Fetched(VBIOS_XML, NOW + 300)]}, rim_age_s=DAY)
    assert meanwhile.used.rims[VBIOS_RIM] == (Fetched(VBIOS_XML, NOW),), "while somebody decided"
    assert code(walk({VBIOS_RIM: [Fetched(VBIOS_XML, NOW - 401 * DAY)]})) == "gpu-rim-expired"


def test_a_manifest_is_vouched_for_by_the_root_of_manifests_alone() -> None:
    other = Mint()
    assert code(walk({VBIOS_RIM: [Fetched(other.rim(VBIOS, VBIOS_INDICES))]})) == "gpu-rim-chain"
    assert refused(lambda: verify_rim(VBIOS_XML, now=NOW)) == "gpu-rim-chain"
    assert refused(lambda: verify_rim(VBIOS_XML, now=NOW, root=MINT.trust.devices)) == "gpu-rim-chain"
    assert (
        refused(lambda: verify_rim(VBIOS_XML, now=NOW + 500 * DAY, root=MINT.trust.rims)) == "gpu-rim-expired"
    )


ALTERED: list[tuple[str, bytes, bytes]] = [
    ("gpu-rim-altered", b'index="9"', b'index="8"'),
    ("gpu-rim-altered", b"<Payload>", b"<Payload> "),
    ("gpu-rim-altered", b'colloquialVersion="96', b'colloquialVersion="95'),
    ("gpu-rim-altered", b'name="GH100"', b'name="GH101"'),
    ("gpu-rim-altered", b"</SoftwareIdentity>", b"<Payload></Payload></SoftwareIdentity>"),
    ("gpu-rim-malformed", b'URI=""', b'URI="#x"'),
    ("gpu-rim-malformed", b"enveloped-signature", b"base64"),
    ("gpu-rim-malformed", b"ecdsa-sha384", b"ecdsa-sha256"),
    ("gpu-rim-malformed", b"more#sha384", b"more#sha224"),
    ("gpu-rim-malformed", b"xml-c14n11", b"xml-exc-c14n"),
    ("gpu-rim-malformed", b"<ds:Signature ", b"<ds:Signatures "),
    ("gpu-rim-malformed", b"<SoftwareIdentity", b"<!DOCTYPE a [<!ENTITY b 'c'>]><SoftwareIdentity"),
    ("gpu-rim-malformed", b"<Payload>", b"<Payload><!-- seen -->"),
    ("gpu-rim-malformed", b"<Payload>", b"<Payload><?seen?>"),
    ("gpu-rim-malformed", b"<Payload>", b"<Payload>&b;"),
    ("gpu-rim-malformed", b"<Payload>", b'<Payload xml:lang="en">'),
    ("gpu-rim-malformed", b"<Payload>", b"<Payload>" + b"<a>" * 20 + b"</a>" * 20),
    ("gpu-rim-malformed", b"<Payload>", b"<Payload>" + b"<a></a>" * 17_000),
    ("gpu-rim-malformed", b"<ds:X509Certificate>MI", b"<ds:X509Certificate>!!"),
    ("gpu-rim-malformed", b"</SoftwareIdentity>", b""),
]


@pytest.mark.parametrize(("expected", "old", "new"), ALTERED, ids=lambda value: str(value)[:40])
def test_an_altered_manifest_is_refused_by_what_is_wrong_with_it(
    expected: str, old: bytes, new: bytes
) -> None:
    assert VBIOS_XML.count(old) and verify_rim(VBIOS_XML, now=NOW, root=MINT.trust.rims)
    altered = VBIOS_XML.replace(old, new)
    assert refused(lambda: verify_rim(altered, now=NOW, root=MINT.trust.rims)) == expected


def test_a_certificate_that_no_library_reads_is_a_fault_of_the_manifest() -> None:
    der = MINT.signer.certificates[0].public_bytes(Encoding.DER)
    version, curve = bytes.fromhex("a003020102"), bytes.fromhex("06052b81040022")
    for expected, changed in (
        ("gpu-rim-malformed", der.replace(version, version[:-1] + b"\x06")),
        ("gpu-rim-chain", der.replace(curve, curve[:-1] + b"\x21")),
        ("gpu-rim-malformed", der[:-1]),
    ):
        altered = VBIOS_XML.replace(base64.b64encode(der), base64.b64encode(changed))
        assert altered != VBIOS_XML
        assert refused(lambda data=altered: verify_rim(data, now=NOW, root=MINT.trust.rims)) == expected


def test_a_signature_that_is_wrapped_or_doubled_is_malformed() -> None:
    """An authentic document inside another one, and two signatures: which one counts is never a question."""
    start, end = VBIOS_XML.index(b"<ds:Signature "), VBIOS_XML.index(b"</SoftwareIdentity>")
    signature = VBIOS_XML[start:end]
    for data in (
        b"<wrap>" + VBIOS_XML + b"</wrap>",
        VBIOS_XML.replace(signature, signature * 2),
        VBIOS_XML.replace(signature, b"<a>" + signature + b"</a>"),
        VBIOS_XML.replace(signature, b""),
        VBIOS_XML + b" " * 200_000,
    ):
        assert (
            refused(lambda data=data: verify_rim(data, now=NOW, root=MINT.trust.rims)) == "gpu-rim-malformed"
        )


def test_white_space_between_the_parts_of_a_signature_changes_nothing() -> None:
    """NVIDIA's certificates are in lines, and what stands beside what is signed may be laid out."""
    spaced = VBIOS_XML.replace(b"</ds:X509Certificate>", b"\n</ds:X509Certificate>")
    assert verify_rim(spaced, now=NOW, root=MINT.trust.rims).golden.keys() == set(VBIOS_INDICES)


# --- canonical XML ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("<?xml version='1.0'?>\n<a/>\n", "<a></a>"),
        ("<a  b = 'c'   />", '<a b="c"></a>'),
        ("<a z='1' y='2'/>", '<a y="2" z="1"></a>'),
        (
            "<a xmlns:b='urn:z' xmlns:c='urn:a' b:x='1' c:x='2' x='3'/>",
            '<a xmlns:b="urn:z" xmlns:c="urn:a" x="3" c:x="2" b:x="1"></a>',
        ),
        ("<a xmlns='urn:a'><b xmlns=''/></a>", '<a xmlns="urn:a"><b xmlns=""></b></a>'),
        ("<a xmlns='urn:a'><b xmlns='urn:a'/></a>", '<a xmlns="urn:a"><b></b></a>'),
        ("<p:a xmlns:p='u'><p:b xmlns:p='v'/></p:a>", '<p:a xmlns:p="u"><p:b xmlns:p="v"></p:b></p:a>'),
        ("<a>&lt;&amp;&gt;&#13;\"'</a>", "<a>&lt;&amp;&gt;&#xD;\"'</a>"),
        ("<a b='&lt;&gt;&quot;&#9;&#10;&#13;'/>", '<a b="&lt;>&quot;&#x9;&#xA;&#xD;"></a>'),
        ("<a b='x\n\ty'>\r\n</a>", '<a b="x  y">\n</a>'),
        ("<a><![CDATA[<b>]]></a>", "<a>&lt;b&gt;</a>"),
    ],
)  # fmt: skip
def test_canonical_xml_is_as_w3c_writes_it(written: str, canonical: str) -> None:
    assert canonical_xml(read_xml(written.encode())).decode() == canonical


def test_an_element_by_itself_has_the_namespaces_in_whose_scope_it_stands() -> None:
    root = read_xml(b"<a xmlns='urn:a' xmlns:b='urn:b'><b:c><d/></b:c></a>")
    (inner,) = root.elements()
    assert canonical_xml(inner) == b'<b:c xmlns="urn:a" xmlns:b="urn:b"><d></d></b:c>'
    assert canonical_xml(root, without=inner) == b'<a xmlns="urn:a" xmlns:b="urn:b"></a>'


@pytest.mark.parametrize(
    "written",
    [
        "", "x", "<a>", "<a/><b/>", "<p:a/>", "<a p:b='1'/>", "<a b='1' b='2'/>", "<é/>",
        "<a:b:c xmlns:a='u'/>",
        "<a xmlns:b='u' xmlns:c='u' b:x='1' c:x='2'/>", "<a xmlns:b=''/>", "<a xmlns:xml='u'/>",
        "<a xml:space='preserve'/>", "<!DOCTYPE a><a/>", "<a><!----></a>", "<?a?><a/>", "<a>&x;</a>",
    ],
)  # fmt: skip
def test_xml_that_no_manifest_has_is_refused(written: str) -> None:
    with pytest.raises(XmlError):
        read_xml(written.encode())


def test_namespaces_do_not_multiply_with_elements() -> None:
    """AR-04: 120 KB that a reader would hold as a gigabyte, before any signature."""
    declared = " ".join(f'xmlns:a{number}="u"' for number in range(4_800))
    with pytest.raises(XmlError, match="too many namespaces"):
        read_xml(f"<a {declared}>{'<b/>' * 11_000}</a>".encode())


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=8)
NAMES = st.sampled_from(["a", "b", "A-1", "_x", "b.c"])
TREES = st.recursive(
    st.tuples(NAMES, st.dictionaries(NAMES, TEXT, max_size=3), st.just([])),
    lambda below: st.tuples(
        NAMES, st.dictionaries(NAMES, TEXT, max_size=3), st.lists(st.one_of(below, TEXT), max_size=3)
    ),
    max_leaves=6,
)


def _built(tree: Any) -> xml.etree.ElementTree.Element:
    name, attributes, children = tree
    element = xml.etree.ElementTree.Element(name, attributes)
    last: xml.etree.ElementTree.Element | None = None
    for child in children:
        if not isinstance(child, str):
            last = _built(child)
            element.append(last)
        elif last is None:
            element.text = (element.text or "") + child
        else:
            last.tail = (last.tail or "") + child
    return element


@given(TREES)
def test_without_namespaces_it_is_what_python_writes_too(tree: Any) -> None:
    """Python writes Canonical XML 2.0, which is the same where there are no namespaces."""
    try:
        data = xml.etree.ElementTree.tostring(_built(tree), encoding="utf-8")
        theirs = xml.etree.ElementTree.canonicalize(data.decode())
    except xml.etree.ElementTree.ParseError:
        return  # a character that XML has no place for
    assert canonical_xml(read_xml(data)).decode() == theirs


# --- answers about certificates -----------------------------------------------------------------------


ASKED = walk().asked
ANSWERS = [MINT.answer(pair) for pair in ASKED]


def test_each_certificate_must_be_good_or_the_walk_breaks() -> None:
    """GP-07: those of the device but leaf and root, and those of each manifest but its root."""
    assert len(ASKED) == 3 + 2
    found = walk(answers=ANSWERS)
    assert (found.state, found.asked_all, found.links[-3].words) == (
        State.FULLY_MATCHED, True, "5 certificates are good",
    )  # fmt: skip
    for place in range(len(ANSWERS)):
        missing = [*ANSWERS[:place], *ANSWERS[place + 1 :]]
        assert code(walk(answers=missing)) == "gpu-status-missing"
        revoked = MINT.answer(ASKED[place], status=ocsp.OCSPCertStatus.REVOKED)
        assert code(walk(answers=[*missing, revoked])) == "gpu-revoked"
        assert code(walk(answers=[*ANSWERS, revoked])) == "gpu-revoked", "whichever was said later"


def test_how_old_an_answer_may_be_is_for_whoever_asks_to_decide() -> None:
    assert walk(answers=ANSWERS, status_age_s=3600).asked_all
    assert code(walk(answers=ANSWERS, status_age_s=3599)) == "gpu-status-stale"
    older = MINT.answer(ASKED[0], made=NOW - DAY)
    assert walk(answers=[older, *ANSWERS], status_age_s=3600).asked_all, "the newest counts"


@pytest.mark.parametrize(
    ("expected", "changes"),
    [
        ("gpu-status-stale", {"until": NOW}),
        ("gpu-status-stale", {"until": None}),
        ("gpu-status-stale", {"made": NOW + 301}),
        ("gpu-status-malformed", {"status": ocsp.OCSPCertStatus.UNKNOWN}),
        ("gpu-status-malformed", {"hashed": SHA256()}),
        ("gpu-revoked", {"status": ocsp.OCSPCertStatus.REVOKED}),
    ],
)
def test_an_answer_that_says_something_else_is_refused(expected: str, changes: dict[str, Any]) -> None:
    data = MINT.answer(ASKED[0], **changes)
    assert refused(lambda: standing(ASKED[0], data, now=NOW, max_age_s=None)) == expected


def test_an_answer_counts_if_the_issuer_or_its_delegate_signed_it() -> None:
    """RFC 6960, 4.2.2.2: a certificate of the issuer for answering, in the answer, and valid."""
    place = MINT.device.certificates.index(ASKED[0][1])
    delegate, key = responder(MINT.device, place)

    def judged(certificate: x509.Certificate, signing: ec.EllipticCurvePrivateKey) -> object:
        return standing(ASKED[0], answer(ASKED[0], signing, responder=certificate), now=NOW, max_age_s=None)

    assert judged(delegate, key)
    for certificate, signing in (
        responder(MINT.device, place, answers=False),
        responder(MINT.device, place, end=NOW),
        responder(MINT.device, place - 1),
        responder(Mint().device, place),
    ):
        assert refused(lambda c=certificate, s=signing: judged(c, s)) == "gpu-status-signer"


def test_whether_an_answer_was_made_for_our_request_is_a_claim_by_itself() -> None:
    """A cache may pass on what it was told before; how old that is, is judged apart from it."""
    asked = request(*ASKED[0], NONCE)
    parsed = ocsp.load_der_ocsp_request(asked)
    assert parsed.serial_number == ASKED[0][0].serial_number
    assert parsed.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == NONCE
    for said, matched in ((NONCE, True), (bytes(32), False), (None, False)):
        data = MINT.answer(ASKED[0], nonce=said)
        found = standing(ASKED[0], data, now=NOW, max_age_s=None, nonce=NONCE)
        assert (found.nonce_matched, found.until) == (matched, NOW + DAY)


def test_an_answer_about_another_certificate_or_none_is_malformed() -> None:
    unanswered = ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER)
    for data in (ANSWERS[1], b"", b"x" * 20_000, ANSWERS[0][:-1], unanswered.public_bytes(Encoding.DER)):
        assert refused(
            lambda data=data: standing(ASKED[0], data, now=NOW, max_age_s=None)
        ) == "gpu-status-malformed"  # fmt: skip


def test_no_bit_of_an_answer_can_be_flipped() -> None:
    delegate, key = responder(MINT.device, MINT.device.certificates.index(ASKED[0][1]))
    data, dice = answer(ASKED[0], key, responder=delegate), random.Random(5)
    said = standing(ASKED[0], data, now=NOW, max_age_s=None)
    for _ in range(300):
        at = dice.randrange(len(data))
        altered = data[:at] + bytes([data[at] ^ 1 << dice.randrange(8)]) + data[at + 1 :]
        try:
            found = standing(ASKED[0], altered, now=NOW, max_age_s=None)
            assert replace(found, answer=data) == said, "of what nothing is read"
        except SealroomError as error:
            assert error.code.startswith("gpu-status")


# --- files --------------------------------------------------------------------------------------------


def test_a_folder_of_manifests_says_when_each_was_fetched(tmp_path: Path) -> None:
    rims, answers = tmp_path / "rims", tmp_path / "answers"
    rims.mkdir()
    answers.mkdir()
    (rims / f"{VBIOS_RIM}@{NOW - DAY}.xml").write_bytes(VBIOS_XML)
    (rims / f"{DRIVER_RIM}.xml").write_bytes(DRIVER_XML)
    (rims / "notes.txt").write_text("not a manifest")
    (answers / "1.der").write_bytes(ANSWERS[0])
    (answers / "1.req").write_bytes(b"what was asked")
    found = load_material(rims, answers)
    assert found.rims == {VBIOS_RIM: [Fetched(VBIOS_XML, NOW - DAY)], DRIVER_RIM: [Fetched(DRIVER_XML)]}
    assert found.answers == [ANSWERS[0]] and load_material(None, None) == Material({}, [])


# --- tokens of NVIDIA's service -----------------------------------------------------------------------


KEY = ec.generate_private_key(ec.SECP384R1())
CLAIMS: dict[str, Any] = {
    "iss": "https://nras.attestation.nvidia.com", "eat_nonce": NONCE.hex(), "nbf": NOW - 60,
    "exp": NOW + 3600, "ueid": str(MINT.device.links[0].serial), "measres": "success",
    "secboot": True, "dbgstat": "disabled",
    "x-nvidia-gpu-driver-version": DRIVER, "x-nvidia-gpu-vbios-version": VBIOS.upper(),
    "x-nvidia-attestation-warning": None,
    **{
        f"x-nvidia-gpu-{name}": True
        for name in (
            "attestation-report-parsed", "attestation-report-nonce-match",
            "attestation-report-signature-verified", "arch-check", "vbios-index-no-conflict",
            "driver-rim-fetched", "driver-rim-signature-verified", "driver-rim-measurements-available",
            "vbios-rim-fetched", "vbios-rim-signature-verified", "vbios-rim-measurements-available",
        )
    },
    **{
        f"x-nvidia-gpu-{chain}-cert-chain": {
            "x-nvidia-cert-status": "valid", "x-nvidia-cert-ocsp-status": "good",
        }
        for chain in ("attestation-report", "driver-rim", "vbios-rim")
    },
}  # fmt: skip


def url(data: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def token(claims: dict[str, Any], header: dict[str, Any] | None = None) -> str:
    """A JWT that the test's key signed."""
    head = url(json.dumps({"alg": "ES384", "kid": "one"} | (header or {})).encode())
    text = f"{head}.{url(json.dumps(claims).encode())}"
    return f"{text}.{url(raw_signature(KEY, text.encode()))}"


def tokens(gpu: dict[str, Any] | None = None, overall: dict[str, Any] | None = None, **header: Any) -> bytes:
    """An answer of the service, with claims that are other ones."""
    inner = token(CLAIMS | (gpu or {}), header)
    digest = hashlib.sha256(inner.encode()).hexdigest()
    whole = {name: CLAIMS[name] for name in ("iss", "eat_nonce", "nbf", "exp")}
    whole |= {"x-nvidia-overall-att-result": True, "submods": {"GPU-0": ["DIGEST", ["SHA-256", digest]]}}
    return json.dumps([["JWT", token(whole | (overall or {}), header)], {"GPU-0": inner}]).encode()


def jwks(key: ec.EllipticCurvePrivateKey = KEY) -> bytes:
    """What the service publishes."""
    numbers = key.public_key().public_numbers()
    x, y = (url(value.to_bytes(48, "big")) for value in (numbers.x, numbers.y))
    return json.dumps({"keys": [{"kty": "EC", "crv": "P-384", "kid": "one", "x": x, "y": y}]}).encode()


def told(answer: bytes, keys: bytes | None = None) -> Walk:
    """A walk that ends at the service's word."""
    return walk({}, tokens=(answer, jwks() if keys is None else keys))


def test_the_service_s_word_about_the_same_devices_is_a_link_of_its_own() -> None:
    """GP-05. It raises no state: that is what was verified here."""
    found = told(tokens())
    assert (found.state, found.links[-2].words) == (State.SIGNATURE_VERIFIED, "it attests 1 GPU")


@pytest.mark.parametrize(
    ("expected", "gpu", "overall"),
    [
        *(
            ("gpu-token-claims", {claim: value}, {})
            for claim, value in (
                ("measres", "fail"), ("secboot", False), ("secboot", 1), ("secboot", None),
                ("dbgstat", "enabled"),
                ("x-nvidia-attestation-warning", "expired"), ("ueid", "1"), ("ueid", 1),
                ("x-nvidia-gpu-driver-version", "570.172.09"), ("x-nvidia-gpu-vbios-version", None),
                ("x-nvidia-gpu-driver-rim-signature-verified", False),
                ("x-nvidia-gpu-driver-rim-cert-chain", {"x-nvidia-cert-status": "valid"}),
                ("x-nvidia-gpu-vbios-rim-cert-chain", None), ("x-nvidia-gpu-vbios-rim-cert-chain", True),
            )
        ),
        ("gpu-token-claims", {}, {"x-nvidia-overall-att-result": False}),
        ("gpu-token-claims", {}, {"x-nvidia-overall-att-result": 1}),
        ("gpu-token", {}, {"submods": {}}),
        ("gpu-token", {}, {"eat_nonce": "00" * 32}),
        ("gpu-token", {"eat_nonce": "00" * 32}, {}),
        ("gpu-token", {"iss": "https://nras.example"}, {}),
        ("gpu-token-expired", {}, {"exp": NOW}),
        ("gpu-token-expired", {"exp": NOW}, {}),
        ("gpu-token-expired", {}, {"nbf": NOW + 1}),
        ("gpu-token-expired", {}, {"exp": str(NOW + 10)}),
    ],
    ids=str,
)  # fmt: skip
def test_a_token_that_says_something_else_is_refused(
    expected: str, gpu: dict[str, Any], overall: dict[str, Any]
) -> None:
    """GP-03, GP-05: debug mode, measurements that fail, another nonce, a token of yesterday."""
    assert code(told(tokens(gpu, overall))) == expected


def test_a_token_counts_by_a_key_that_the_service_publishes_and_es384_alone() -> None:
    """GP-05."""
    assert code(told(tokens(), jwks(ec.generate_private_key(ec.SECP384R1())))) == "gpu-token"
    for header in ({"alg": "none"}, {"alg": "HS256"}, {"alg": "ES256"}, {"kid": "two"}, {"kid": None}):
        assert code(told(tokens(**header))) == "gpu-token"
    for keys in (
        b"{}",
        b"[]",
        b"",
        jwks().replace(b'"y": "', b'"y": "AAAA'),
        jwks().replace(b"P-384", b"P-256"),
    ):
        assert code(told(tokens(), keys)) == "gpu-token"


def test_what_is_no_answer_of_the_service_is_refused() -> None:
    good = json.loads(tokens())
    for said in (
        [], {}, [good[0]], [good[0], {}], [good[0], {"GPU-x": good[1]["GPU-0"]}],
        [["JWS", good[0][1]], good[1]], [["JWT", "a.b"], good[1]], 
        [["JWT", "a.b.c.d"], good[1]], [["JWT", "é..="], good[1]],
        [good[0], {"GPU-0": good[1]["GPU-0"] + "="}], [good[0], {"GPU-0": 1}], [good[0], good[1], 1],
    ):  # fmt: skip
        assert code(told(json.dumps(said).encode())) == "gpu-token"
    assert code(told(b"[" + b" " * 200_000 + b"]")) == "gpu-token"


def test_a_chain_of_another_length_than_a_signer_s_is_malformed() -> None:
    alone, long = made_chain(("root",)), made_chain(tuple("abcdefg"))
    for signer in (alone, long):
        data = Mint(MINT.device, signer).rim(VBIOS, VBIOS_INDICES)
        assert refused(lambda d=data, s=signer: verify_rim(d, now=NOW, root=s.root)) == "gpu-rim-malformed"


# --- a folder that is kept fresh ----------------------------------------------------------------------


def test_a_folder_is_read_again_when_a_file_in_it_changed_and_only_then(tmp_path: Path) -> None:
    """GP-07: a new answer counts at once."""
    rims, answers = tmp_path / "rims", tmp_path / "ocsp"
    for folder in (rims, answers):
        folder.mkdir()
    (rims / f"{VBIOS_RIM}.xml").write_bytes(VBIOS_XML)
    os.utime(rims / f"{VBIOS_RIM}.xml", (NOW, NOW))
    kept = MaterialFolder(rims, answers)
    first = kept.read()
    assert first.rims == {VBIOS_RIM: [Fetched(VBIOS_XML, NOW)]} and not first.answers
    assert kept.read() is first
    (answers / "1.der").write_bytes(ANSWERS[0])
    second = kept.read()
    assert second.answers == ANSWERS[:1] and kept.read() is second
    os.utime(rims / f"{VBIOS_RIM}.xml", (NOW + 1, NOW + 1))
    assert kept.read().rims[VBIOS_RIM] == [Fetched(VBIOS_XML, NOW + 1)]
    third = kept.read()
    (answers / ".2.der.tmp").write_bytes(b"half an answer")
    (rims / "README").write_bytes(b"not a manifest")
    assert kept.read() is third, "what counts is the same"
    (answers / "1.der").unlink()
    assert not kept.read().answers
