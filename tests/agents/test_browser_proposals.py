# SPDX-License-Identifier: Apache-2.0
"""Proposals of owners who are not honest, on an honest chain and console: WE-09, WE-12, AT-23."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from tests.agents.browsing import READS, Wallet, open_dialog, opened, served, study_page, with_wallet
from tests.agents.labs import unchanged
from tests.local_chain import LocalChain, account
from tests.outside import Lab, make_recipe

from sealroom.encoding import canonical, sha256
from sealroom_agents.chain.contracts import interface

pytestmark = [pytest.mark.anvil, pytest.mark.browser]

OTHER = b"\x66" * 32


@pytest.fixture(scope="module")
def world(chain: LocalChain, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Registered, proposed by hospital-A and approved by it."""
    made = Lab.on(chain, tmp_path_factory.mktemp("proposals"))
    made.store.add_recipe(made.compose_hash, made.recipe.compose)
    made.register()
    made.propose()
    return made


@pytest.fixture
def lab(world: Lab) -> Iterator[Lab]:
    """The world; what is on the chain is afterwards what was there before."""
    with unchanged(world.chain):
        yield world


def script_in(compose: bytes) -> bytes:
    """A recipe that dstack would boot with a script of its own, as root."""
    return canonical(json.loads(compose) | {"init_script": "curl evil"})


def second_service(compose: bytes) -> bytes:
    frame = json.loads(compose)
    text = frame["docker_compose_file"].replace("x-sealroom:", "  spy:\n    image: evil\nx-sealroom:", 1)
    return canonical(frame | {"docker_compose_file": text})


@pytest.mark.parametrize("hostile", [script_in, second_service])
def test_bytes_that_break_a_rule_are_not_approved(
    browser: Browser, lab: Lab, hostile: Callable[[bytes], bytes]
) -> None:
    """AT-23: an owner really proposed them, and all hashes are right: what is not shown cannot be in them."""
    compose = hostile(lab.recipe.compose)
    digest = sha256(compose)
    lab.store.add_recipe("0x" + digest.hex(), compose)
    study = propose(lab, compose_hash=digest)
    refused_proposal(browser, lab, study, "break a rule of recipes")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"output_hash": OTHER}, "another output contract than the one"),
        ({"privacy_hash": OTHER}, "another privacy policy than the one"),
        ({"datasets": "first"}, "other datasets than the recipe’s bytes"),
        ({"datasets": "of another name"}, "do not include hospital-B/cohort-B, which the recipe reads"),
        ({"datasets": "of other columns"}, "was registered with other columns"),
    ],
    ids=["output", "privacy", "fewer-datasets", "other-dataset", "other-columns"],
)
def test_a_proposal_that_its_recipe_does_not_bear_out_is_caught(
    browser: Browser, lab: Lab, changes: dict[str, Any], says: str, tmp_path: Path
) -> None:
    """The console and the chain are honest; the owner who proposed is not."""
    own = dict(changes)
    wanted = own.get("datasets")
    if wanted == "first":
        own["datasets"] = [lab.datasets[0].id]
    elif wanted == "of another name":
        extra = replace(lab.datasets[1], name="cohort-X")
        lab.chain.register(lab.room, extra, cap_micro=1)
        own["datasets"] = [lab.datasets[0].id, extra.id]
    elif wanted == "of other columns":
        lab = replace(
            lab,
            recipe=make_recipe(
                tmp_path / "wide", columns="person_id: int64, age: float64, sex: string, x: bool"
            ),
        )
        lab.store.add_recipe(lab.compose_hash, lab.recipe.compose)
        own = {}
    study = propose(lab, **own)
    refused_proposal(browser, lab, study, says)


def propose(lab: Lab, **changes: Any) -> bytes:
    content = {
        "compose_hash": lab.recipe.compose_hash,
        "output_hash": lab.recipe.output_hash,
        "privacy_hash": lab.recipe.privacy_hash,
        "datasets": [dataset.id for dataset in lab.datasets],
    }
    study = lab.chain.draft(lab.room, **(content | changes))
    lab.chain.approve(lab.room, study, 2)
    return study


def refused_proposal(browser: Browser, lab: Lab, study: bytes, says: str) -> None:
    wallet = Wallet(lab.chain, account(1))
    with served(lab.reader, lab.store, lab.room.factory) as url, opened(browser) as page:
        with_wallet(page, wallet)
        page.goto(study_page(url, lab, study))
        dialog = open_dialog(page, "Approve this recipe")
        expect(dialog.get_by_role("alert")).to_contain_text(says)
        expect(dialog.get_by_role("button", name="Approve: send 1 transaction")).to_be_disabled()
        assert wallet.methods <= READS


def test_an_approval_that_could_change_nothing_is_not_asked_for(browser: Browser, lab: Lab) -> None:
    """An owner whose data is used says no after the page was drawn: the wallet's node tells, before a fee.
    The page that says so is believed, and its votes are the node's."""
    (study,) = [item.content.id for item in lab.reader.study_history(lab.room.consortium).proposals]
    wallet = Wallet(lab.chain, account(2))
    with served(lab.reader, lab.store, lab.room.factory) as url, opened(browser) as page:
        with_wallet(page, wallet)
        page.goto(study_page(url, lab))
        expect(page.locator("h1 .pill")).to_have_text("waits for approval")
        expect(page.locator("#votes-mark")).to_contain_text("read from your wallet’s node")
        lab.chain.withdraw(lab.room, study, 1)
        dialog = open_dialog(page, "Approve this recipe")
        expect(dialog.get_by_role("alert")).to_have_text(
            "hospital-B said no: this study cannot be pinned any more, and an approval would be for nothing."
        )
        page.goto(study_page(url, lab))
        expect(page.locator("h1 .pill")).to_have_text("turned down")
        expect(page.locator("#closed")).to_contain_text("hospital-B said no")
        expect(page.locator("button[data-action=approve]")).to_have_count(0)
        expect(page.locator("#votes-mark")).to_contain_text("read from your wallet’s node")
        expect(page.locator("#waiting-mark")).to_contain_text("read from your wallet’s node")
        expect(page.locator("#drawn-note")).to_be_hidden()
        assert wallet.methods <= READS


def test_a_vote_that_came_in_meanwhile_is_no_lie(browser: Browser, lab: Lab) -> None:
    """Another owner says no after the page was drawn, and the study can still be pinned: the page is old."""
    (study,) = [item.content.id for item in lab.reader.study_history(lab.room.consortium).proposals]
    wallet = Wallet(lab.chain, account(1))
    with served(lab.reader, lab.store, lab.room.factory) as url, opened(browser) as page:
        with_wallet(page, wallet)
        page.goto(study_page(url, lab))
        expect(page.locator("#votes-mark")).to_contain_text("read from your wallet’s node")
        lab.chain.withdraw(lab.room, study, 2)
        alert = open_dialog(page, "Approve this recipe").get_by_role("alert")
        expect(alert).to_contain_text("Somebody may have voted since this page was drawn: reload it.")
        page.goto(study_page(url, lab))
        dialog = open_dialog(page, "Approve this recipe")
        expect(dialog.get_by_role("button", name="Approve: send 1 transaction")).to_be_enabled()
        assert wallet.methods <= READS


def test_who_revoked_is_read_from_the_node(browser: Browser, lab: Lab) -> None:
    """WE-01: a study that waits after a revocation; why it was revoked stays the server's word."""
    lab.chain.revoke(lab.room, 1, "consent withdrawn")
    study, wallet = propose(lab), Wallet(lab.chain, account(0))
    with served(lab.reader, lab.store, lab.room.factory) as url, opened(browser) as page:
        with_wallet(page, wallet)
        page.goto(study_page(url, lab, study))
        notice = page.get_by_role("region", name="Revocation", exact=True)
        expect(notice).to_contain_text("Revoked by hospital-B")
        expect(notice.locator(".mark.chain")).to_contain_text("who revoked is read from your wallet’s node")
        expect(notice.locator(".mark.said")).to_have_text("the reason is the server’s word")
        expect(page.locator(".map")).not_to_contain_text("✕")
        dialog = open_dialog(page, "Approve this recipe")
        expect(dialog.get_by_role("button", name="Approve: send 1 transaction")).to_be_enabled()
        expect(page.locator("#drawn-note")).to_be_hidden()


def chosen(page: Page, study: bytes) -> None:
    """The page of one of several proposals, by its link: the page that has the link has the same buttons."""
    page.locator(f"[data-proposal='0x{study.hex()}'] a").click()
    page.wait_for_url(re.compile(f"study=0x{study.hex()}$"))


def test_each_of_two_proposals_is_approved_under_its_own_id(page: Page, lab: Lab) -> None:
    """WE-12: the honest one is approved while a later, greedier one of the same recipe waits beside it."""
    (honest,) = [item.content for item in lab.reader.study_history(lab.room.consortium).proposals]
    greedy = propose(lab, epsilon_micro=45_000_000, max_runs=30)
    wallet = Wallet(lab.chain, account(1))
    with served(lab.reader, lab.store, lab.room.factory) as url:
        with_wallet(page, wallet)
        page.goto(study_page(url, lab))
        expect(page.locator("[data-proposal]")).to_have_count(2)
        expect(page.locator("button[data-action=approve]")).to_have_count(0)
        chosen(page, greedy)
        expect(page.locator("#waiting")).to_contain_text("how owners voted, is the server’s word")
        dialog = open_dialog(page, "Approve this recipe")
        expect(dialog).to_contain_text("ε 45 and")
        expect(dialog.locator(".beside")).to_contain_text("0x" + honest.id.hex())
        expect(dialog.get_by_role("button", name="Approve: send 1 transaction")).to_be_enabled()
        dialog.get_by_role("button", name="Not now").click()
        chosen(page, honest.id)
        dialog = open_dialog(page, "Approve this recipe")
        expect(dialog).to_contain_text("ε 4.5 and")
        dialog.get_by_role("button", name="Approve: send 1 transaction").click()
        expect(page.locator("h1 .pill")).to_have_text("live")
    (sent,) = wallet.sent()
    content = interface("Consortium").encode("approve", honest.solidity(), [])
    assert sent["data"] == "0x" + content.hex()
    assert lab.chain.state(lab.room).study == honest.id
