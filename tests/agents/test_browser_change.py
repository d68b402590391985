# SPDX-License-Identifier: Apache-2.0
"""The pages of what awaits an account and of changes, in a real browser on a real chain: each change is read
back, compared and tried before the wallet is asked, and a call that was changed is caught (WE-01, WE-04)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from tests.agents.browsing import Wallet, opened, served, with_wallet
from tests.agents.changing import change, checked, refused, sent
from tests.agents.labs import registered
from tests.local_chain import CAP_PICO, account
from tests.outside import Lab

from sealroom.encoding import to_hex
from sealroom.model import Machines, MachinesProposal
from sealroom_agents.chain.contracts import interface
from sealroom_agents.console import governing_script
from sealroom_agents.governance.files import content_file, in_call

pytestmark = [pytest.mark.anvil, pytest.mark.browser]

A, B, C = (account(n) for n in range(3))


def test_the_page_knows_what_governs_by_itself() -> None:
    assert governing_script.PATH.read_text() == governing_script.text(), "run `make abi`, and commit"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with registered(tmp_path_factory.mktemp("change")) as made:
        yield made


@pytest.fixture(scope="module")
def url(lab: Lab) -> Iterator[str]:
    with served(lab.reader, lab.store, lab.room.factory) as url:
        yield url


def test_an_owner_changes_what_may_be_spent_on_its_dataset(browser: Browser, lab: Lab, url: str) -> None:
    """From the form to the chain; what the server shows as now is compared with the wallet's own node. Where
    several wallets answer, its owner chooses one first."""
    data = lab.datasets[1]
    names = [
        {"uuid": f"wallet-{n}", "name": f"Wallet {n}", "rdns": f"w{n}.example", "icon": ""} for n in (1, 2)
    ]
    with opened(browser) as page:
        wallet = Wallet(lab.chain, B)
        with_wallet(page, wallet, announced=names)
        page.goto(change(url, lab, dataset=to_hex(data.id)))
        form = page.locator(f'[data-dataset="{to_hex(data.id)}"] form').first
        expect(form.locator("input[name=delta]")).to_have_value("1e-6")
        form.locator("input[name=epsilon]").fill("3")
        form.locator("input[name=day]").fill("0")
        form.locator("input[name=runs]").fill("2")
        form.get_by_role("button").click()
        expect(page.locator('[data-now="ε in all"]')).to_have_text("4.5")
        expect(page.locator('[data-then="ε in all"]')).to_have_text("3")
        expect(page.locator("[data-readback]")).to_contain_text("ε 3 and 2 runs")
        expect(page.locator("pre.example").first).to_contain_text(f"govern allow {to_hex(data.id)} --cap 3")
        page.get_by_role("button", name="Check with my wallet").click()
        expect(page.locator("[data-problem]")).to_contain_text("Several wallets answered here")
        page.get_by_role("radio", name="Wallet 2").check()
        expect(page.locator("[data-send]")).to_be_enabled()
        call = sent(page, wallet)
    assert (call["to"], call["from"]) == (lab.room.ledger, B)
    limits = (3_000_000, CAP_PICO, 3_000_000, 2)
    assert call["data"] == to_hex(interface("Ledger").encode("allow", data.id, lab.room.consortium, limits))
    left = lab.chain.call("Ledger", lab.room.ledger, "allowanceOf", data.id, lab.room.consortium)
    assert (left["epsilonCap"], left["runsPerDay"]) == (3_000_000, 2)


def test_another_call_than_was_asked_for_reaches_no_wallet(browser: Browser, lab: Lab, url: str) -> None:
    """A server that lies in the call, the contract, the present value or the kind; and a wallet that does not
    hold the dataset."""
    data = lab.datasets[0]
    asked = change(url, lab, what="allow", dataset=to_hex(data.id), epsilon="2")
    other = interface("Ledger").encode("allow", data.id, lab.room.consortium, (9_000_000, 0, 9_000_000, 100))
    seat = interface("Consortium").encode("offerSeat", account(9))
    now, then = 'data-now="ε in all">4.5<', 'data-then="ε in all">2<'
    lies: list[tuple[str, dict[str, str], str]] = [
        (A, {"data-data": to_hex(other)}, "the budget differs"),
        (A, {"data-data": to_hex(seat)}, "of nothing that this page knows"),
        (A, {"data-change": "lifetime"}, "another change than this page shows"),
        (A, {"data-to": account(9)}, "the contract that it is sent to differs"),
        (A, {now: now.replace("4.5", "7")}, "as 7; your wallet’s node says 4.5"),
        (A, {then: then.replace("2", "0.2")}, "as 0.2; the call says 2"),
        (A, {"<tr class": "<tr><td>more</td></tr><tr class"}, "more or fewer lines than the call has"),
        (
            A,
            {"spent on cohort-A here</h1>": "spent on cohort-B here</h1>"},
            "it is What may be spent on cohort-A",
        ),
        (A, {"<span data-holder>": "<span data-holder>0x"}, "“who decides” as 0x0x"),
        (C, {}, "holds the dataset, and your wallet does not offer it"),
    ]
    for who, lie, says in lies:
        refused(browser, lab, asked, who, lie, says)


def test_what_the_page_shows_of_a_vote_is_what_the_call_and_the_node_say(
    browser: Browser, lab: Lab, url: str
) -> None:
    """WE-01: names, seats, thresholds and votes; and a draft that was pasted, which another call replaces."""
    asked = change(url, lab, what="roster", remove=["hospital-C"], threshold="2")
    for lie, says in (
        ({"no seat; its data lock": "as now"}, "the call says no seat; its data lock"),
        ({">2 of 2<": ">1 of 2<"}, "the call says 2 of 2"),
        ({f"seat of {B}": f"seat of {account(7)}"}, f"your wallet’s node says seat of {B}"),
        ({"<span data-says>not yet": "<span data-says>approved"}, "“who must approve”"),
        ({"<span data-needed>2 of 3": "<span data-needed>1 of 3"}, "“who must approve” as 1 of 3"),
    ):
        refused(browser, lab, asked, A, lie, says, ticks=2)
    under = lab.chain.validity(lab.chain.state(lab.room).charter)
    one, other = (Machines(os_images=(), devices=(digit * 32,)).under(under) for digit in (b"\x77", b"\x66"))
    call = interface("Consortium").encode("addMachines", *in_call(other), [])
    asked = change(url, lab, what="draft", draft=json.dumps(content_file("machines", one)))
    refused(
        browser,
        lab,
        asked,
        A,
        {"77</span>7777</code></td>": "77</span>6666</code></td>"},
        "0x" + "77" * 32 + ". Reload",
        ticks=2,
    )
    refused(browser, lab, asked, A, {"data-data": to_hex(call), "data-proposal": ""}, "the draft differs")


def test_owners_change_and_a_second_owner_finds_and_approves_it(browser: Browser, lab: Lab, url: str) -> None:
    """hospital-A proposes that hospital-C leaves; hospital-B finds it under “Needs you”, and its vote carries
    it. A draft of machines that the desk wrote is read, too."""
    with opened(browser) as page:
        wallet = Wallet(lab.chain, A)
        with_wallet(page, wallet)
        page.goto(change(url, lab, what="roster", remove=["hospital-C"], threshold="2"))
        expect(page.locator('[data-then="hospital-C"]')).to_contain_text("its data lock")
        expect(page.get_by_text("All 2 owners would be needed")).to_be_visible()
        checked(page)
        sent(page, wallet)
    with opened(browser) as page:
        page.set_viewport_size({"width": 390, "height": 800})
        wallet = Wallet(lab.chain, B)
        with_wallet(page, wallet)
        page.goto(url + "/needs-you")
        page.get_by_role("button", name="Ask my wallet").click()
        expect(page.locator('[data-kind="decide-roster"]')).to_contain_text("remove hospital-C")
        page.wait_for_load_state()  # with its style
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.locator('[data-kind="decide-roster"] a.button').click()
        expect(page.locator(".voters")).to_contain_text("approved")
        checked(page)
        call = sent(page, wallet)
        assert call["to"] == lab.room.consortium
    assert [one.id for one in lab.chain.state(lab.room).owners] == ["hospital-A", "hospital-B"]

    validity = lab.chain.validity(lab.chain.state(lab.room).charter)
    machines = Machines(os_images=(), devices=(b"\x77" * 32,)).under(validity)
    assert isinstance(machines, MachinesProposal)
    with opened(browser) as page:
        wallet = Wallet(lab.chain, A)
        with_wallet(page, wallet)
        page.goto(change(url, lab, what="draft", draft=json.dumps(content_file("machines", machines))))
        expect(page.locator("[data-readback]")).to_contain_text("0x" + "77" * 32)
        expect(page.locator("[data-readback]")).to_contain_text(to_hex(machines.id))
        checked(page)


def test_a_study_is_proposed_from_its_recipe(browser: Browser, lab: Lab, url: str, tmp_path: Path) -> None:
    """The file is handed in, checked, matched with what is registered, and proposed by the first approval; a
    file that is no recipe is refused in words. A server that names another dataset of the same owner, or
    another name, is caught (WE-01)."""
    file, wrong = tmp_path / "app-compose.json", tmp_path / "wrong.json"
    file.write_bytes(lab.recipe.compose)
    wrong.write_bytes(b"{}")
    with opened(browser) as page:
        wallet = Wallet(lab.chain, A)
        with_wallet(page, wallet)
        page.goto(change(url, lab))
        expect(page.locator("[data-upload]")).to_be_visible()
        page.set_input_files("[data-upload]", wrong)
        expect(page.locator("[data-upload-problem]")).to_contain_text("no recipe that can be proposed")
        page.set_input_files("[data-upload]", file)
        form = page.locator("form[data-study]")
        expect(form.locator("input[name=recipe]")).to_have_value(lab.compose_hash)
        form.locator("input[name=runs]").fill("3")
        form.get_by_role("button", name="Check and show").click()
        expect(page.locator('[data-then="datasets"]')).to_contain_text("hospital-A/cohort-A")
        expect(page.get_by_text("cohort-B has ε 3 left here: 2 of all runs fit.")).to_be_visible()
        checked(page)
        expect(page.locator("[data-checks]")).to_contain_text("hospital-A/cohort-A, hospital-B/cohort-B")
        asked = page.url
        extra = replace(lab.datasets[1], name="cohort-X")
        lab.chain.register(lab.room, extra, cap_micro=1)
        honest = page.locator("[data-change]").get_attribute("data-data") or ""
        ids = [to_hex(one.id)[2:] for one in (lab.datasets[1], extra)]
        for lie, says in (
            ({"data-data": honest.replace(*ids), "data-proposal": ""}, "do not include hospital-B/cohort-B"),
            ({"hospital-A/cohort-A<br>": "hospital-A/cohort-Z<br>"}, "the call says hospital-A/cohort-A"),
            ({">Propose small-study<": ">Propose large-study<"}, "it is Propose small-study"),
        ):
            refused(browser, lab, asked, A, lie, says, ticks=2)
        sent(page, wallet)
    study = lab.reader.study_history(lab.room.consortium).proposals[-1].content
    assert (study.compose_hash, study.max_runs) == (lab.recipe.compose_hash, 3)
