# SPDX-License-Identifier: Apache-2.0
"""Opening the owners' wraps, under a context that comes from the chain and not from the wrap.

The fields of a wrap are claims of its sender. Consortium, app, recipe and dataset are taken from the
finalized view, and the KMS root and gate root from the gate's own keys: a wrap that its owner made for
anything else does not open. Its own fields only serve, afterwards, to name the difference.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from sealroom.codes import Code
from sealroom.encoding import sha256, to_hex
from sealroom.errors import SealError, SealroomError
from sealroom.key_release import DatasetOffer, KeyRelease, seal_key
from sealroom.keys import KemPrivateKey, Secret
from sealroom.sealed import Header, Wrap, WrapContext, check_commitment, open_wrap
from sealroom_agents.errors import Refused
from sealroom_agents.facts import ChainView, DatasetRecord
from sealroom_agents.gate.cases import PresentedDataset

MAX_KNOWN = 1024
"""Headers, and wraps, of which it is kept what they say."""


@dataclass(frozen=True)
class OpenedKey:
    """A data key that its owner wrapped for this recipe, and that is the one registered on chain."""

    record: DatasetRecord
    """The dataset as its owner registered it."""
    data_key: Secret
    """The key; wipe it after use."""


T = TypeVar("T")


class Lately(Generic[T]):
    """What was read lately, by the digest of its bytes: the same headers and wraps come with every run.
    Thread safe."""

    def __init__(self, read: Callable[[bytes], T]) -> None:
        """`read`: reads bytes that are new, or raises."""
        self._read = read
        self._lock = threading.Lock()
        self._known: OrderedDict[bytes, T] = OrderedDict()

    def __call__(self, data: bytes) -> T:
        """What the bytes say. Raises what `read` does."""
        digest = sha256(data)
        with self._lock:
            if (known := self._known.get(digest)) is not None:
                self._known.move_to_end(digest)
                return known
        found = self._read(data)
        with self._lock:
            self._known[digest] = found
            if len(self._known) > MAX_KNOWN:
                self._known.popitem(last=False)
        return found


def _presented(data: bytes) -> PresentedDataset:
    header = Header.parse(data)
    return PresentedDataset(
        id=header.dataset_id,
        owner=header.owner,
        name=header.dataset,
        version=header.dataset_version,
        header=header.digest,
    )


_headers = Lately(_presented)
_wraps = Lately(Wrap.parse)


def present(offer: DatasetOffer) -> PresentedDataset:
    """What a dataset's header says. Raises `Refused` `malformed`."""
    try:
        return _headers(offer.header)
    except SealError as error:
        raise Refused(Code.MALFORMED, error.message) from error


def open_wraps(
    offers: Sequence[DatasetOffer], view: ChainView, *, root_key: KemPrivateKey, kms_root: bytes
) -> list[OpenedKey]:
    """Open every wrap, in the order of the offers, or none.

    Raises `Refused`: `malformed`, `not-wrapped`, `dataset-mismatch`, `wrap-does-not-open`, `wrong-key`.
    """
    if view.study is None:
        raise Refused(Code.NOT_APPROVED, "no study is pinned")
    context = WrapContext(
        chain_id=view.chain_id,
        consortium=view.consortium,
        kms_root=kms_root,
        gate_public_key=root_key.public,
        app=view.app,
        compose_hash=view.study.compose_hash,
    )
    records = {record.id: record for record in view.datasets}
    opened: list[OpenedKey] = []
    try:
        for offer in offers:
            opened.append(_open(offer, context, records, root_key))
    except Refused:
        for key in opened:
            key.data_key.wipe()
        raise
    return opened


def sealed_keys(keys: Sequence[OpenedKey], *, kem_key: bytes, transcript: bytes) -> tuple[KeyRelease, ...]:
    """Each data key, sealed to the enclave that the transcript names. Raises `Refused` `malformed`."""
    try:
        return tuple(
            KeyRelease(
                dataset=key.record.id,
                index_digest=key.record.version.index,
                key_commitment=key.record.version.key_commitment,
                ciphertext=seal_key(
                    key.data_key.reveal(),
                    kem_key=kem_key,
                    transcript=transcript,
                    owner=key.record.holder_id,
                    dataset_id=key.record.id,
                    header=key.record.version.header,
                    key_commitment=key.record.version.key_commitment,
                ),
            )
            for key in keys
        )
    except SealroomError as error:
        raise Refused(Code.MALFORMED, f"the enclave's key: {error.message}") from error


def _open(
    offer: DatasetOffer, context: WrapContext, records: dict[bytes, DatasetRecord], root_key: KemPrivateKey
) -> OpenedKey:
    dataset = present(offer).id
    record = records.get(dataset)
    if record is None:
        raise Refused(Code.DATASET_MISMATCH, f"the study does not use dataset {to_hex(dataset)}")
    try:
        wrap = _wraps(offer.wrap)
    except SealError as error:
        code = Code.NOT_WRAPPED if error.code is Code.NOT_WRAPPED else Code.MALFORMED
        raise Refused(code, error.message, error.hint) from error
    meant = replace(wrap, dataset=record.id, header=record.version.header)
    try:
        data_key = open_wrap(meant, root_key, context=context)
    except SealError as error:
        raise _shut(wrap, record, context) from error
    try:
        check_commitment(
            data_key, header_digest=record.version.header, commitment=record.version.key_commitment
        )
    except SealError as error:
        data_key.wipe()
        raise Refused(
            Code.WRONG_KEY,
            f"the wrap of {record.holder_id}/{record.name} holds another key than its owner registered",
        ) from error
    return OpenedKey(record=record, data_key=data_key)


def _shut(wrap: Wrap, record: DatasetRecord, context: WrapContext) -> Refused:
    """Why a wrap did not open, as far as its own words tell."""
    sides = {
        "chainId": (wrap.chain_id, context.chain_id),
        "consortium": (wrap.consortium, context.consortium),
        "kmsRoot": (to_hex(wrap.kms_root), to_hex(context.kms_root)),
        "gateRoot": (to_hex(wrap.gate_root), to_hex(context.gate_root)),
        "app": (wrap.app, context.app),
        "composeHash": (to_hex(wrap.compose_hash), to_hex(context.compose_hash)),
        "dataset": (to_hex(wrap.dataset), to_hex(record.id)),
        "header": (to_hex(wrap.header), to_hex(record.version.header)),
    }
    differing = {name: pair for name, pair in sides.items() if pair[0] != pair[1]}
    why = f"it was made for another {' and '.join(differing)}" if differing else "it was damaged or forged"
    return Refused(
        Code.WRAP_DOES_NOT_OPEN,
        f"the wrap of {record.holder_id}/{record.name} does not open: {why}",
        "its owner re-seals it for this recipe: sealroom reseal",
        seen={name: pair[0] for name, pair in differing.items()} or None,
        pinned={name: pair[1] for name, pair in differing.items()} or None,
    )
