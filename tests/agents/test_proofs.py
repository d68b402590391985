# SPDX-License-Identifier: Apache-2.0
"""Proofs of real blocks, taken from a real chain: an envelope with them verifies from any node that has
headers, and offline from hashes (CH-03, CH-05, CH-07, CH-08).

One study is approved once; runs are opened and anchored alone and with others, in blocks with one and with
many transactions.
"""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests.agents.fabricated import Block, Change, each, fabricated, from_address, nothing, topic_changed
from tests.agents.shell import shell
from tests.agents.staged import Stage, make_stage
from tests.face.corpus import Case, require_agreement, told
from tests.local_chain import LocalChain, account
from tests.pages import blocks, unprinted
from tests.patience import PATIENCE_S
from tests.rpc_proxy import RpcProxy, Tamper

from sealroom.encoding import to_hex
from sealroom.envelope import Anchor, Envelope, parse_envelope
from sealroom.errors import EnvelopeError
from sealroom.key_release import sign_finalized
from sealroom_agents import inclusion, verification
from sealroom_agents.chain import ChainReader, proofs
from sealroom_agents.chain.contracts import interface
from sealroom_agents.chain.rpc import Rpc
from sealroom_agents.cli import main
from sealroom_agents.errors import ChainError
from sealroom_agents.inclusion import ReceiptLog
from sealroom_agents.simulator.platform import simulated_os_image
from sealroom_agents.store import Store
from sealroom_agents.upkeep.rebuild import Rebuild
from sealroom_agents.verification.recorded import ANCHORED
from sealroom_agents.verification.shown import Shown, shown_by
from sealroom_agents.verification.state import Findings

pytestmark = pytest.mark.anvil

OTHER = b"\x66" * 32
OTHER_ADDRESS = "0x" + "66" * 20
PAGE = "docs/verifying.md"
NEIGHBOURS = 150
"""Transactions of strangers in the block of an opening."""
AT_HEAD = {"eth_chainId", "eth_call", "eth_getBlockByNumber"}
"""All that a full node is asked."""
LINKS = [step.name for step in (*verification.OFFLINE, *verification.PROVEN)]


def at_a_number(other: Callable[[dict[str, Any]], Any]) -> Tamper:
    """A node that says something else of each block that is asked for by its number."""
    return lambda method, params, result: (
        other(result) if method == "eth_getBlockByNumber" and params[0] != "latest" else result
    )


LYING_TO_A_VERIFIER: dict[str, Tamper] = {
    "another chain": lambda method, _, result: "0x2105" if method == "eth_chainId" else result,
    "another block": at_a_number(lambda block: {**block, "hash": "0x" + OTHER.hex()}),
    "no such block": at_a_number(lambda _: None),
    "a block of nonsense": at_a_number(lambda _: "block"),
    "other addresses": lambda method, _, result: (
        OTHER_ADDRESS.replace("0x", "0x" + 24 * "0") if method == "eth_call" and len(result) == 66 else result
    ),
    "half of each answer": lambda method, _, result: result[:40] if method == "eth_call" else result,
}
"""What a node tells an auditor."""


@dataclass(frozen=True)
class Set:
    """Envelopes whose blocks are final, with their proofs."""

    stage: Stage
    alone: Envelope
    """Opened and anchored alone."""
    batched: tuple[Envelope, ...]
    """Three, anchored together."""
    crowded: Envelope
    """Opened by a transaction that opens others too, in a block with many transactions."""


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Set]:
    with LocalChain.start() as chain:
        yield settle(chain, tmp_path_factory.mktemp("stage"))


def settle(chain: LocalChain, folder: Path) -> Set:
    """Runs of one study on a chain, opened and anchored in each way, once all is final."""
    stage = make_stage(chain, folder, runs=9)
    chain.add_machines(stage.room, 0, 1, devices=[OTHER])
    alone = stage.done()
    drafts = [stage.granted().envelope() for _ in range(3)]
    for draft in drafts:
        stage.open(draft)
    batched = [with_path(stage, one, number, drafts) for number, one in enumerate(stage.batched(*drafts))]
    crowd = [stage.granted().envelope() for _ in range(4)]
    chain.rpc("evm_setAutomine", False)
    for number in range(NEIGHBOURS):
        chain.rpc("eth_sendTransaction", {"from": account(17), "to": account(number % 16), "value": "0x1"})
    stage.open_together(crowd)
    chain.rpc("evm_setAutomine", True)
    crowded = stage.anchored(crowd[2])
    chain.finalize()
    done = [stage.reader.with_proofs(one) for one in (alone, *batched, crowded)]
    first, *several, last = [one for one in done if one is not None]
    return Set(stage, first, tuple(several), last)


def with_path(stage: Stage, envelope: Envelope, number: int, drafts: list[Envelope]) -> Envelope:
    """A batch's receipt with its path, as the runner publishes it."""
    found = stage.reader.receipt(stage.room.ledger, envelope.receipt, envelope.receipt_signature)
    assert found is not None and found.anchoring is not None and envelope.anchor is not None
    return envelope.with_anchor(replace(envelope.anchor, batch_path=found.anchoring.path))


def signed(settled: Set, envelope: Envelope, **changes: Any) -> Envelope:
    """An envelope with the word of the gate that granted on each of its blocks."""
    anchor, stated = envelope.anchor, envelope.statement
    assert anchor is not None
    at: dict[str, Any] = {"chain_id": stated.chain_id, "consortium": stated.consortium} | changes
    at.setdefault("private_key", settled.stage.gate.signer_key)
    said = tuple(sign_finalized(number, digest, **at) for number, digest in sorted(hashes(envelope).items()))
    return envelope.with_anchor(replace(anchor, finalized=said))


def pin_of(settled: Set) -> verification.Pin:
    """What an auditor knows from elsewhere."""
    identity = settled.stage.gate.identity
    return verification.Pin(
        chain_id=settled.stage.chain.chain_id,
        consortium=settled.stage.room.consortium,
        gate_compose=identity.compose_hash,
        gate_root=identity.gate_root,
        kms_root=identity.kms_root,
        os_images=(simulated_os_image(),),
    )


def flipped(data: bytes, nibble: int) -> bytes:
    changed = data[nibble // 2] ^ (0x10 if nibble % 2 == 0 else 0x01)
    return data[: nibble // 2] + bytes([changed]) + data[nibble // 2 + 1 :]


def walk(settled: Set, envelope: Envelope, **options: Any) -> list[verification.Link]:
    return verification.verify(envelope, trust=settled.stage.trust, now=int(time.time()), **options)


def hashes(envelope: Envelope) -> dict[int, bytes]:
    """What an auditor believes of the blocks of the proofs."""
    assert envelope.anchor is not None
    headers = [inclusion.read_header(proof.header) for proof in envelope.anchor.proofs]
    return {header.number: header.hash for header in headers}


# --- what holds -------------------------------------------------------------------------------------------


def test_a_full_node_without_old_state_and_logs_is_enough(settled: Set) -> None:
    """Years later: headers by number, and calls at the newest block."""
    asked = set()

    def refuses(method: str, params: list[Any]) -> bool:
        asked.add(method)
        at = params[-1] if method == "eth_call" else None
        return method not in AT_HEAD or (method == "eth_call" and at != "latest")

    with RpcProxy(settled.stage.chain.url) as proxy:
        proxy.refuses = refuses
        for envelope in (settled.alone, *settled.batched, settled.crowded):
            reader = settled.stage.chain.reader(proxy.url)
            links = walk(settled, envelope, chain=reader)
            assert [link.name for link in links] == [*LINKS, "revocation"]
            assert all(link.ok for link in links), links[-1]
            reader.close()
    assert asked <= AT_HEAD
    details = {link.name: link.detail for link in links}
    assert details["approvals"] == "those that counted were of hospital-A, hospital-B"
    assert settled.stage.room.factory in details["gate-registered"]
    verdict = verification.verdict_of(links, pin=verification.NOTHING, on_chain=True, simulated=False)
    assert verdict.anchored and verdict.unchecked == ()
    assert {voucher for block in verdict.blocks for voucher in block.vouchers} >= {"node"}


def test_offline_the_verdict_says_whose_hashes_it_believes(settled: Set) -> None:
    envelope = settled.alone
    links = walk(settled, envelope)
    assert [link.name for link in links] == LINKS and all(link.ok for link in links)
    nobody = verification.verdict_of(links, pin=verification.NOTHING, on_chain=False, simulated=False)
    assert nobody.anchored is None and "anchoring" in nobody.unchecked
    assert [block.vouchers for block in nobody.blocks if "opening" in block.shows] == [()]

    believed = walk(settled, envelope, hashes=hashes(envelope))
    auditor = verification.verdict_of(believed, pin=verification.NOTHING, on_chain=False, simulated=False)
    assert auditor.anchored and auditor.unchecked == ("revocation",)
    assert all("auditor" in block.vouchers for block in auditor.blocks)
    shows = [word for block in auditor.blocks for word in block.shows]
    assert shows == ["consortium", "platform", "pin", "machines", "opening", "receipt"]


def test_the_gate_vouches_for_the_block_that_its_grant_names(settled: Set) -> None:
    """And for no other; nor does it vouch for its own adoption."""
    envelope = settled.alone
    links = walk(settled, envelope)
    [blocks] = [link.blocks for link in links if link.blocks]
    numbers = {block.number for block in blocks if "gate" in block.vouchers}
    assert numbers <= {envelope.grant.block_number}


def test_the_gates_word_counts_where_all_is_pinned_that_its_quote_rests_on(settled: Set) -> None:
    """AT-20: years later, without any node. A gate of anybody's firmware can sign what it likes, so without
    the pins it is told who vouches, and nothing more."""
    envelope = signed(settled, settled.batched[1])
    assert parse_envelope(envelope.encode()) == envelope
    pin = pin_of(settled)
    links = walk(settled, envelope, pin=pin)
    assert all(link.ok for link in links), links[-1]
    whole = verification.verdict_of(links, pin=pin, on_chain=False, simulated=False)
    assert (whole.outcome, whole.anchored, whole.unchecked) == ("proven", True, ("revocation",))
    assert {block.vouchers for block in whole.blocks} == {("gate",)}
    assert {block.gate_compose for block in whole.blocks} == {pin.gate_compose}
    assert whole.vouched.endswith(f"compose 0x{settled.stage.gate.identity.compose_hash.hex()}")
    lacking: tuple[dict[str, Any], ...] = (
        {"os_images": ()},
        {"kms_root": None},
        {"gate_root": None, "gate_compose": None},
    )
    for less in lacking:
        partly = replace(pin, **less)
        links = walk(settled, envelope, pin=partly)
        assert all(link.ok for link in links)
        weak = verification.verdict_of(links, pin=partly, on_chain=False, simulated=False)
        assert (weak.outcome, weak.anchored, weak.rests_on_gate) == ("self-consistent", None, True)
        assert "anchoring" in weak.unchecked


def test_the_gates_word_is_refused_unless_it_is_of_these_blocks_and_of_this_gate(settled: Set) -> None:
    """CH-03, CH-07: the word of another gate, on another chain, for another consortium, on another block."""
    good = signed(settled, settled.alone)
    anchor = good.anchor
    assert anchor is not None and all(link.ok for link in walk(settled, good))
    first, *others = anchor.finalized
    forged = [
        signed(settled, settled.alone, private_key=OTHER),
        signed(settled, settled.alone, chain_id=1),
        signed(settled, settled.alone, consortium=OTHER_ADDRESS),
        good.with_anchor(replace(anchor, finalized=(replace(first, signature=bytes(65)), *others))),
        good.with_anchor(replace(anchor, finalized=(replace(first, signature=others[0].signature), *others))),
    ]
    of_others = [
        good.with_anchor(replace(anchor, finalized=(replace(first, hash=OTHER), *others))),
        good.with_anchor(replace(anchor, finalized=(replace(first, number=1), *others))),
        good.with_anchor(replace(anchor, finalized=(first, first, *others))),
    ]
    for code, lies in (("finality-forged", forged), ("block-mismatch", of_others)):
        for lie in lies:
            broken = verification.first_broken(walk(settled, lie))
            assert broken is not None and (broken.name, broken.code) == ("blocks", code), broken
            assert broken.check == "proofs.finalized"


def test_a_run_opened_with_others_carries_its_own_receipt_and_not_theirs_raw(settled: Set) -> None:
    anchor = settled.crowded.anchor
    assert anchor is not None
    crowd = [proof for proof in anchor.proofs if proof.index >= 4]
    assert crowd and all(len(proof.path) < 4096 for proof in anchor.proofs)
    assert len(settled.crowded.encode()) < len(replace(settled.crowded, anchor=None).encode()) + 16 * 1024
    assert parse_envelope(settled.crowded.encode()) == settled.crowded


def test_proofs_wait_until_the_anchoring_is_final(settled: Set) -> None:
    """A reorganisation may still take the block; then the envelope stays as it was published."""
    chain = settled.stage.chain
    snapshot = chain.snapshot()
    with_anchor = settled.stage.done()
    reader = chain.reader()
    assert reader.with_proofs(with_anchor) is None
    chain.finalize()
    proven = reader.with_proofs(with_anchor)
    assert proven is not None and all(link.ok for link in walk(settled, proven, chain=reader))
    reader.close()
    chain.restore(snapshot)


# --- what is broken, by name ------------------------------------------------------------------------------


def anchored(change: Callable[[Anchor], Anchor]) -> Callable[[Set], Envelope]:
    def changed(settled: Set) -> Envelope:
        assert settled.alone.anchor is not None
        return settled.alone.with_anchor(change(settled.alone.anchor))

    return changed


def without(word: str) -> Callable[[Set], Envelope]:
    """The proofs without that of one event."""

    def changed(settled: Set) -> Envelope:
        anchor = settled.alone.anchor
        assert anchor is not None
        links = walk(settled, settled.alone)
        numbers = {block.number for link in links for block in link.blocks if word in block.shows}
        kept = [one for one in anchor.proofs if inclusion.read_header(one.header).number not in numbers]
        assert len(kept) < len(anchor.proofs)
        return settled.alone.with_anchor(replace(anchor, proofs=tuple(kept)))

    return changed


def proofs_of_another_run(settled: Set) -> Envelope:
    anchor, other = settled.alone.anchor, settled.batched[0].anchor
    assert anchor is not None and other is not None
    return settled.alone.with_anchor(replace(anchor, proofs=other.proofs))


def second_result(settled: Set) -> Envelope:
    """OU-09: another envelope of the same batch has the place, and not the receipt."""
    first, second = settled.batched[:2]
    assert first.anchor is not None and second.anchor is not None
    moved = replace(first.anchor, sequence=second.anchor.sequence, batch_path=second.anchor.batch_path)
    return first.with_anchor(moved)


def last_proof(**changes: Any) -> Callable[[Anchor], Anchor]:
    def changed(anchor: Anchor) -> Anchor:
        *others, last = anchor.proofs
        return replace(anchor, proofs=(*others, replace(last, **changes)))

    return changed


BROKEN: dict[str, tuple[Callable[[Set], Envelope], str, str]] = {
    "wrong index": (anchored(last_proof(index=5)), "blocks", "proof-broken"),
    "no header": (anchored(last_proof(header=b"\xc0")), "blocks", "proof-broken"),
    "no path": (anchored(last_proof(path=inclusion.pack(b"\xc0"))), "blocks", "proof-broken"),
    "another run's": (proofs_of_another_run, "opened", "run-not-opened"),
    "no opening": (without("opening"), "opened", "run-not-opened"),
    "no platform": (without("platform"), "gate-registered", "gate-not-registered"),
    "no pin": (without("pin"), "approved", "not-approved"),
    "no receipt": (without("receipt"), "anchored", "receipt-not-anchored"),
    "another's place": (second_result, "anchored", "receipt-mismatch"),
    "block": (
        anchored(lambda anchor: replace(anchor, block=99)),
        "anchored",
        "anchor-mismatch",
    ),
    "sequence": (anchored(lambda anchor: replace(anchor, sequence=9)), "anchored", "anchor-mismatch"),
    "approvals": (
        anchored(lambda anchor: replace(anchor, approvals=anchor.approvals[:1])),
        "approvals",
        "approval-mismatch",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_offline_each_lie_is_broken_by_a_named_link(settled: Set, name: str) -> None:
    """CH-03, CH-05, OU-09."""
    make, link, code = BROKEN[name]
    lie = make(settled)
    broken = verification.first_broken(walk(settled, lie, hashes=hashes_or_nothing(lie)))
    assert broken is not None and (broken.name, broken.code) == (link, code), broken


def hashes_or_nothing(envelope: Envelope) -> dict[int, bytes]:
    try:
        return hashes(envelope)
    except Exception:
        return {}


@pytest.mark.parametrize("name", ["wrong index", "no header", "another run's", "no opening", "no receipt"])
def test_a_rebuilt_database_takes_no_envelope_whose_proofs_are_broken(
    settled: Set, tmp_path: Path, name: str
) -> None:
    """Whoever can write to the store puts a broken one beside the true one; the true one comes back."""
    lie = BROKEN[name][0](settled)
    store = Store(f"sqlite:///{tmp_path / 'new.db'}", str(tmp_path / "content"))
    false = store.content.put(lie.encode())
    found = {one.digest: one.what for one in rebuilding(settled, store).run()}
    assert found == {false: "ignored"}
    true = store.content.put(settled.alone.encode())
    found = {one.digest: one.what for one in rebuilding(settled, store).run()}
    assert (found[true], found.get(false, "ignored")) == ("done", "ignored")
    assert store.envelope(to_hex(settled.alone.receipt.run_id)) == settled.alone.encode().decode()
    store.close()


def test_a_rebuilt_database_takes_no_envelope_with_proofs_of_another_chain(
    settled: Set, tmp_path: Path
) -> None:
    """Blocks that are whole in themselves, and that no node has, or not yet."""
    said = {}
    for name, change in (("another", nothing), ("later", later)):
        store = Store(f"sqlite:///{tmp_path / name}.db", str(tmp_path / name))
        store.content.put(fabricated(settled.alone, change).encode())
        (said[name],) = [one.detail for one in rebuilding(settled, store).run()]
        store.close()
    assert said == {
        "another": "its proofs are of blocks of another chain",
        "later": "its proofs are of blocks that the chain has not reached",
    }


def later(blocks: list[Block]) -> None:
    for place, block in enumerate(blocks):
        block.header[inclusion.NUMBER] = (10**12 + place).to_bytes(8, "big").lstrip(b"\0")


def rebuilding(settled: Set, store: Store) -> Rebuild:
    settled.stage.chain.keep_real_time()
    return Rebuild(store, settled.stage.reader, factory=settled.stage.room.factory)


# --- blocks that no chain had ------------------------------------------------------------------------------


def failed(blocks: list[Block]) -> None:
    blocks[-1].status = b""


def before_the_opening(blocks: list[Block]) -> None:
    """The anchoring stands in an older block than the opening."""
    opening, anchoring = blocks[-2:]
    opening.receipts, anchoring.receipts = anchoring.receipts, opening.receipts


def another_number(blocks: list[Block]) -> None:
    """Two blocks of one number: the chain that the owners agreed on, and the one that opened the run."""
    blocks[-1].header[inclusion.NUMBER] = blocks[-2].header[inclusion.NUMBER]


FABRICATED: dict[str, tuple[Change, str, str]] = {
    "opened by a look-alike of the ledger": (
        each("RunOpened", from_address(OTHER_ADDRESS)), "opened", "run-not-opened",
    ),
    "opened for another consortium": (
        each("RunOpened", topic_changed(1, bytes(12) + OTHER[:20])), "opened", "run-not-opened",
    ),
    "opened twice": (each("RunOpened", lambda log: [log, log]), "opened", "run-mismatch"),
    "anchored before it was opened": (before_the_opening, "anchored", "receipt-not-anchored"),
    "anchored by a look-alike of the ledger": (
        each("ReceiptAnchored", from_address(OTHER_ADDRESS)), "anchored", "receipt-not-anchored",
    ),
    "anchored for another consortium": (
        each("ReceiptAnchored", topic_changed(1, bytes(12) + OTHER[:20])), "anchored", "receipt-not-anchored",
    ),
    "another run was anchored": (
        each("ReceiptAnchored", topic_changed(2, OTHER)), "anchored", "receipt-not-anchored",
    ),
    "approved by a look-alike of the consortium": (
        each("StudyPinned", from_address(OTHER_ADDRESS), "Consortium"), "approved", "not-approved",
    ),
    "adopted by a look-alike of the consortium": (
        each("PlatformAdopted", from_address(OTHER_ADDRESS), "Consortium"),
        "gate-registered",
        "gate-not-registered",
    ),
    "a transaction that failed": (failed, "blocks", "proof-broken"),
    "two blocks of one number": (another_number, "blocks", "block-mismatch"),
}  # fmt: skip


def test_blocks_that_no_chain_had_agree_with_themselves_and_with_no_hash(settled: Set) -> None:
    """CH-03, CH-07: the best that a liar can do offline. Nobody vouches for them but who is lied to."""
    lie = fabricated(settled.alone, nothing)
    links = walk(settled, lie)
    assert all(link.ok for link in links), links[-1]
    verdict = verification.verdict_of(links, pin=verification.NOTHING, on_chain=False, simulated=False)
    assert verdict.anchored is None and not verdict.rests_on_gate
    known = hashes(settled.alone)
    word = signed(settled, settled.alone).anchor
    assert lie.anchor is not None and word is not None
    replayed = lie.with_anchor(replace(lie.anchor, finalized=word.finalized))
    for envelope, options in ((lie, {"hashes": known}), (replayed, {})):
        broken = verification.first_broken(walk(settled, envelope, **options))
        assert broken is not None and (broken.name, broken.code) == ("blocks", "block-mismatch")
    broken = verification.first_broken(walk(settled, lie, chain=settled.stage.reader))
    assert broken is not None and (broken.name, broken.code) == ("blocks", "wrong-chain")


@pytest.mark.parametrize("name", FABRICATED)
def test_events_count_only_from_their_contract_about_this_run_and_in_their_order(
    settled: Set, name: str
) -> None:
    """CH-05, CH-08, OU-09."""
    change, link, code = FABRICATED[name]
    broken = verification.first_broken(walk(settled, fabricated(settled.alone, change)))
    assert broken is not None and broken.name == link, broken
    assert not code or broken.code == code


def test_the_verify_page_says_the_same_of_every_proof(settled: Set, tmp_path: Path) -> None:
    """CH-03, CH-05, CH-07, OU-09: proofs that hold, and each lie above, in the auditor's browser."""
    now, trust, pin = int(time.time()), settled.stage.trust, pin_of(settled)
    word = signed(settled, settled.alone)
    assert word.anchor is not None
    first, *others = word.anchor.finalized
    kinds = {
        "alone": settled.alone,
        "batched": settled.batched[0],
        "crowded": settled.crowded,
        "with the gate's word": word,
        "no chain's": fabricated(settled.alone, nothing),
        "another gate's word": signed(settled, settled.alone, private_key=OTHER),
        "the word for another chain": signed(settled, settled.alone, chain_id=1),
        "the word on another block": word.with_anchor(
            replace(word.anchor, finalized=(replace(first, hash=OTHER), *others))
        ),
        "the word twice": word.with_anchor(replace(word.anchor, finalized=(first, first, *others))),
        **{name: make(settled) for name, (make, _, _) in BROKEN.items()},
        **{name: fabricated(settled.alone, change) for name, (change, _, _) in FABRICATED.items()},
    }
    cases = {}
    for name, envelope in kinds.items():
        cases[name] = Case(envelope.encode(), trust, pin, now)
        cases[f"{name}, without pins"] = Case(envelope.encode(), trust, verification.NOTHING, now)
        cases[f"{name}, with hashes"] = Case(envelope.encode(), trust, pin, now, hashes_or_nothing(envelope))
    cases["other hashes"] = Case(
        settled.alone.encode(), trust, pin, now, dict.fromkeys(hashes(settled.alone), OTHER)
    )
    require_agreement(cases, tmp_path)


def test_the_verify_page_says_the_same_of_what_a_node_answers(settled: Set, tmp_path: Path) -> None:
    """CH-03, CH-04: the auditor's own node, which the page asks: it is right, it stands still, it lies, or it
    has a revocation."""
    chain, trust, pin = settled.stage.chain, settled.stage.trust, pin_of(settled)
    snapshot, now = chain.snapshot(), int(time.time())
    with ExitStack() as stack:
        lying = {}
        for name, tamper in LYING_TO_A_VERIFIER.items():
            lying[name] = stack.enter_context(RpcProxy(chain.url))
            lying[name].tamper = tamper
        cases = {
            "alone": Case(settled.alone.encode(), trust, pin, now, node=chain.url),
            "batched": Case(settled.batched[0].encode(), trust, verification.NOTHING, now, node=chain.url),
            "crowded": Case(settled.crowded.encode(), trust, pin, now, node=chain.url),
            "old": Case(settled.alone.encode(), trust, pin, chain.head_time() + 2 * 3600, node=chain.url),
            "no chain's": Case(fabricated(settled.alone, nothing).encode(), trust, pin, now, node=chain.url),
            **{
                name: Case(settled.alone.encode(), trust, pin, now, node=proxy.url)
                for name, proxy in lying.items()
            },
        }
        require_agreement(cases, tmp_path / "before")
        assert [told(cases[name])["verdict"] for name in ("alone", "crowded")] == ["simulated"] * 2
        chain.revoke(settled.stage.room, 2, "")
        after = {"revoked since": Case(settled.alone.encode(), trust, pin, now, node=chain.url)}
        require_agreement(after, tmp_path / "after")
    chain.restore(snapshot)


REASON = 'consent withdrawn”; nobody has revoked since <img src=x onerror="alert(1)"> ä \u202e'
REVOKED = "0x" + interface("Consortium").topic("Revoked").hex()


def of_logs(change: Callable[[dict[str, Any]], Any]) -> Tamper:
    """A node that says something else of the logs of a revocation; `None` leaves one out."""

    def tamper(method: str, _: list[Any], result: Any) -> Any:
        if method != "eth_getLogs":
            return result
        told = [change(one) if one["topics"][0] == REVOKED else one for one in result]
        return [one for one in told if one is not None]

    return tamper


LYING_OF_LOGS: dict[str, Tamper] = {
    "hides it": of_logs(lambda _: None),
    "no logs at all": lambda method, _, result: [] if method == "eth_getLogs" else result,
    "nonsense": lambda method, _, result: "logs" if method == "eth_getLogs" else result,
    "of another block": of_logs(lambda one: {**one, "blockNumber": "0x1"}),
    "without a block's hash": of_logs(lambda one: {**one, "blockHash": None}),
    "half of its data": of_logs(lambda one: {**one, "data": one["data"][:130]}),
    "too many topics": of_logs(lambda one: {**one, "topics": [*one["topics"], REVOKED]}),
    "another study's": of_logs(
        lambda one: {**one, "topics": [*one["topics"][:2], "0x" + OTHER.hex(), one["topics"][3]]}
    ),
}


def test_the_verify_page_tells_the_words_of_a_revocation(settled: Set, tmp_path: Path) -> None:
    """CH-29, WE-09: they are in a log alone, found behind whatever happened since, as the command finds them.
    A node that hides or falsifies it hides the words, and not the revocation."""
    chain, room, trust, pin = settled.stage.chain, settled.stage.room, settled.stage.trust, pin_of(settled)
    snapshot, now = chain.snapshot(), int(time.time())
    chain.revoke(room, 2, REASON)
    chain.mine(40)
    for owner in (1, 0):
        chain.revoke(room, owner, "another one's words")
    with ExitStack() as stack:
        proxies = {
            name: stack.enter_context(RpcProxy(chain.url)) for name in (*LYING_OF_LOGS, "narrow", "mute")
        }
        for name, tamper in LYING_OF_LOGS.items():
            proxies[name].tamper = tamper
        proxies["narrow"].refuses = lambda method, params: (
            method == "eth_getLogs" and int(params[0]["toBlock"], 16) - int(params[0]["fromBlock"], 16) > 2
        )
        proxies["mute"].refuses = lambda method, _: method == "eth_getLogs"
        urls = {"honest": chain.url, **{name: proxy.url for name, proxy in proxies.items()}}
        cases = {name: Case(settled.alone.encode(), trust, pin, now, node=url) for name, url in urls.items()}
        said = {name: told(case)["details"][-1] for name, case in cases.items()}
        words = " by hospital-C: “" + REASON.replace("”", '"') + "”"
        assert {name for name, detail in said.items() if detail.endswith(words)} == {"honest", "narrow"}
        assert all("its study was revoked on 20" in detail for detail in said.values())
        require_agreement(cases, tmp_path)
    chain.restore(snapshot)


def test_each_nibble_of_a_batch_counts(settled: Set) -> None:
    """OU-09: as in a receipt that is anchored alone. A path is no longer and no shorter, of no neighbour."""
    envelope = settled.batched[0]
    found = Findings(
        envelope=envelope, trust=settled.stage.trust, now=int(time.time()), pin=verification.NOTHING
    )
    for step in (*verification.OFFLINE, *verification.PROVEN[:2]):
        for check in step.checks:
            check.run(found)
    good, shown = envelope.anchor, found.shown
    assert good is not None and good.batch_path

    def code(changed: Envelope, told: Shown = shown) -> str | None:
        """What is broken of the link `anchored` in another envelope, or by other events."""
        found.envelope, found.shown = changed, told
        try:
            for check in ANCHORED.checks:
                check.run(found)
        except EnvelopeError as error:
            return error.code
        return None

    assert code(envelope) is None
    for place, sibling in enumerate(good.batch_path):
        for nibble in range(64):
            path = (*good.batch_path[:place], flipped(sibling, nibble), *good.batch_path[place + 1 :])
            assert code(envelope.with_anchor(replace(good, batch_path=path))) == "receipt-mismatch"
    for path in ((), good.batch_path[:-1], (*good.batch_path, OTHER), good.batch_path[::-1] * 2):
        assert code(envelope.with_anchor(replace(good, batch_path=path))) == "receipt-mismatch"
    others = {code(envelope.with_anchor(replace(good, sequence=number))) for number in (1, 3, 4, 5, 9)}
    assert others == {"receipt-mismatch", "receipt-not-anchored"}

    def root_with(nibble: int) -> Change:
        return each("BatchAnchored", lambda log: topic_changed(3, flipped(log.topics[3], nibble))(log))

    for nibble in range(0, 64, 9):
        lie = fabricated(envelope, root_with(nibble))
        assert lie.anchor is not None
        assert code(lie, shown_by(lie, lie.anchor)) == "receipt-mismatch"

    def standing_with(nibble: int) -> Change:
        def changed(log: ReceiptLog) -> list[ReceiptLog]:
            first, count, standing, previous = (log.data[at : at + 32] for at in range(0, 128, 32))
            return [replace(log, data=first + count + flipped(standing, nibble) + previous)]

        return each("BatchAnchored", changed)

    for nibble in range(0, 64, 9):
        lie = fabricated(envelope, standing_with(nibble))
        assert lie.anchor is not None
        assert code(lie, shown_by(lie, lie.anchor)) == "standing-mismatch"


def test_another_chain_or_ledger_is_broken_by_a_named_link(settled: Set) -> None:
    """CH-07, CH-08: the block of the auditor, and of the node, is another one; so is what stands there."""
    envelope = settled.alone
    number = min(hashes(envelope))
    broken = verification.first_broken(walk(settled, envelope, hashes={number: OTHER}))
    assert broken is not None and (broken.name, broken.code) == ("blocks", "block-mismatch")

    def another(where: str) -> Callable[[str, list[Any], Any], Any]:
        """A node that has other blocks, another chain id, or another ledger."""

        def tamper(method: str, params: list[Any], result: Any) -> Any:
            if method == "eth_getBlockByNumber" and where == "block" and params[0] == hex(number):
                return {**result, "hash": "0x" + OTHER.hex()}
            if method == "eth_chainId" and where == "chain":
                return "0x53a"
            if method == "eth_call" and where == "ledger" and len(result) == 66:
                return "0x" + 24 * "0" + OTHER_ADDRESS[2:]
            return result

        return tamper

    for where, link, code in (
        ("block", "blocks", "wrong-chain"),
        ("chain", "blocks", "wrong-chain"),
        ("ledger", "gate-registered", "ledger-mismatch"),
    ):
        with RpcProxy(settled.stage.chain.url) as proxy:
            proxy.tamper = another(where)
            reader = ChainReader([proxy.url], clock=settled.stage.chain.head_time, private_chain=0x53A)
            broken = verification.first_broken(walk(settled, envelope, chain=reader))
            assert broken is not None and (broken.name, broken.code) == (link, code), where
            reader.close()


def test_nodes_that_disagree_about_a_block_are_no_verdict(settled: Set) -> None:
    """CH-03: one of two lies about a header."""
    number = min(hashes(settled.alone))

    def tamper(method: str, params: list[Any], result: Any) -> Any:
        ours = method == "eth_getBlockByNumber" and params[0] == hex(number)
        return {**result, "hash": "0x" + OTHER.hex()} if ours else result

    with RpcProxy(settled.stage.chain.url) as proxy:
        proxy.tamper = tamper
        reader = settled.stage.chain.reader(settled.stage.chain.url, proxy.url)
        with pytest.raises(ChainError) as unknown:
            walk(settled, settled.alone, chain=reader)
        assert unknown.value.code == "chain-disagrees"
        reader.close()


def test_what_happened_since_is_told(settled: Set) -> None:
    chain = settled.stage.chain
    snapshot = chain.snapshot()
    chain.revoke(settled.stage.room, 2, "consent withdrawn")
    reader = chain.reader()
    links = walk(settled, settled.alone, chain=reader)
    assert all(link.ok for link in links)
    assert "its study was revoked on 20" in links[-1].detail
    assert links[-1].detail.endswith("by hospital-C: “consent withdrawn”")
    assert links[-1].unsaid == ()
    reader.close()
    chain.restore(snapshot)


def test_nodes_that_stand_still_do_not_know_what_happened_since(settled: Set) -> None:
    """CH-04: a node that hides its newest blocks hides a revocation, and is told by its age."""
    reader = settled.stage.reader
    later = settled.stage.chain.head_time() + 2 * 3600
    envelope = replace(settled.alone)
    links = verification.verify(envelope, trust=settled.stage.trust, chain=reader, now=later)
    assert all(link.ok for link in links), links[-1]
    assert links[-1].detail.endswith("the nodes show no newer block, so what came after is not known")
    verdict = verification.verdict_of(links, pin=verification.NOTHING, on_chain=True, simulated=False)
    assert verdict.anchored and verdict.unchecked == ("revocation",)


# --- nodes that lie when proofs are taken -----------------------------------------------------------------


def test_a_node_without_block_receipts_is_asked_for_each(settled: Set) -> None:
    with RpcProxy(settled.stage.chain.url) as proxy:
        proxy.refuses = lambda method, params: method == "eth_getBlockReceipts"
        reader = settled.stage.chain.reader(proxy.url)
        again = reader.with_proofs(replaced(settled.crowded))
        reader.close()
    assert again == settled.crowded


def replaced(envelope: Envelope) -> Envelope:
    assert envelope.anchor is not None
    return envelope.with_anchor(replace(envelope.anchor, proofs=()))


LIES: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "status": ("eth_getBlockReceipts", lambda all_: [{**one, "status": "0x0"} for one in all_]),
    "a log": ("eth_getBlockReceipts", lambda all_: [{**one, "logs": one["logs"][:0]} for one in all_]),
    "fewer": ("eth_getBlockReceipts", lambda all_: all_[:-1]),
    "a type": ("eth_getBlockReceipts", lambda all_: [{**one, "type": "0x5"} for one in all_]),
    "no object": ("eth_getBlockReceipts", lambda all_: [1 for _ in all_]),
    "no topics": (
        "eth_getBlockReceipts",
        lambda all_: json.loads(json.dumps(all_).replace('"topics"', '"none"')),
    ),
    "a root": ("eth_getBlockByNumber", lambda block: {**block, "receiptsRoot": "0x" + OTHER.hex()}),
    "a field": ("eth_getBlockByNumber", lambda block: {**block, "extraData": "0x66"}),
    "no transactions": ("eth_getBlockByNumber", lambda block: {**block, "transactions": None}),
}


@pytest.mark.parametrize("name", LIES)
def test_a_node_that_lies_gives_no_proof(settled: Set, name: str) -> None:
    """CH-03: refused when it is taken, not when it is verified."""
    method, lie = LIES[name]
    anchor = settled.alone.anchor
    assert anchor is not None
    head = settled.stage.reader.block(anchor.block)
    with RpcProxy(settled.stage.chain.url) as proxy:
        proxy.tamper = lambda asked, _, result: lie(result) if asked == method else result
        rpc = Rpc(proxy.url, timeout_s=PATIENCE_S)
        with pytest.raises(ChainError) as refused:
            proofs.prove(rpc, head, [anchor.tx])
        assert refused.value.code == "chain-unreachable"
        rpc.close()


# --- the commands ------------------------------------------------------------------------------------------


LIGHT = {
    "annotated_types", "cffi", "click", "coincurve", "Crypto", "cryptography", "cython_runtime", "cytoolz",
    "dcap_qvl", "eth_abi", "eth_hash", "eth_keys", "eth_typing", "eth_utils", "parsimonious", "pycparser",
    "pydantic", "pydantic_core", "regex", "rfc8785", "sealroom", "sealroom_agents", "toolz",
    "typing_extensions", "typing_inspection", "yaml",
}  # fmt: skip
"""All that whoever verifies a file loads: no dataframes, no database, no server, and no client of any."""


def test_who_verifies_a_file_loads_little(settled: Set, tmp_path: Path) -> None:
    (tmp_path / "envelope.json").write_bytes(signed(settled, settled.batched[0]).encode())
    (tmp_path / "root.der").write_bytes(settled.stage.platform.root_der)
    words = ["verify", "envelope.json", "--simulated-root", "root.der"]
    code = (
        "import sys; from sealroom_agents.cli import main\n"
        f"assert main({words}, standalone_mode=False) == 4\n"
        "roots = {name.partition('.')[0] for name in sys.modules} - set(sys.stdlib_module_names)\n"
        "print('loaded', *sorted(root for root in roots if root[0] != '_'))"
    )
    done = shell(f"{shlex.quote(sys.executable)} -P -c {shlex.quote(code)}", tmp_path)
    loaded = done.stdout.splitlines()[-1].split()
    assert loaded[0] == "loaded", done.stdout
    assert set(loaded[1:]) <= LIGHT, set(loaded[1:]) - LIGHT


def test_the_page_for_auditors_shows_what_the_commands_say(settled: Set, tmp_path: Path) -> None:
    stage, envelope = settled.stage, signed(settled, settled.alone)
    (tmp_path / "envelope.json").write_bytes(envelope.encode())
    (tmp_path / "early.json").write_bytes(replaced(settled.alone).encode())
    (tmp_path / "pin.json").write_bytes(pin_of(settled).encode())
    (tmp_path / "root.der").write_bytes(stage.platform.root_der)
    opening = max(number for number in hashes(envelope) if number != envelope_block(envelope))
    given = f"BLOCK={opening}:0x{hashes(envelope)[opening].hex()}; RPC={stage.chain.url}; set -ex\n"
    # To install the verifier alone takes a release; tests/packaging does it from a checkout.
    here = (block for block in blocks(PAGE, "sh") if "verifier.lock" not in block)
    commands = "".join(here).replace("--pin pin.json", "--pin pin.json --simulated-root root.der")
    with stage.chain.mining():
        done = shell(given + commands, tmp_path)
    assert done.returncode == 0, done.stdout
    # The page shows what a real machine's envelope gives.
    simulated = "enclave proven: no, its machine is simulated\n"
    assert simulated in done.stdout
    assert unprinted(PAGE, done.stdout.replace(simulated, "enclave proven: yes\n")) == [], done.stdout
    assert (tmp_path / "proven.json").read_bytes() == settled.alone.encode()


def envelope_block(envelope: Envelope) -> int:
    assert envelope.anchor is not None
    return envelope.anchor.block


def test_the_command_tells_each_block_and_who_vouches_for_it(settled: Set, tmp_path: Path) -> None:
    (tmp_path / "envelope.json").write_bytes(settled.alone.encode())
    (tmp_path / "root.der").write_bytes(settled.stage.platform.root_der)
    verify = "sealroom verify envelope.json --simulated-root root.der"
    given = " ".join(f"--block-hash {n}:0x{digest.hex()}" for n, digest in hashes(settled.alone).items())
    done = shell(f"{verify} {given} --json 2>/dev/null", tmp_path)
    told = json.loads(done.stdout)
    assert (done.returncode, told["anchored"], told["unchecked"]) == (4, True, ["revocation"])
    [opening] = [block for block in told["blocks"] if block["shows"] == ["opening"]]
    assert opening["vouchers"] == ["auditor"]
    assert bytes.fromhex(opening["hash"][2:]) == hashes(settled.alone)[opening["number"]]

    offline = shell(verify, tmp_path)
    assert offline.returncode == 4
    line = f"{opening['number']}:{opening['hash']} opening; vouched for by: nobody"
    assert line in offline.stdout, offline.stdout
    (tmp_path / "signed.json").write_bytes(signed(settled, settled.alone).encode())
    by_gate = shell("sealroom verify signed.json --simulated-root root.der", tmp_path)
    compose = settled.stage.gate.identity.compose_hash.hex()
    assert line.replace("nobody", f"the gate's signature (compose 0x{compose[:8]}…)") in by_gate.stdout
    assert "as good as the gate that signed for these blocks" in by_gate.stdout, by_gate.stdout
    assert "warning: what the proofs say is as good as these blocks" in offline.stdout

    (tmp_path / "early.json").write_bytes(replaced(settled.alone).encode())
    silent = shell("sealroom prove early.json --rpc http://127.0.0.1:9 --out silent.json", tmp_path)
    assert silent.returncode == 3 and not (tmp_path / "silent.json").exists()
    assert "error: not written: " in silent.stdout

    for wrong in ("1300", "1300:0x12", f"x:0x{OTHER.hex()}", f"1:{OTHER.hex()}"):
        words = ["verify", str(tmp_path / "envelope.json"), "--block-hash", wrong]
        assert CliRunner().invoke(main, words).exit_code == 2
