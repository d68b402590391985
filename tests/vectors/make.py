# SPDX-License-Identifier: Apache-2.0
"""Makes the vectors anew: `python -m tests.vectors.make`.

Sealing and HPKE draw fresh randomness, so that a second run makes other bytes for the same cases. The files
that are checked in are the ones that count.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sealroom import typed
from sealroom.encoding import canonical, lp, sha256
from sealroom.keys import address_of
from sealroom.recipe import parse
from sealroom.records import shown
from sealroom.sealed import Index, PartEntry, SealSummary, make_wrap, seal
from sealroom.sealed.archive import write_end, write_member
from sealroom.sealed.header import Header
from tests.formats.sealing import members
from tests.formats.test_recipe import in_field, in_frame, in_section, in_service, in_text, put
from tests.formats.test_typed import Platform, Study
from tests.formats.worked import (
    CHAIN_ID,
    COMPOSE,
    CONSORTIUM,
    CONTEXT,
    DATA_KEY,
    ENCLAVE_SIGNER,
    GATE_SIGNER,
    GRANT,
    LEDGER,
    NAME,
    OWNER,
    envelope,
    flip,
    secret,
)
from tests.vectors.vector import FOLDER, Vector

PART = 16 * 1024
Contents = dict[str, bytes]


def make_sealed(folder: Path) -> None:
    """Sealed datasets: what must open, and what must not."""
    opaque, table = folder / "file", folder / "table.parquet"
    opaque.write_bytes(bytes(number % 251 for number in range(2 * PART + 10)))
    rows = {"person": pa.array(range(9), pa.int64()), "age": pa.array([float(age) for age in range(9)])}
    pq.write_table(pa.table(rows), table, compression="none")
    empty = folder / "empty"
    empty.write_bytes(b"")
    whole, summary = _sealed(opaque)
    theirs, _ = _sealed(opaque, owner="hospital-B")
    small, small_summary = _sealed(table)
    nothing, nothing_summary = _sealed(empty)

    def case(name: str, expect: str, comment: str, contents: Contents, **more: Any) -> None:
        own = {"summary": summary, "source": opaque, "stage": "", "tail": 0, "raw": None, **more}
        fields = {"expect": expect, "comment": comment}
        if own["stage"]:
            fields["stage"] = own["stage"]
        made: SealSummary = own["summary"]
        fields |= {
            "gate-secret": secret("gate root").hex(),
            "chain-id": str(CHAIN_ID),
            "consortium": CONSORTIUM,
            "kms-root": CONTEXT.kms_root.hex(),
            "app": CONTEXT.app,
            "compose-hash": own.get("compose", CONTEXT.compose_hash).hex(),
            "epoch": str(CONTEXT.epoch),
            "dataset-id": made.dataset_id.hex(),
            "index-digest": own.get("index", made.index_digest).hex(),
            "key-commitment": made.key_commitment.hex(),
            "plain-digest": sha256(own["source"].read_bytes()).hex(),
        }
        body = own["raw"] if own["raw"] is not None else _archive(folder / "archive", contents)
        Vector(fields, body).write(FOLDER / "sealed" / name)

    def edited(name: str, change: Callable[[bytes], bytes]) -> Contents:
        return {**small, name: change(small[name])}

    def replaced(name: str, old: bytes, new: bytes) -> Contents:
        if old not in small[name]:
            raise ValueError(f"{name} does not hold {old!r}")
        return edited(name, lambda content: content.replace(old, new, 1))

    in_small: dict[str, Any] = {"summary": small_summary, "source": table}
    whole_raw, small_raw = _archive(folder / "a", whole), _archive(folder / "b", small)
    case("three_parts", "success", "an opaque file of two whole parts and ten bytes", whole)
    case("table", "success", "a Parquet file", small, **in_small)
    case("empty_file", "success", "no bytes are one part", nothing, summary=nothing_summary, source=empty)
    header: dict[str, Any] = {"stage": "HeaderError", **in_small}
    case(
        "header_version",
        "unsupported-version",
        "another version",
        replaced("header.json", b'"version":1', b'"version":2'),
        **header,
    )
    case(
        "header_suite",
        "unsupported-suite",
        "another suite (CE-10)",
        replaced("header.json", b"cobblestone-256+", b"cobblestone-128+"),
        **header,
    )
    case(
        "header_not_canonical",
        "header-malformed",
        "a space in the JSON",
        replaced("header.json", b"{", b"{ "),
        **header,
    )
    case(
        "header_changed",
        "wrap-mismatch",
        "one row more: another dataset id than the wrap's",
        replaced("header.json", b'"rows":9', b'"rows":8'),
        **{**header, "stage": "WrapError"},
    )
    case(
        "archive_truncated",
        "archive-truncated",
        "cut within the last part (CE-05)",
        {},
        raw=whole_raw[: -3 * 1024],
        stage="HeaderError",
    )
    case(
        "archive_longer",
        "archive-malformed",
        "a zero block after the end",
        {},
        raw=small_raw + bytes(512),
        **header,
    )
    case(
        "archive_symlink",
        "archive-malformed",
        "wrap.json is a symbolic link (AR-02)",
        {},
        raw=_link(small_raw),
        **header,
    )
    case(
        "archive_order",
        "archive-malformed",
        "wrap.json before header.json",
        dict(sorted(small.items(), reverse=True)),
        **header,
    )
    wrap: dict[str, Any] = {"stage": "WrapError", **in_small}
    case(
        "wrap_version",
        "unsupported-version",
        "another version",
        replaced("wrap.json", b'"version":1', b'"version":2'),
        **wrap,
    )
    case(
        "wrap_of_another_owner",
        "wrap-mismatch",
        "hospital-B's wrap (CE-08)",
        {**whole, "wrap.json": theirs["wrap.json"]},
        stage="WrapError",
    )
    case(
        "wrap_other_recipe",
        "wrap-does-not-open",
        "one bit of the compose hash differs (CE-08)",
        small,
        compose=flip(CONTEXT.compose_hash, 31),
        **wrap,
    )
    case(
        "wrap_ciphertext",
        "wrap-does-not-open",
        "one bit of the ciphertext differs",
        _other_wrap(small),
        **wrap,
    )
    case(
        "wrap_old_epoch", "wrap-does-not-open", "made for the epoch before (CE-20)", _old_wrap(small), **wrap
    )
    index: dict[str, Any] = {"stage": "SealIndexError", **in_small}
    case(
        "index_version",
        "unsupported-version",
        "another version",
        replaced("index.json", b'"version":1', b'"version":2'),
        **index,
    )
    case(
        "index_not_registered",
        "index-mismatch",
        "another index than the registered one (CE-15)",
        small,
        **{**index, "index": bytes(32)},
    )
    other = replace(Index.parse(small["index.json"]), key_commitment=bytes(32))
    case(
        "index_other_commitment",
        "index-mismatch",
        "commits to another key (CE-03)",
        {**small, "index.json": other.encode()},
        **{**index, "index": other.digest},
    )
    swapped = {**whole, "parts/00000": whole["parts/00001"], "parts/00001": whole["parts/00000"]}
    listed = _relisted(swapped)
    case(
        "parts_swapped", "part-altered", "two parts in each other's place (CE-06)", swapped, stage="PartError"
    )
    case(
        "parts_swapped_and_listed",
        "part-does-not-open",
        "and the index lists them so (CE-06)",
        listed,
        stage="PartError",
        index=Index.parse(listed["index.json"]).digest,
    )
    changed = {**whole, "parts/00002": flip(whole["parts/00002"], -1)}
    case("part_changed", "part-altered", "the last bit of the last part", changed, stage="PartError")


def make_recipes() -> None:
    """Recipes: the worked one, and one broken rule each."""
    recipe = parse(COMPOSE)
    fields = {
        "expect": "success",
        "comment": "the worked study",
        "compose-hash": recipe.compose_hash.hex(),
        "output-hash": recipe.output_hash.hex(),
        "privacy-hash": recipe.privacy_hash.hex(),
        "epsilon-micro": str(recipe.epsilon_micro),
    }
    Vector(fields, COMPOSE).write(FOLDER / "recipe" / "small_study")
    image = "ghcr.io/sealroom/enclave"
    broken = {
        "image_by_tag": ("recipe-mutable-image", "AT-24", in_service(put("image", f"{image}:latest"))),
        "privileged": ("recipe-privileged", "AT-24", in_service(put("privileged", True))),
        "docker_socket": (
            "recipe-host-mount",
            "AT-24",
            in_service(put("volumes", ["/var/run/docker.sock:/s"])),
        ),
        "ports": ("recipe-ports", "AT-25", in_service(put("ports", ["80:80"]))),
        "init_script": ("recipe-script", "AT-23", in_frame(put("init_script", "true"))),
        "public_logs": ("recipe-public-logs", "AT-25", in_frame(put("public_logs", True))),
        "allowed_envs": ("recipe-allowed-envs", "AT-21", in_frame(put("allowed_envs", ["LD_PRELOAD"]))),
        "unknown_setting": ("recipe-unknown-field", "AT-23", in_frame(put("swap_size", 1))),
        "second_spelling": ("recipe-not-canonical", "AT-23", in_text("gpu: none", 'gpu: "none"')),
        "budget": (
            "recipe-budget",
            "fields cost more than the policy says",
            in_field(0, put("epsilon", "0.6")),
        ),
        "bounds": ("recipe-bounds", "a mean without a range", in_field(1, put("lower", "120"))),
        "unit": (
            "recipe-unit",
            "the unit is no column",
            in_section(lambda s: s["privacy"].update(unit="who")),
        ),
        "indented": (
            "recipe-not-canonical",
            "other white space",
            json.dumps(json.loads(COMPOSE), indent=1).encode(),
        ),
    }
    for name, (code, comment, body) in broken.items():
        fields = {"expect": code, "stage": "RecipeError", "comment": comment}
        Vector(fields, body).write(FOLDER / "recipe" / name)


def make_envelopes() -> None:
    """Envelopes: one that holds, and one broken link each."""
    holds = envelope()
    forged = replace(holds.signed, signature=flip(holds.signed.signature, 63))
    signature = flip(holds.receipt_signature, 40)
    broken = {
        "holds": ("success", "", "an envelope before its anchor", holds),
        "result_changed": (
            "result-mismatch",
            "EnvelopeError",
            "one count differs",
            replace(holds, result={**holds.result, "epsilon": "1.4"}),
        ),
        "statement_forged": (
            "statement-forged",
            "EnvelopeError",
            "one bit of the DSSE signature",
            replace(holds, signed=forged),
        ),
        "receipt_forged": (
            "receipt-forged",
            "EnvelopeError",
            "one bit of the receipt's signature",
            replace(holds, receipt_signature=signature),
        ),
        "grant_of_another_run": (
            "statement-mismatch",
            "EnvelopeError",
            "a grant with another ε",
            replace(holds, grant=replace(GRANT, epsilon_micro=1)),
        ),
        "quote_changed": (
            "statement-mismatch",
            "EnvelopeError",
            "a bit in the quote's body",
            replace(holds, quote=flip(holds.quote, 520)),
        ),
    }
    for name, (code, stage, comment, value) in broken.items():
        fields = {"expect": code, "comment": comment} | ({"stage": stage} if stage else {})
        Vector(fields, value.encode()).write(FOLDER / "envelope" / name)


def make_typed() -> None:
    """EIP-712 structures with their digests: Solidity, Python and wallets must agree."""
    owner = address_of(GATE_SIGNER)
    consortium, ledger = typed.consortium_domain(CHAIN_ID, CONSORTIUM), typed.ledger_domain(CHAIN_ID, LEDGER)
    gate = typed.gate_domain(CHAIN_ID, CONSORTIUM)
    at: dict[str, Any] = {"chain_id": CHAIN_ID, "consortium": CONSORTIUM}
    receipt = envelope().receipt
    study, platform = Study(), Platform()
    owned = {"owner": owner}
    content = {name: shown(value) for name, value in typed.study_fields(study).items()}
    places = {name: shown(value) for name, value in typed.platform_fields(platform).items()}
    run = {"runId": shown(GRANT.run_id), "counter": 2}
    made = {
        "ApproveStudy": (consortium, owned | content, typed.approve_study(study, owner=owner, **at)),
        "AdoptPlatform": (
            consortium,
            owned | places | {"epoch": 3},
            typed.adopt_platform(platform, owner=owner, epoch=3, **at),
        ),
        "Revoke": (
            consortium,
            owned | {"reason": "a breach", "epoch": 3},
            typed.revoke("a breach", owner=owner, epoch=3, **at),
        ),
        "Receipt": (ledger, receipt.to_json(), typed.receipt(receipt, chain_id=CHAIN_ID, ledger=LEDGER)),
        "Grant": (gate, GRANT.to_json(), typed.grant(GRANT, **at)),
        "Challenge": (gate, {"transcript": shown(secret("t"))}, typed.challenge(secret("t"), **at)),
        "Lease": (gate, run, typed.lease(GRANT.run_id, 2, **at)),
    }
    for name, (domain, message, signable) in made.items():
        fields = {
            "expect": "success",
            "comment": f"digest and signature of {name}; the body is what a wallet is given",
            "digest": typed.digest(signable).hex(),
            "private-key": ENCLAVE_SIGNER.hex(),
            "signer": address_of(ENCLAVE_SIGNER),
            "signature": typed.sign(signable, ENCLAVE_SIGNER).hex(),
        }
        if name == "ApproveStudy":
            fields["study-id"] = typed.study_id(study).hex()
        body = canonical(typed.typed_data(name, domain, message))
        Vector(fields, body).write(FOLDER / "typed" / name)


def make_tuples() -> None:
    """Length-prefixed tuples: domain and fields as JSON, the encoding as the body."""
    tuples: dict[str, tuple[str, list[str | int]]] = {
        "domain_alone": ("sealroom/v1/test", []),
        "texts": ("sealroom/v1/test", ["ab", "c"]),
        "texts_moved": ("sealroom/v1/test", ["a", "bc"]),
        "empty_field": ("sealroom/v1/test", [""]),
        "integers": ("sealroom/v1/test", [0, 1, 2**53 - 1]),
        "utf_8": ("sealroom/v1/tést", ["ε"]),
    }
    for name, (domain, values) in tuples.items():
        fields = {"expect": "success", "domain": domain, "fields": json.dumps(values, ensure_ascii=False)}
        Vector(fields, lp(domain, *values)).write(FOLDER / "tuple" / name)


def _sealed(source: Path, *, owner: str = OWNER) -> tuple[Contents, SealSummary]:
    target = source.with_suffix(f".{owner}.tar")
    media_type = (
        "application/vnd.apache.parquet" if source.suffix == ".parquet" else "application/octet-stream"
    )
    summary = seal(
        source,
        target,
        recipient=CONTEXT,
        owner=owner,
        name=NAME,
        dek=DATA_KEY,
        media_type=media_type,
        part_size=PART,
    )
    return members(target), summary


def _archive(path: Path, contents: Contents) -> bytes:
    with path.open("wb") as stream:
        for name, content in contents.items():
            write_member(stream, name, content)
        write_end(stream)
    return path.read_bytes()


def _link(archive: bytes) -> bytes:
    offset = archive.index(b"wrap.json".ljust(100, b"\0"))
    block = bytearray(archive[offset : offset + 512])
    block[156:157] = b"2"
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return archive[:offset] + bytes(block) + archive[offset + 512 :]


def _other_wrap(contents: Contents) -> Contents:
    wrap = make_wrap(DATA_KEY, header=Header.parse(contents["header.json"]), recipient=CONTEXT)
    return {**contents, "wrap.json": replace(wrap, ciphertext=flip(wrap.ciphertext, 40)).encode()}


def _old_wrap(contents: Contents) -> Contents:
    before = replace(CONTEXT, epoch=CONTEXT.epoch - 1)
    wrap = make_wrap(DATA_KEY, header=Header.parse(contents["header.json"]), recipient=before)
    return {**contents, "wrap.json": wrap.encode()}


def _relisted(contents: Contents) -> Contents:
    parts = tuple(
        PartEntry(sha256(contents[name]), len(contents[name])) for name in contents if "parts/" in name
    )
    return {**contents, "index.json": replace(Index.parse(contents["index.json"]), parts=parts).encode()}


if __name__ == "__main__":
    for kind in ("sealed", "recipe", "envelope", "typed", "tuple"):
        shutil.rmtree(FOLDER / kind, ignore_errors=True)
    with tempfile.TemporaryDirectory() as made:
        make_sealed(Path(made))
    make_recipes()
    make_envelopes()
    make_typed()
    make_tuples()
