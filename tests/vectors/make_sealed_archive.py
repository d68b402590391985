# SPDX-License-Identifier: Apache-2.0
"""One sealed dataset, put together from its page, with a place to break each of its steps.

`build` makes a dataset that opens. Each of its arguments replaces one value or changes one thing at
one step, and all that follows from that step is made right again: what is left is one fault.
Nothing here comes from `sealroom`.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import rfc8785
from blake3 import blake3
from eth_keys.datatypes import PrivateKey
from eth_utils.crypto import keccak

from tests.vectors.make_sealed_crypto import ENCAPSULATION, Gate, cobblestone, hkdf, hpke, lp

CHAIN_ID = 31337
CONSORTIUM, APP = "0x" + "c1" * 20, "0x" + "a9" * 20
PART = 16 * 1024
CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
COLUMNS = [["person", "int64"], ["age", "float64"]]
BLOCK = 512

Json = dict[str, Any]
Change = Callable[[Any], Any]


def fixed(label: str) -> bytes:
    """32 fixed bytes that stand for a secret or a digest."""
    return hashlib.sha256(f"a test's {label}".encode()).digest()


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def blake3_256(data: bytes) -> bytes:
    return blake3(data).digest()


def same(value: Any) -> Any:
    """The change that changes nothing."""
    return value


GATE_SECRET, DATA_KEY, OWNER_KEY = fixed("gate root"), fixed("data key"), fixed("owner signer")
OWNER_ADDRESS = PrivateKey(OWNER_KEY).public_key.to_address()
NAME = "cohort-A"
GATE = Gate(GATE_SECRET, CHAIN_ID)
SMALL = bytes(number % 251 for number in range(300))
LARGE = bytes(number % 251 for number in range(PART + 10))
"""Two parts: a whole one, and ten bytes."""

REPORT_KEY = base64.b64encode(Gate(fixed("report key"), CHAIN_ID).public).decode()
"""An X-Wing public key of an owner."""

CONTEXT: Json = {
    "chainId": CHAIN_ID,
    "consortium": CONSORTIUM,
    "kmsRoot": fixed("KMS root"),
    "gateRoot": sha256(GATE.public),
    "app": APP,
    "composeHash": fixed("recipe"),
}
"""For whom the datasets are sealed: what the gate verified."""


class Part(NamedTuple):
    """What one part is sealed with."""

    data_key: bytes
    header: bytes
    number: int
    total: int
    plain: bytes
    salt: bytes

    def key(self) -> bytes:
        return hkdf(self.data_key, self.header, lp("sealroom/v2/part", self.number, self.total))

    def context(self) -> bytes:
        return lp("sealroom/v2/part-context", self.header, self.number, self.total)

    def seal(self) -> bytes:
        return cobblestone(self.key(), self.context(), self.plain, salt=self.salt)


def dataset_id(account: str, name: str) -> bytes:
    """The id on chain."""
    return keccak(bytes(12) + bytes.fromhex(account[2:]) + keccak(name.encode()))


def wrap_ciphertext(info: bytes, data_key: bytes) -> bytes:
    """The data key, sealed to the gate."""
    return ENCAPSULATION + hpke(GATE.shared_secret(ENCAPSULATION), info, data_key)


def sign_index(message: bytes) -> bytes:
    """The owner's signature: r, s, v."""
    signature = PrivateKey(OWNER_KEY).sign_msg_hash(keccak(eip191(message)))
    return signature.r.to_bytes(32, "big") + signature.s.to_bytes(32, "big") + bytes([27 + signature.v])


def eip191(message: bytes) -> bytes:
    """What a wallet hashes when it signs a message."""
    return b"\x19Ethereum Signed Message:\n" + str(len(message)).encode() + message


def build(
    *,
    plain: bytes = SMALL,
    part_size: int = PART,
    columns: Sequence[Any] | None = COLUMNS,
    rows: int | None = 9,
    media_type: str = "application/octet-stream",
    salt: str = "salt",
    header: Change = same,
    header_text: Change = same,
    context: Mapping[str, Any] = {},
    made_for: Mapping[str, Any] = {},
    says: Change = same,
    wrapped_key: bytes = DATA_KEY,
    encrypt: Callable[[bytes, bytes], bytes] = wrap_ciphertext,
    ciphertext: Change = same,
    wrap_text: Change = same,
    part: Callable[[Part], bytes] = Part.seal,
    part_digest: Callable[[bytes], bytes] = blake3_256,
    before_listing: Change = same,
    after_listing: Change = same,
    committed_key: bytes = DATA_KEY,
    index: Change = same,
    sign: Callable[[bytes], bytes] | None = None,
    index_text: Change = same,
    members: Change = same,
    frames: Mapping[str, Mapping[str, bytes]] = {},
    tar: Change = same,
    registered: Mapping[str, bytes] = {},
    gate: Mapping[str, Any] = {},
) -> tuple[dict[str, str], bytes]:
    """The archive, and what the gate and the chain know of it, as a vector's fields.

    `made_for` is what only the HPKE `info` says, `says` what only wrap.json says, `context` both, and
    `registered` and `gate` what only the fields say.
    """
    count = max(1, -(-len(plain) // part_size))
    names = [[name, bare(kind)] for name, kind in columns or ()]
    names.sort(key=lambda each: str(each[0]).encode("utf-16-be", "surrogatepass"))
    head: Json = {
        "version": 3,
        "suite": "cobblestone-256+blake3+mlkem768-x25519",
        "owner": OWNER_ADDRESS,
        "dataset": NAME,
        "datasetVersion": 1,
        "mediaType": media_type,
        "columns": None if columns is None else list(columns),
        "rows": rows,
        "schemaHash": _hex(sha256(rfc8785.dumps(names))),
        "size": len(plain),
        "partSize": part_size,
        "parts": count,
        "reportKey": None,
        "salt": _hex(fixed(salt)),
    }
    head = header(head)
    head_bytes = header_text(rfc8785.dumps(head))
    digest = sha256(head_bytes)
    dataset = dataset_id(OWNER_ADDRESS, NAME)

    stated = {**CONTEXT, "dataset": dataset, "header": digest, **context}
    meant = {**stated, **made_for}
    info = lp(
        "sealroom/v2/wrap",
        meant["chainId"],
        bytes.fromhex(meant["consortium"][2:]),
        meant["kmsRoot"],
        bytes.fromhex(meant["app"][2:]),
        meant["composeHash"],
        meant["dataset"],
        meant["header"],
    )
    wrap: Json = says(
        {name: _hex(value) if isinstance(value, bytes) else value for name, value in stated.items()}
        | {
            "version": 2,
            "suite": "mlkem768-x25519+hkdf-sha256+aes-256-gcm",
            "ciphertext": _base64(ciphertext(encrypt(info, wrapped_key))),
        }
    )

    slices = [plain[number * part_size : (number + 1) * part_size] for number in range(count)]
    parts: list[bytes] = before_listing(
        [
            part(Part(DATA_KEY, digest, number, count, piece, fixed(f"{salt} {number}")[:24]))
            for number, piece in enumerate(slices)
        ]
    )
    commitment = hkdf(committed_key, digest, lp("sealroom/v2/key-commitment"))
    listing: Json = index(
        {
            "version": 2,
            "header": _hex(digest),
            "keyCommitment": _hex(commitment),
            "parts": [{"digest": _hex(part_digest(piece)), "size": len(piece)} for piece in parts],
            "signature": None,
        }
    )
    index_digest = sha256(rfc8785.dumps(listing))
    if sign is not None:
        listing = {**listing, "signature": _hex(sign(lp("sealroom/v2/index", digest, index_digest)))}

    contents = [
        ("header.json", head_bytes),
        ("wrap.json", wrap_text(rfc8785.dumps(wrap))),
        *((f"parts/{number:05d}", piece) for number, piece in enumerate(after_listing(parts))),
        ("index.json", index_text(rfc8785.dumps(listing))),
    ]
    body = b"".join(_member(name, content, frames.get(name, {})) for name, content in members(contents))
    known = {
        "dataset-id": dataset,
        "header-digest": digest,
        "index-digest": index_digest,
        "key-commitment": commitment,
    } | dict(registered)
    verified = {**CONTEXT, **context, **gate}
    fields = {
        "gate-secret": GATE_SECRET.hex(),
        "chain-id": str(verified["chainId"]),
        "consortium": verified["consortium"],
        "kms-root": verified["kmsRoot"].hex(),
        "app": verified["app"],
        "compose-hash": verified["composeHash"].hex(),
        **{name: value.hex() for name, value in known.items()},
        "data-key": DATA_KEY.hex(),
        "plain-digest": sha256(plain).hex(),
    }
    return fields, tar(body + bytes(2 * BLOCK))


def bare(kind: Any) -> Any:
    """A type without what the schema hash leaves out: nulls, and the order of a struct's fields."""
    if isinstance(kind, str):
        return kind
    if kind["type"] == "list":
        return {"type": "list", "of": bare(kind["of"])}
    if kind["type"] == "struct":
        return {"type": "struct", "fields": {name: bare(inner) for name, inner in kind["fields"]}}
    return kind["type"]


def tar_header(name: str, size: int, /, **replaced: bytes) -> bytes:
    """A member's 512 bytes; `replaced` gives other bytes for fields by their POSIX names."""
    values = {
        "name": name.encode(),
        "mode": b"0000600\0",
        "uid": b"0000000\0",
        "gid": b"0000000\0",
        "size": b"%011o\0" % size,
        "mtime": b"00000000000\0",
        "typeflag": b"0",
        "magic": b"ustar\0",
        "version": b"00",
    } | replaced
    block = bytearray(BLOCK)
    for field, value in values.items():
        start, length = FIELDS[field]
        block[start : start + length] = value.ljust(length, b"\0")
    if "chksum" not in replaced:
        block[148:156] = b" " * 8
        block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


FIELDS = {
    "name": (0, 100),
    "mode": (100, 8),
    "uid": (108, 8),
    "gid": (116, 8),
    "size": (124, 12),
    "mtime": (136, 12),
    "chksum": (148, 8),
    "typeflag": (156, 1),
    "linkname": (157, 100),
    "magic": (257, 6),
    "version": (263, 2),
    "uname": (265, 32),
    "gname": (297, 32),
    "devmajor": (329, 8),
    "devminor": (337, 8),
    "prefix": (345, 155),
    "rest": (500, 12),
}
"""First byte and length of each field of a tar header."""


def _member(name: str, content: bytes, replaced: Mapping[str, bytes]) -> bytes:
    padding = replaced.get("padding", bytes(-len(content) % BLOCK))
    frame = {field: value for field, value in replaced.items() if field != "padding"}
    return tar_header(name, len(content), **frame) + content + padding


def _hex(data: bytes) -> str:
    return "0x" + data.hex()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
