# SPDX-License-Identifier: Apache-2.0
"""What an account does by itself, in a real browser on a real chain: seats and datasets change hands in two
steps, an owner says no, the app drops a recipe. Each is read back, compared and tried before the wallet is
asked, and a call that was changed is caught (WE-01, WE-03, WE-04)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect
from tests.agents.browsing import Wallet, opened, served, with_wallet
from tests.agents.changing import SENDING, change, checked, refused, sent
from tests.agents.test_desk_safes import encoded
from tests.contracts import safes
from tests.local_chain import LocalChain, account, member
from tests.outside import Lab

from sealroom.encoding import to_hex
from sealroom.model import Machines, Roster
from sealroom_agents.chain.contracts import interface

pytestmark = [pytest.mark.anvil, pytest.mark.browser]

A, B, C, NEXT = account(0), account(1), account(2), account(7)
NOBODY = "0x" + "00" * 20
TWO_DAYS_S = 2 * 86_400


@pytest.fixture
def lab(chain: LocalChain, tmp_path: Path) -> Iterator[Lab]:
    snapshot = chain.snapshot()
    made = Lab.on(chain, tmp_path)
    made.register()
    yield made
    chain.restore(snapshot)


@pytest.fixture
def url(lab: Lab) -> Iterator[str]:
    with served(lab.reader, lab.store, lab.room.factory) as url:
        yield url


def signed(browser: Browser, lab: Lab, who: str, address: str) -> dict[str, Any]:
    """One account does what stands at an address; gives the call that its wallet was asked for."""
    with opened(browser) as page:
        wallet = Wallet(lab.chain, who)
        with_wallet(page, wallet)
        page.goto(address)
        checked(page)
        return sent(page, wallet)


def test_a_seat_changes_hands_in_two_steps(browser: Browser, lab: Lab, url: str) -> None:
    """Offered by its form, kept by its owner, offered again, and taken two days later by the other."""
    with opened(browser) as page:
        wallet = Wallet(lab.chain, A)
        with_wallet(page, wallet)
        page.goto(change(url, lab))
        seat = page.locator(f'[data-seat="{A}"]')
        seat.locator("summary").click()
        seat.locator("input[name=to]").fill(NEXT)
        seat.get_by_role("button", name="Show what changes").click()
        expect(page.locator('[data-then="offered to"]')).to_have_text(NEXT)
        expect(page.get_by_text("check the address with its owner")).to_be_visible()
        expect(page.locator("pre.example").first).to_contain_text(f"govern offer-seat --to {NEXT}")
        checked(page)
        call = sent(page, wallet)
    assert call["data"] == to_hex(interface("Consortium").encode("offerSeat", NEXT))
    assert lab.chain.call("Consortium", lab.room.consortium, "handover", 0)[0].lower() == NEXT

    with opened(browser) as page:
        wallet = Wallet(lab.chain, A)
        with_wallet(page, wallet)
        page.goto(f"{url}/needs-you?account={A}")
        page.locator('[data-kind="seat-offered"] a.button').click()
        expect(page.locator("h1")).to_contain_text("take its offer back")
        checked(page)
        sent(page, wallet)
    assert lab.chain.call("Consortium", lab.room.consortium, "handover", 0)[0] == NOBODY

    signed(browser, lab, A, change(url, lab, what="offer-seat", of=A, to=NEXT))
    with opened(browser) as page:
        page.goto(change(url, lab, what="accept-seat", of=A))
        expect(page.locator(".problems")).to_contain_text("not before")
        expect(page.locator("[data-send]")).to_have_count(0)
    lab.chain.advance(TWO_DAYS_S)
    lab.chain.send(1, lab.room.consortium, interface("Consortium").encode("confirm"))
    with opened(browser) as page:
        wallet = Wallet(lab.chain, NEXT)
        with_wallet(page, wallet)
        page.goto(f"{url}/needs-you?account={NEXT}&where=strangers")
        page.locator('[data-kind="accept-seat"] a.button').click()
        checked(page)
        sent(page, wallet)
    assert lab.chain.state(lab.room).owners[0].account == NEXT
    assert lab.chain.state(lab.room).owners[0].id == "hospital-A"


def test_datasets_change_hands_in_two_steps(browser: Browser, lab: Lab, url: str) -> None:
    data = lab.datasets[0].id
    with opened(browser) as page:
        wallet = Wallet(lab.chain, A)
        with_wallet(page, wallet)
        page.goto(change(url, lab))
        form = page.locator("form[data-offer]")
        form.get_by_label("hospital-A/cohort-A").check()
        form.locator("input[name=to]").fill(C)
        form.get_by_role("button", name="Show what changes").click()
        checked(page)
        call = sent(page, wallet)
    assert call["to"] == lab.room.ledger
    assert call["data"] == to_hex(interface("Ledger").encode("offer", [data], C))
    assert lab.chain.call("Ledger", lab.room.ledger, "offerOf", data)[0].lower() == C

    signed(browser, lab, A, change(url, lab, what="keep-datasets", datasets=[to_hex(data)]))
    assert lab.chain.call("Ledger", lab.room.ledger, "offerOf", data)[0] == NOBODY
    signed(browser, lab, A, change(url, lab, what="offer-datasets", datasets=[to_hex(data)], to=C))
    lab.chain.advance(TWO_DAYS_S)
    lab.chain.send(2, lab.room.consortium, interface("Consortium").encode("confirm"))
    with opened(browser) as page:
        wallet = Wallet(lab.chain, C)
        with_wallet(page, wallet)
        page.goto(f"{url}/needs-you?account={C}")
        page.locator('[data-kind="accept-dataset"] a.button').click()
        expect(page.locator(".problems")).to_contain_text("void then")
        checked(page)
        sent(page, wallet)
    assert lab.chain.call("Ledger", lab.room.ledger, "datasetOf", data)["holder"].lower() == C
    assert (
        lab.chain.call("Ledger", lab.room.ledger, "allowanceOf", data, lab.room.consortium)["epsilonCap"] == 0
    )


def roster(lab: Lab) -> tuple[bytes, bytes]:
    """hospital-A proposes that hospital-C leaves. Returns the id, and the call that votes for it."""
    wanted = Roster(remove=("hospital-C",), add=(), threshold=2)
    validity = lab.chain.validity(lab.chain.state(lab.room).roster_digest)
    content = (wanted.solidity(), validity.solidity())
    lab.chain.vote(lab.room, 0, "changeRoster", *content)
    return wanted.under(validity).id, interface("Consortium").encode("changeRoster", *content, [])


def test_an_owner_says_no_to_what_the_others_proposed(browser: Browser, lab: Lab, url: str) -> None:
    """From the queue; the proposer takes its own approval back, too. An owner confirms its seat."""
    proposal, _ = roster(lab)
    with opened(browser) as page:
        wallet = Wallet(lab.chain, B)
        with_wallet(page, wallet)
        page.goto(f"{url}/needs-you?account={B}")
        page.locator('[data-kind="decide-roster"] a.button').click()
        page.get_by_role("link", name="Say no instead").click()
        expect(page.locator(".sentence")).to_contain_text("there is no way back")
        expect(page.locator(".sentence")).to_contain_text("Who does not vote has not agreed either")
        checked(page)
        expect(page.locator("[data-send]")).to_have_text("Say no: send 1 transaction")
        call = sent(page, wallet)
    assert call["data"] == to_hex(interface("Consortium").encode("withdraw", proposal))
    signed(browser, lab, A, change(url, lab, what="withdraw", proposal=to_hex(proposal)))
    votes, _ = lab.chain.call("Consortium", lab.room.consortium, "votes", proposal)
    assert (votes["approved"], votes["withdrawn"]) == (0, 0b11)

    machines = Machines(os_images=(), devices=(b"\x77" * 32,))
    validity = lab.chain.validity(lab.chain.state(lab.room).charter)
    lab.chain.vote(lab.room, 0, "addMachines", machines.solidity(), validity.solidity())
    about = machines.under(validity).id
    signed(browser, lab, C, change(url, lab, what="withdraw", proposal=to_hex(about)))
    votes, _ = lab.chain.call("Consortium", lab.room.consortium, "votes", about)
    assert votes["withdrawn"] == 0b100

    call = signed(browser, lab, C, change(url, lab, what="confirm"))
    assert call["data"] == to_hex(interface("Consortium").encode("confirm"))


def test_the_app_drops_a_recipe_whose_study_has_ended(browser: Browser, lab: Lab, url: str) -> None:
    study = lab.draft(expiry=lab.chain.head_time() + TWO_DAYS_S)
    lab.chain.approve(lab.room, study, 0, 1)
    assert lab.chain.state(lab.room).live
    lab.chain.advance(TWO_DAYS_S)
    lab.chain.send(1, lab.room.consortium, interface("Consortium").encode("confirm"))
    compose = lab.recipe.compose_hash
    assert lab.chain.call("DstackApp", lab.room.app, "allowedComposeHashes", compose)
    with opened(browser) as page:
        wallet = Wallet(lab.chain, B)
        with_wallet(page, wallet)
        page.goto(f"{url}/needs-you?account={B}")
        page.locator('[data-kind="app-keeps-recipe"] a.button').click()
        expect(page.locator('[data-now="the app allows"]')).to_have_text(lab.compose_hash)
        checked(page)
        sent(page, wallet)
    assert not lab.chain.call("DstackApp", lab.room.app, "allowedComposeHashes", compose)


def test_another_call_than_was_asked_for_reaches_no_wallet(browser: Browser, lab: Lab, url: str) -> None:
    """A server that lies in who may take it, whose it is, the kind, the contract, or what stands; a wallet
    that may not."""
    consortium, ledger = interface("Consortium"), interface("Ledger")
    data = lab.datasets[0].id
    proposal, vote = roster(lab)
    seat = change(url, lab, what="offer-seat", of=A, to=NEXT)
    sets = change(url, lab, what="offer-datasets", datasets=[to_hex(data)], to=C)
    no = change(url, lab, what="withdraw", proposal=to_hex(proposal))
    now = 'data-now="offered to">nobody<'
    lies: list[tuple[str, str, dict[str, str], str]] = [
        (
            A,
            seat,
            {"data-data": to_hex(consortium.encode("offerSeat", account(9)))},
            "who may take the seat differs",
        ),
        (
            A,
            seat,
            {"data-data": to_hex(consortium.encode("acceptSeat", B))},
            "another change than this page shows",
        ),
        (A, seat, {"data-data": to_hex(consortium.encode("revoke", "x"))}, "of nothing that this page knows"),
        (
            A,
            seat,
            {"data-data": to_hex(consortium.encode("offerSeat", NEXT)) + "00"},
            "of nothing that this page knows",
        ),
        (A, seat, {"data-to": account(9)}, "the contract that it is sent to differs"),
        (A, seat, {now: now.replace("nobody", account(8))}, "your wallet’s node says nobody"),
        (B, seat, {}, "your wallet does not offer it"),
        (
            A,
            sets,
            {"data-data": to_hex(ledger.encode("offer", [data], account(9)))},
            "who may take them differs",
        ),
        (
            A,
            sets,
            {"data-data": to_hex(ledger.encode("offer", [lab.datasets[1].id], C))},
            "the datasets differs",
        ),
        (
            A,
            sets,
            {"data-data": to_hex(ledger.encode("accept", [data]))},
            "another change than this page shows",
        ),
        (B, sets, {}, "your wallet does not offer it"),
        (B, no, {"data-data": to_hex(consortium.encode("withdraw", b"\x55" * 32))}, "for another proposal"),
        (B, no, {"data-change": "roster", "data-data": to_hex(vote)}, "its kind differs"),
        (B, no, {"<span data-says>not yet": "<span data-says>approved"}, "“who must approve”"),
        (account(9), no, {}, "None of the accounts that your wallet offers is an owner"),
    ]
    for who, address, lie, says in lies:
        refused(browser, lab, address, who, lie, says)


def test_a_safe_gets_a_file_of_the_call_that_was_checked(
    browser: Browser, chain: LocalChain, tmp_path: Path
) -> None:
    """An owner that is a Safe: one of its signers checks, and what its owners execute is exactly that."""
    snapshot = chain.snapshot()
    safe = safes.deploy(chain, safes.V1_4_1).create([4, 5, 6], 2)
    lab = Lab.on(chain, tmp_path)
    members = [member(safe.address, "hospital-A"), member(B, "hospital-B")]
    lab.room = chain.create_consortium(members, threshold=1)
    with served(lab.reader, lab.store, lab.room.factory) as url, opened(browser) as page:
        wallet = Wallet(chain, account(4))
        with_wallet(page, wallet)
        page.goto(change(url, lab, what="offer-seat", of=safe.address, to=NEXT))
        page.get_by_role("button", name="Check with my wallet").click()
        button = page.get_by_role("button", name="Save the Safe file: send nothing")
        expect(button).to_be_visible()
        expect(page.locator("[data-send]")).to_be_hidden()
        expect(page.locator("[data-checks]")).to_contain_text("It is a Safe: 2 of its 3 owners sign.")
        with page.expect_download() as download:
            button.click()
        (transaction,) = json.loads(download.value.path().read_text())["transactions"]
        assert not wallet.methods & SENDING
    assert transaction["contractMethod"]["name"] == "offerSeat"
    assert transaction["contractInputsValues"]["to"].lower() == NEXT
    safe.execute(lab.room.consortium, encoded(transaction), signers=[4, 5])
    assert chain.call("Consortium", lab.room.consortium, "handover", 0)[0].lower() == NEXT
    chain.restore(snapshot)
