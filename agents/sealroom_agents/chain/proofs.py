# SPDX-License-Identifier: Apache-2.0
"""Proofs of what happened to a run, taken from nodes once its blocks are final: a block's header, and the
path to the receipt of one of its transactions. They verify years later from the block's hash alone.

What nodes answer is compared with the block: the header's hash with the one that they agree on, the receipts
with the root in the header. Then the proof is read as a verifier reads it. A node cannot make one that does
not hold.

Sources: Ethereum execution APIs (`eth_getBlockByNumber`, `eth_getBlockReceipts`); EIP-1559,
4895, 4844, 4788 and 7685 for the fields of headers; OP Stack Specifications, "Deposits".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from sealroom.codes import Code
from sealroom.encoding import from_hex
from sealroom.envelope import Anchor, Envelope, Proof
from sealroom.envelope.anchor import MAX_HEADER_BYTES, MAX_PACKED_BYTES, MAX_PROOFS
from sealroom.errors import EnvelopeError
from sealroom.model import Dataset, State, Version
from sealroom_agents import inclusion
from sealroom_agents.chain.contracts import interface
from sealroom_agents.chain.logs import Happening, address_topic, backward, decoded, topics, walk
from sealroom_agents.chain.reads import Reads, at_head
from sealroom_agents.chain.receipts import opening_event
from sealroom_agents.chain.rpc import Head, Rpc, RpcFailure
from sealroom_agents.chain.transport import TOO_LARGE
from sealroom_agents.chain.views import read_state
from sealroom_agents.errors import ChainError

FIELDS = (
    "parentHash", "sha3Uncles", "miner", "stateRoot", "transactionsRoot", "receiptsRoot", "logsBloom",
    "difficulty", "number", "gasLimit", "gasUsed", "timestamp", "extraData", "mixHash", "nonce",
)  # fmt: skip
"""A header's fields in their order."""
LATER_FIELDS = (
    "baseFeePerGas", "withdrawalsRoot", "blobGasUsed", "excessBlobGas", "parentBeaconBlockRoot",
    "requestsHash",
)  # fmt: skip
"""Those that forks have put behind them; a header ends where the node's fields do."""
NUMBERS = frozenset(
    (
        "difficulty", "number", "gasLimit", "gasUsed", "timestamp", "baseFeePerGas", "blobGasUsed",
        "excessBlobGas",
    )
)  # fmt: skip
"""Fields that are numbers."""
DEPOSIT = 0x7E
"""Type of an OP Stack deposit, whose receipt has two fields more."""
MAX_TRANSACTIONS = 16_384
"""Transactions of a block that are read; one of 60 million gas has a sixth."""
MAX_WORD = 2**256 - 1
SINGLY = 64
"""Receipts in one batch, where a node has no `eth_getBlockReceipts` or answers too much."""
MAX_VERSIONS = 64
"""Versions of a dataset, the newest first, among which one is looked for by its header."""
TOGETHER = 8
"""Blocks in one exchange: each comes with the hashes of its transactions."""
CREATION_RANGES = 20
"""Ranges of blocks before a consortium's first event in which its creation is looked for."""
TOLD = {"PlatformAdopted", "MachinesAdded", "RosterChanged", "StudyPinned"}
"""Events of a consortium that say under what a run was opened."""


@dataclass(frozen=True)
class _Place:
    """A transaction."""

    block: int
    tx: bytes


class ProofReads(Reads):
    """Proofs for envelopes, and hashes of blocks for those who verify them."""

    def block(self, number: int) -> Head:
        """A block of the chain, by number, the same from every node. Raises `ChainError`."""
        found = self._nodes.ask(lambda rpc: rpc.head(number))
        return self._nodes.agreed(found, f"the hash of block {number}")[0]

    def hashes(self, numbers: Sequence[int]) -> dict[int, bytes]:
        """Hashes of blocks, by number, each the same from every node, by one exchange for `TOGETHER` of them.
        Raises `ChainError`."""
        found: dict[int, bytes] = {}
        for start in range(0, len(numbers), TOGETHER):
            some = numbers[start : start + TOGETHER]
            heads = self._nodes.ask(partial(Rpc.heads_of, numbers=some))
            for place, number in enumerate(some):
                shown = {rpc: each[place].hash for rpc, each in heads.items()}
                found[number] = self._nodes.agreed(shown, f"the hash of block {number}")[0]
        return found

    def newest(self) -> Head:
        """The newest block that all nodes have reached: what they say together is as of then, at least.
        Raises `ChainError`."""
        heads = self._nodes.ask(lambda rpc: rpc.head("latest"))
        return min(heads.values(), key=lambda head: head.number)

    def home(self, consortium: str) -> tuple[str, str]:
        """App and ledger of a consortium, which never change, as every node has them at its newest block.
        Raises `ChainError`."""

        def one(rpc: Rpc) -> tuple[str, str]:
            app, ledger = (at_head(rpc, "Consortium", consortium, name) for name in ("app", "ledger"))
            return str(app).lower(), str(ledger).lower()

        return self._nodes.agreed(self._nodes.ask(one), f"app and ledger of {consortium}")[0]

    def registered(
        self, ledger: str, dataset: bytes, number: int, header: bytes
    ) -> tuple[str, Version | None]:
        """Name of a dataset, and its version with this header, as every node has them at its newest block.

        number: of the version; 0 for any of the newest `MAX_VERSIONS`. A version never changes. Raises
        `ChainError`.
        """

        def one(rpc: Rpc) -> tuple[str, Version | None]:
            found = Dataset.of_abi(at_head(rpc, "Ledger", ledger, "datasetOf", dataset))
            lowest = max(0, found.versions - MAX_VERSIONS)
            for each in [number] if number else range(found.versions, lowest, -1):
                version = Version.of_abi(at_head(rpc, "Ledger", ledger, "versionOf", dataset, each))
                if version.header == header:
                    return found.name, version
            return found.name, None

        return self._nodes.agreed(self._nodes.ask(one), f"dataset 0x{dataset.hex()}")[0]

    def with_proofs(self, envelope: Envelope) -> Envelope | None:
        """An anchored envelope with proofs of its opening, anchoring, pin, platform and consortium; `None` as
        long as the anchoring is not final.

        Raises `ChainError` when no node shows all of it; the same later may succeed.
        """
        anchor = envelope.anchor
        if anchor is None:
            return None
        final, rpcs = self._nodes.finalized()
        if final.number < anchor.block:
            return None
        failure: ChainError | None = None
        for rpc in rpcs:
            try:
                places = self._places_of(rpc, envelope, anchor, final)
                proofs = _proofs(rpc, places, self.block)
            except ChainError as error:
                failure = error
                continue
            return envelope.with_anchor(replace(anchor, proofs=proofs))
        raise failure or ChainError(Code.CHAIN_UNREACHABLE, "no node shows what happened to the run")

    def _places_of(self, rpc: Rpc, envelope: Envelope, anchor: Anchor, final: Head) -> list[_Place]:
        """The transactions to prove, oldest first, as one node's logs name them."""
        consortium, run_id = envelope.receipt.consortium, envelope.receipt.run_id
        near = min(envelope.grant.block_number, anchor.block)
        opened = opening_event(rpc, anchor.ledger, consortium=consortium, run_id=run_id, from_block=near)
        if opened is None:
            raise ChainError(Code.CHAIN_UNREACHABLE, f"{rpc.shown_url} has no log of the run's opening")
        state = read_state(rpc, self._places, consortium, final)
        told = _told(rpc, consortium, state, opened, envelope.receipt.study)
        places = [_Place(each.where.block, from_hex(each.where.tx, 32)) for each in (*told, opened)]
        places.append(_Place(anchor.block, anchor.tx))
        unique = sorted(set(places), key=lambda place: place.block)
        if len(unique) > MAX_PROOFS:
            raise ChainError(Code.CHAIN_UNREACHABLE, f"{len(unique)} transactions are too many to be proven")
        return unique


def _told(rpc: Rpc, consortium: str, state: State, opened: Happening, study: bytes) -> list[Happening]:
    """What says under which platform and by whose approval a run was opened, and who made the consortium."""
    found: list[Happening] = []
    adopted = pinned = False
    back = walk(rpc, "Consortium", {"address": consortium}, state.last_block)
    first = state.last_block
    for happened in back:
        first = happened[0].where.block
        for event in reversed(happened):
            if event.name not in TOLD or adopted or not _before(event, opened):
                continue
            if event.name == "StudyPinned":
                if bytes(event.fields["study"]) != study or pinned:
                    continue
                pinned = True
            adopted = event.name == "PlatformAdopted"
            found.append(event)
    if not (adopted and pinned):
        raise ChainError(
            Code.CHAIN_UNREACHABLE,
            f"{rpc.shown_url} has no logs of the platform and the pin under which the run was opened",
        )
    if not back.unread:
        found += _creation(rpc, consortium, first)
    return found


def _before(event: Happening, opened: Happening) -> bool:
    return (event.where.block, event.where.index) < (opened.where.block, opened.where.index)


def _creation(rpc: Rpc, consortium: str, before: int) -> list[Happening]:
    """The factory's event of a consortium; none where it lies further back than is looked."""
    query = {"topics": topics(interface("Factory").topic("ConsortiumCreated"), address_topic(consortium))}
    for part in backward(rpc, query, before, most=CREATION_RANGES):
        if part:
            return decoded("Factory", part[-1:])
    return []


# --- one transaction ----------------------------------------------------------------------------------------


def _proofs(rpc: Rpc, places: Sequence[_Place], agreed: Callable[[int], Head]) -> tuple[Proof, ...]:
    """A proof of each transaction, from one node; `agreed` gives the block of a number."""
    proofs = []
    for number in dict.fromkeys(place.block for place in places):
        head = agreed(number)
        proofs += prove(rpc, head, [place.tx for place in places if place.block == number])
    return tuple(proofs)


def prove(rpc: Rpc, head: Head, txs: Iterable[bytes]) -> list[Proof]:
    """Proofs of transactions of one block, from one node.

    Raises `ChainError` `chain-unreachable` where the node's answers are not those of this block.
    """
    from rlp import encode  # type: ignore[import-untyped]
    from trie.hexary import HexaryTrie

    block = rpc.request("eth_getBlockByNumber", [hex(head.number), False])
    header = header_rlp(rpc, block)
    listed = [rpc.data(tx, 32) for tx in _many(rpc, block.get("transactions"))]
    read = inclusion.read_header(header)
    if read.hash != head.hash or len(header) > MAX_HEADER_BYTES:
        raise rpc.malformed(f"a header of block {head.number} that has not its hash: of an unknown fork?")
    trie = HexaryTrie({})
    for index, receipt in enumerate(_receipts(rpc, head, listed)):
        trie[inclusion.trie_key(index)] = receipt_rlp(rpc, receipt, index, listed[index])
    if trie.root_hash != read.receipts_root:
        raise rpc.malformed(f"other receipts of block {head.number} than its header names")
    proofs = []
    for tx in txs:
        if tx not in listed:
            raise rpc.malformed(f"a block {head.number} without transaction 0x{tx.hex()}")
        index = listed.index(tx)
        nodes = [encode(node) for node in trie.get_proof(inclusion.trie_key(index))]  # type: ignore[no-untyped-call]
        path = inclusion.pack(encode(nodes))
        try:
            inclusion.read_receipt(read.receipts_root, index, path)
        except EnvelopeError as error:
            raise rpc.malformed(f"a receipt that does not verify: {error.message}") from error
        if len(path) > MAX_PACKED_BYTES:
            raise ChainError(Code.CHAIN_UNREACHABLE, f"the receipt of 0x{tx.hex()} is too large to be proven")
        proofs.append(Proof(header=header, index=index, path=path))
    return proofs


def header_rlp(rpc: Rpc, block: Any) -> bytes:
    """The header of a block as a node writes it; whether it is that of the block, its hash says."""
    from rlp import encode

    if not isinstance(block, dict):
        raise ChainError(Code.CHAIN_UNREACHABLE, f"{rpc.shown_url} does not have the block")
    later = [name for name in LATER_FIELDS if block.get(name) is not None]
    fields = [
        _number(rpc, block.get(name)) if name in NUMBERS else rpc.data(block.get(name))
        for name in (*FIELDS, *later)
    ]
    return bytes(encode(fields))


def receipt_rlp(rpc: Rpc, receipt: Any, index: int, tx: bytes) -> bytes:
    """A receipt as the trie has it, from a node's JSON, which must be of this transaction."""
    from rlp import encode

    if not isinstance(receipt, dict):
        raise rpc.malformed("a malformed receipt")
    place = rpc.quantity(receipt.get("transactionIndex")), rpc.data(receipt.get("transactionHash"), 32)
    if place != (index, tx):
        raise rpc.malformed("the receipt of another transaction")
    kind = rpc.quantity(receipt.get("type", "0x0"))
    logs = [
        [
            rpc.data(log.get("address"), 20),
            [rpc.data(topic, 32) for topic in _many(rpc, log.get("topics"))],
            rpc.data(log.get("data")),
        ]
        for log in _many(rpc, receipt.get("logs"))
    ]
    body = [
        _number(rpc, receipt.get("status")),
        _number(rpc, receipt.get("cumulativeGasUsed")),
        rpc.data(receipt.get("logsBloom"), 256),
        logs,
    ]
    if kind == DEPOSIT:
        later = ("depositNonce", "depositReceiptVersion")
        body += [_number(rpc, receipt[name]) for name in later if receipt.get(name) is not None]
    if kind not in inclusion.TYPES:
        raise rpc.malformed(f"a receipt of the unknown type {kind}")
    return (bytes([kind]) if kind else b"") + bytes(encode(body))


def _receipts(rpc: Rpc, head: Head, txs: Sequence[bytes]) -> list[Any]:
    """All receipts of a block: at once, or in batches from a node that can't."""
    try:
        (answer,) = rpc.batch([("eth_getBlockReceipts", [hex(head.number)])])
    except ChainError as error:
        if error.code != TOO_LARGE:
            raise
        answer = None
    if isinstance(answer, list):
        if len(answer) != len(txs):
            raise rpc.malformed("another number of receipts than of transactions")
        return answer
    receipts: list[Any] = []
    for start in range(0, len(txs), SINGLY):
        asked = [("eth_getTransactionReceipt", ["0x" + tx.hex()]) for tx in txs[start : start + SINGLY]]
        answers = rpc.batch(asked)
        failed = next((one for one in answers if isinstance(one, RpcFailure)), None)
        if failed is not None:
            why = f"{rpc.shown_url} refuses eth_getTransactionReceipt: {failed.message}"
            raise ChainError(Code.CHAIN_UNREACHABLE, why)
        receipts += answers
    return receipts


def _number(rpc: Rpc, value: Any) -> bytes:
    number = rpc.quantity(value, MAX_WORD)
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def _many(rpc: Rpc, value: Any) -> list[Any]:
    if not isinstance(value, list) or len(value) > MAX_TRANSACTIONS:
        raise rpc.malformed("a malformed list")
    return value
