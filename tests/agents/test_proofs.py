# SPDX-License-Identifier: Apache-2.0
"""Proofs of real blocks, taken from a real chain: an envelope with them verifies from any node that has
headers, and offline from hashes (CH-03, CH-05, CH-07, CH-08).

One study is approved once; runs are opened and anchored alone and with others, in blocks with one and with
many transactions.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from tests.agents.shell import shell
from tests.agents.staged import Stage, make_stage
from tests.local_chain import LocalChain, account
from tests.patience import PATIENCE_S
from tests.rpc_proxy import RpcProxy

from sealroom.envelope import Anchor, Envelope, parse_envelope
from sealroom_agents import inclusion, verification
from sealroom_agents.chain import ChainReader, proofs
from sealroom_agents.chain.rpc import Rpc
from sealroom_agents.errors import ChainError

pytestmark = pytest.mark.anvil

OTHER = b"\x66" * 32
OTHER_ADDRESS = "0x" + "66" * 20
NEIGHBOURS = 150
"""Transactions of strangers in the block of an opening."""
AT_HEAD = {"eth_chainId", "eth_call", "eth_getBlockByNumber"}
"""All that a full node is asked."""
LINKS = [step.name for step in (*verification.OFFLINE, *verification.PROVEN)]


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
        stage = make_stage(chain, tmp_path_factory.mktemp("stage"), runs=9)
        chain.add_machines(stage.room, 0, 1, devices=[OTHER])
        alone = stage.done()
        drafts = [stage.granted().envelope() for _ in range(3)]
        for draft in drafts:
            stage.open(draft)
        batched = [with_path(stage, one, number, drafts) for number, one in enumerate(stage.batched(*drafts))]
        crowd = [stage.granted().envelope() for _ in range(4)]
        chain.rpc("evm_setAutomine", False)
        for number in range(NEIGHBOURS):
            chain.rpc(
                "eth_sendTransaction", {"from": account(17), "to": account(number % 16), "value": "0x1"}
            )
        stage.open_together(crowd)
        chain.rpc("evm_setAutomine", True)
        crowded = stage.anchored(crowd[2])
        chain.finalize()
        done = [stage.reader.with_proofs(one) for one in (alone, *batched, crowded)]
        first, *several, last = [one for one in done if one is not None]
        yield Set(stage, first, tuple(several), last)


def with_path(stage: Stage, envelope: Envelope, number: int, drafts: list[Envelope]) -> Envelope:
    """A batch's receipt with its path, as the runner publishes it."""
    found = stage.reader.receipt(stage.room.ledger, envelope.receipt, envelope.receipt_signature)
    assert found is not None and found.anchoring is not None and envelope.anchor is not None
    return envelope.with_anchor(replace(envelope.anchor, batch_path=found.anchoring.path))


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
    verdict = verification.verdict_of(links, pin=verification.NOTHING, on_chain=True)
    assert verdict.anchored and verdict.unchecked == ()
    assert {voucher for block in verdict.blocks for voucher in block.vouchers} >= {"node"}


def test_offline_the_verdict_says_whose_hashes_it_believes(settled: Set) -> None:
    envelope = settled.alone
    links = walk(settled, envelope)
    assert [link.name for link in links] == LINKS and all(link.ok for link in links)
    nobody = verification.verdict_of(links, pin=verification.NOTHING, on_chain=False)
    assert nobody.anchored is None and "anchoring" in nobody.unchecked
    assert [block.vouchers for block in nobody.blocks if "opening" in block.shows] == [()]

    believed = walk(settled, envelope, hashes=hashes(envelope))
    auditor = verification.verdict_of(believed, pin=verification.NOTHING, on_chain=False)
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
    assert links[-1].detail.endswith("by hospital-C: consent withdrawn")
    reader.close()
    chain.restore(snapshot)


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


# --- the command ------------------------------------------------------------------------------------------


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
    assert "warning: what the proofs say is as good as these blocks" in offline.stdout

    settled.stage.chain.keep_real_time()
    online = shell(f"{verify} --rpc {settled.stage.chain.url}", tmp_path)
    assert online.returncode == 4, online.stdout
    assert line.replace("nobody", "node") in online.stdout
    assert "anchored on chain: yes" in online.stdout

    (tmp_path / "early.json").write_bytes(replaced(settled.alone).encode())
    taken = shell(f"sealroom prove early.json --rpc {settled.stage.chain.url} --out proven.json", tmp_path)
    assert taken.returncode == 0, taken.stdout
    assert (tmp_path / "proven.json").read_bytes() == settled.alone.encode()
    silent = shell("sealroom prove early.json --rpc http://127.0.0.1:9 --out silent.json", tmp_path)
    assert silent.returncode == 3 and not (tmp_path / "silent.json").exists()

    for wrong in ("1300", "1300:0x12", f"x:0x{OTHER.hex()}", f"1:{OTHER.hex()}"):
        assert shell(f"{verify} --block-hash {wrong}", tmp_path).returncode == 2
