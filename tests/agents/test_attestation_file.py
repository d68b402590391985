# SPDX-License-Identifier: Apache-2.0
"""`attestation.json` says what the envelope says: each member that is another is named."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from tests.agents.shell import shell
from tests.agents.worked import fresh_platform, make_gate, make_run, render_recipe
from tests.agents.worked_model import model_run

from sealroom.envelope import Anchor, Approval, Envelope
from sealroom.errors import EnvelopeError
from sealroom_agents.simulator import SimulatedPlatform
from sealroom_agents.verification.attestation_file import (
    LAST_SECOND,
    MAX_ATTESTATION_BYTES,
    attestation_link,
    attestation_of,
    check_attestation,
    differences,
    encode_attestation,
)
from sealroom_agents.verification.model_file import write_model


@pytest.fixture(scope="module")
def platform() -> SimulatedPlatform:
    return fresh_platform()


@pytest.fixture(scope="module")
def envelope(platform: SimulatedPlatform, tmp_path_factory: pytest.TempPathFactory) -> Envelope:
    """Of a run that released a model, with its anchor."""
    found = model_run(tmp_path_factory.mktemp("recipe"), platform, make_gate(platform)).envelope()
    approvals = (Approval(owner="0x" + "0a" * 20, tx=b"\x77" * 32),)
    return found.with_anchor(
        Anchor(
            chain_id=31337, ledger=found.grant.ledger, tx=b"\x66" * 32, block=130, sequence=7,
            approvals=approvals,
        )
    )  # fmt: skip


@pytest.fixture(scope="module")
def true(envelope: Envelope) -> dict[str, Any]:
    return attestation_of(envelope)


def named(resources: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in resources}


def test_it_says_what_was_trained_by_which_data_where_and_what_came_out(
    envelope: Envelope, true: dict[str, Any]
) -> None:
    statement, file = envelope.statement, write_model(envelope)
    weights = base64.b64decode(envelope.result["fields"]["risk"]["model"][0]["weights"])
    assert {name: each["digest"]["sha256"] for name, each in named(true["subject"]).items()} == {
        "result.json": statement.result_digest.hex(),
        "risk/model.safetensors": hashlib.sha256(file).hexdigest(),
        "risk/weights": hashlib.sha256(weights).hexdigest(),
    }
    build, run = true["predicate"]["buildDefinition"], true["predicate"]["runDetails"]
    assert build["externalParameters"]["study"] == "small-study"
    privacy = build["externalParameters"]["privacy"]
    assert (privacy["epsilon"], privacy["delta"], privacy["unit"]) == ("1.5", "1e-6", "person_id")
    assert [(each["name"], each["kind"], each["cost"]) for each in privacy["fields"]] == [
        ("risk", "model", "μ 0.344345534")
    ]
    inputs = named(build["resolvedDependencies"])
    assert inputs["recipe"]["digest"]["sha256"] == statement.compose_hash.hex()
    assert inputs["recipe"]["digest"]["sha256"] == hashlib.sha256(envelope.recipe).hexdigest()
    assert inputs["image"]["digest"]["sha256"] == "11" * 32
    for dataset in statement.datasets:
        assert inputs[f"{dataset.owner}/{dataset.name}"]["digest"]["sha256"] == dataset.header.hex()
    assert run["metadata"]["invocationId"] == "0x" + statement.run_id.hex()
    started = datetime.fromisoformat(run["metadata"]["startedOn"]).timestamp()
    assert started == envelope.grant.issued
    made = named(run["byproducts"])
    quote = base64.b64decode(made["tdx-quote"]["content"])
    assert quote == envelope.quote
    assert made["tdx-quote"]["annotations"]["mrTd"] == "0x" + quote[48 + 136 :][:48].hex()
    assert made["tdx-quote"]["annotations"]["rtMr3"] == "0x" + quote[48 + 472 :][:48].hex()
    assert made["tdx-quote"]["annotations"]["gpuEvidence"] == "none"
    assert made["envelope.json"]["digest"]["sha256"] == hashlib.sha256(envelope.encode()).hexdigest()
    chain = made["risk/checkpoints"]
    assert chain["annotations"]["steps"] == 2
    released = envelope.result["fields"]["risk"]["model"][0]
    assert bytes.fromhex(chain["digest"]["sha256"]) == base64.b64decode(released["checkpoints"])
    receipt = made["receipt"]
    assert receipt["uri"] == f"eip155:31337:{statement.ledger}"
    assert (receipt["annotations"]["sequence"], receipt["annotations"]["block"]) == (7, 130)


def test_it_has_the_form_that_in_toto_and_slsa_ask_for(true: dict[str, Any]) -> None:
    """Statement v1: subjects of unique names with digests. Provenance v1: `buildType` and `builder.id` are
    URIs, `externalParameters` is there, resources have a digest, a place or a content."""
    assert set(true) == {"_type", "subject", "predicateType", "predicate"}
    assert len(named(true["subject"])) == len(true["subject"])
    assert (true["_type"], true["predicateType"]) == (
        "https://in-toto.io/Statement/v1", "https://slsa.dev/provenance/v1"
    )  # fmt: skip
    build, run = true["predicate"]["buildDefinition"], true["predicate"]["runDetails"]
    assert set(build) == {"buildType", "externalParameters", "internalParameters", "resolvedDependencies"}
    assert set(run) == {"builder", "metadata", "byproducts"}
    resources = [
        *true["subject"], *build["resolvedDependencies"], *run["builder"]["builderDependencies"],
        *run["byproducts"],
    ]  # fmt: skip
    known = {"name", "uri", "digest", "content", "downloadLocation", "mediaType", "annotations"}
    for each in resources:
        assert set(each) <= known and set(each) & {"uri", "digest", "content"}
        assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in each.get("digest", {}).values())
    own = set(true["predicate"]) - {"buildDefinition", "runDetails"}
    assert all(re.fullmatch("[a-z]+_[a-z]+", name) for name in own)


def test_the_file_reads_back_and_says_what_the_envelope_says(envelope: Envelope, true: Any) -> None:
    written = encode_attestation(true)
    assert json.loads(written) == true and written.endswith(b"}\n")
    check_attestation(written, envelope)
    check_attestation(json.dumps(true).encode(), envelope)


def test_a_result_without_a_model_has_one_too(platform: SimulatedPlatform, tmp_path: Path) -> None:
    made = make_run(platform, make_gate(platform), render_recipe(tmp_path)).envelope()
    said = attestation_of(made)
    assert [each["name"] for each in said["subject"]] == ["result.json"]
    receipt = named(said["predicate"]["runDetails"]["byproducts"])["receipt"]["annotations"]
    assert (receipt["sequence"], receipt["block"], receipt["approvedBy"]) == (None, None, [])
    check_attestation(encode_attestation(said), made)


Way = tuple[Any, ...]


def ways(value: Any, at: Way = ()) -> Iterator[Way]:
    """The way to each member, those of members included."""
    if isinstance(value, dict | list):
        for name in value if isinstance(value, dict) else range(len(value)):
            yield (*at, name)
            yield from ways(value[name], (*at, name))


def pointer(way: Way) -> str:
    return "".join(f"/{str(each).replace('~', '~0').replace('/', '~1')}" for each in way)


def changed(value: dict[str, Any], way: Way, change: Callable[[Any, Any], None]) -> dict[str, Any]:
    other = copy.deepcopy(value)
    held: Any = other
    for each in way[:-1]:
        held = held[each]
    change(held, way[-1])
    return other


def _another(held: Any, name: Any) -> None:
    now = held[name]
    held[name] = now + "0" if isinstance(now, str) else now + 1 if isinstance(now, int) else "another"


def test_each_member_that_is_changed_is_named_and_no_other(true: dict[str, Any]) -> None:
    every = list(ways(true))
    assert len(every) > 150
    for way in every:
        assert list(differences(true, changed(true, way, _another))) == [pointer(way)]


def test_each_member_that_is_left_out_or_added_is_named(true: dict[str, Any]) -> None:
    for way in ways(true):
        if isinstance(way[-1], str):
            gone = changed(true, way, lambda held, name: held.pop(name))
            assert list(differences(true, gone)) == [pointer(way)]
            more = changed(true, way, lambda held, name: held.update({"more": held[name]}))
            assert list(differences(true, more)) == [pointer((*way[:-1], "more"))]
    one_more = changed(true, ("subject",), lambda held, name: held[name].append({"name": "another"}))
    assert list(differences(true, one_more)) == ["/subject/3"]
    # a truth value is no number, and null no member that is left out
    assert list(differences({"a": 1}, {"a": True})) == ["/a"]
    assert list(differences({"a": None}, {})) == ["/a"]


def refusal(data: bytes, envelope: Envelope) -> EnvelopeError:
    with pytest.raises(EnvelopeError) as caught:
        check_attestation(data, envelope)
    return caught.value


def test_the_refusal_names_what_differs(envelope: Envelope, true: dict[str, Any]) -> None:
    way = ("predicate", "buildDefinition", "externalParameters", "privacy", "epsilon")
    error = refusal(encode_attestation(changed(true, way, _another)), envelope)
    assert error.code == "attestation-mismatch" and error.message.endswith(pointer(way))


def test_the_attestation_of_another_run_is_refused(
    platform: SimulatedPlatform, envelope: Envelope, true: dict[str, Any], tmp_path: Path
) -> None:
    other = model_run(tmp_path, platform, make_gate(platform)).envelope()
    error = refusal(encode_attestation(attestation_of(other)), envelope)
    assert error.code == "attestation-mismatch" and " more" in error.message
    assert refusal(encode_attestation(true), other).code == "attestation-mismatch"


@pytest.mark.parametrize(
    ("edit", "code"),
    [
        (lambda text: b"", "attestation-malformed"),
        (lambda text: b"[" + text + b"]", "attestation-malformed"),
        (lambda text: text.replace(b'"app": ', b'"app": "", "app": '), "attestation-malformed"),
        (lambda text: text.replace(b'"number": 100', b'"number": 100.0'), "attestation-malformed"),
        (lambda text: text + b" " * MAX_ATTESTATION_BYTES, "attestation-malformed"),
        (lambda text: b'{"a":' + b"[" * 99_999 + b"]" * 99_999 + b"}", "attestation-malformed"),
        (lambda text: b"{}", "unsupported-version"),
        (lambda text: b'{"predicate": []}', "unsupported-version"),
        (lambda text: text.replace(b"/attestation/v1", b"/attestation/v2"), "unsupported-version"),
        (lambda text: text.replace(b"/provenance/v1", b"/provenance/v2"), "unsupported-version"),
    ],
    ids=[
        "empty", "array", "a name twice", "a float", "too long", "deeply nested", "no member", "a list",
        "a later version", "another predicate",
    ],
)  # fmt: skip
def test_what_is_no_attestation_is_refused(
    edit: Callable[[bytes], bytes], code: str, envelope: Envelope, true: dict[str, Any]
) -> None:
    assert refusal(edit(encode_attestation(true)), envelope).code == code


def test_an_envelope_of_a_time_that_has_no_text_is_refused(
    platform: SimulatedPlatform, tmp_path: Path
) -> None:
    """Anybody writes an envelope, and a grant has 64 bits of seconds."""
    run = make_run(platform, make_gate(platform), render_recipe(tmp_path))
    for seconds, ok in ((LAST_SECOND, True), (LAST_SECOND + 1, False)):
        made = replace(run, grant=replace(run.grant, issued=seconds)).envelope()
        if ok:
            started = attestation_of(made)["predicate"]["runDetails"]["metadata"]["startedOn"]
            assert started == "9999-12-31T23:59:59Z"
            continue
        link = attestation_link(encode_attestation(attestation_of(run.envelope())), made)
        assert (link.ok, link.code) == (False, "malformed")


def test_the_commands_write_it_and_hold_it_against_the_file(
    platform: SimulatedPlatform, envelope: Envelope, true: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "root.der").write_bytes(platform.root_der)
    (tmp_path / "envelope.json").write_bytes(envelope.encode())
    done = shell("sealroom model envelope.json --out out/model.safetensors", tmp_path)
    assert done.returncode == 0 and "attestation.json" in done.stdout
    written = tmp_path / "out" / "attestation.json"
    assert written.read_bytes() == encode_attestation(true)
    done = shell("sealroom attestation out/model.safetensors --out - | cmp - out/attestation.json", tmp_path)
    assert done.returncode == 0, done.stdout
    verify = "sealroom verify out/model.safetensors --simulated-root root.der --attestation"
    done = shell(f"{verify} out/attestation.json", tmp_path)
    assert done.returncode == 4 and "says what the envelope says" in done.stdout
    way = ("predicate", "runDetails", "metadata", "invocationId")
    written.write_bytes(encode_attestation(changed(true, way, _another)))
    done = shell(f"{verify} out/attestation.json", tmp_path)
    assert done.returncode == 1 and f"at {pointer(way)}" in done.stdout
