# SPDX-License-Identifier: Apache-2.0
"""A console that lies about a study, field by field: no approval of it can be signed, and the page says why.

WE-01, WE-02, WE-09, WE-12. The world is one and only read: each test serves it through a console of its own.
Two kinds of lies. In `TOLD` a whole console believes a falsified chain, so that its pages, its API and its
hashes agree with one another. In `SHOWN` and `ANSWERS` one answer says something else than the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from tests.agents.browsing import READS, Wallet, open_dialog, opened, served, study_page, with_wallet
from tests.local_chain import LocalChain, account
from tests.outside import Lab, make_recipe

from sealroom.model import Study
from sealroom_agents.chain import History
from sealroom_agents.chain.owner_events import Proposal
from sealroom_agents.facts import DatasetRecord
from sealroom_agents.index import Portrait
from sealroom_agents.index.facts import StudyDatasets

pytestmark = [pytest.mark.anvil, pytest.mark.browser]

OTHER = b"\x66" * 32


@pytest.fixture(scope="module")
def lab(chain: LocalChain, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Registered, proposed by hospital-A and approved by it."""
    made = Lab.on(chain, tmp_path_factory.mktemp("lies"))
    made.store.add_recipe(made.compose_hash, made.recipe.compose)
    made.register()
    made.propose()
    return made


@pytest.fixture(autouse=True)
def head(lab: Lab) -> None:
    """A block of now: the chain stands still otherwise, and nobody follows one whose head is old."""
    lab.chain.mine()


@pytest.fixture(scope="module")
def other(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The same study with another recipe, whose bytes are there and whose hashes fit; nobody proposed it."""
    recipe = make_recipe(tmp_path_factory.mktemp("other"), question="What else is there?")
    lab.store.add_recipe("0x" + recipe.compose_hash.hex(), recipe.compose)
    return replace(
        lab.reader.study_history(lab.room.consortium).proposals[0].content,
        compose_hash=recipe.compose_hash,
        output_hash=recipe.output_hash,
        privacy_hash=recipe.privacy_hash,
    )


@dataclass(frozen=True)
class Liar:
    """What a console says of a consortium, falsified."""

    history: Callable[[History], History] = lambda found: found
    view: Callable[[Any], Any] = lambda found: found
    told: Callable[[tuple[DatasetRecord, ...]], tuple[DatasetRecord, ...]] = lambda found: found
    approvals: tuple[str, ...] | None = None
    id: int | None = None

    def __call__(self, portrait: Portrait) -> Portrait:
        votes, facts = self.history(portrait.votes), portrait.facts
        (study,) = (one.content for one in votes.proposals)
        view = self.view(facts.view)
        if self.id is not None:
            view = replace(view, chain_id=self.id)
        (candidate,) = facts.candidates
        counted = candidate.approvals if study == candidate.study else ()
        counted = counted if self.approvals is None else self.approvals
        changed = replace(
            facts,
            view=view,
            candidates=(
                replace(
                    candidate, study=study, approvals=counted if self.approvals is None else self.approvals
                ),
            ),
            datasets=(StudyDatasets(study.id, self.told(facts.datasets[0].datasets)),),
        )
        return replace(portrait, facts=changed, votes=votes)


def restudied(**fields: Any) -> Callable[[History], History]:
    """The proposal with other content, under the id that this content has."""

    def change(history: History) -> History:
        (proposal,) = history.proposals
        return reproposed(content=replace(proposal.content, **fields))(history)

    return change


def reproposed(**fields: Any) -> Callable[[History], History]:
    """The proposal with another field."""

    def change(history: History) -> History:
        events = [replace(one, **fields) if isinstance(one, Proposal) else one for one in history.events]
        return replace(history, events=tuple(events))

    return change


def retold(**fields: Any) -> Callable[[tuple[DatasetRecord, ...]], tuple[DatasetRecord, ...]]:
    """One dataset with another field; a field of a record inside it is named with two underscores between."""

    def change(found: tuple[DatasetRecord, ...]) -> tuple[DatasetRecord, ...]:
        first, *rest = sorted(found, key=lambda one: one.name)
        for name, value in fields.items():
            outer, _, inner = name.partition("__")
            told = replace(getattr(first, outer), **{inner: value}) if inner else value
            first = replace(first, **{outer: told})
        return (first, *rest)

    return change


def reseated(**fields: Any) -> Callable[[Any], Any]:
    return lambda view: replace(
        view, owners=(view.owners[0], replace(view.owners[1], **fields), view.owners[2])
    )


@pytest.fixture(scope="module")
def honest(lab: Lab) -> Iterator[str]:
    """A console that does not lie by itself."""
    with served(lab.reader, lab.store, lab.room.factory) as address:
        yield address


@dataclass
class Desk:
    """One tab for all tests here, since none of them changes anything; each has a wallet of its own."""

    page: Page
    wallet: Wallet

    def __call__(self, raw: str) -> str:
        return self.wallet(raw)


@pytest.fixture(scope="module")
def desk(browser: Browser, lab: Lab) -> Iterator[Desk]:
    with opened(browser) as tab:
        made = Desk(tab, Wallet(lab.chain, account(1)))
        with_wallet(tab, made)
        yield made


def refused(desk: Desk, url: str, lab: Lab, says: str, before: Callable[[Page], None] | None = None) -> None:
    """The owner opens the page and presses Approve: the page says what is wrong, and no button signs."""
    page, desk.wallet = desk.page, Wallet(lab.chain, account(1))
    page.unroute_all(behavior="wait")
    if before:
        before(page)
    page.goto(study_page(url, lab))
    dialog = open_dialog(page, "Approve this recipe")
    expect(dialog.get_by_role("alert")).to_contain_text(says)
    for name in ("Approve: sign 1 message, send nothing", "Approve: send 1 transaction"):
        expect(dialog.get_by_role("button", name=name)).to_be_disabled()
    assert desk.wallet.methods <= READS, "nothing was asked of the wallet that an owner could sign"


def test_an_honest_console_is_believed(page: Page, lab: Lab) -> None:
    """The twin of all tests below: nothing is wrong, and the owner may sign."""
    with served(lab.reader, lab.store, lab.room.factory, lie=Liar()) as url:
        with_wallet(page, Wallet(lab.chain, account(1)))
        page.goto(study_page(url, lab))
        dialog = open_dialog(page, "Approve this recipe")
        expect(dialog.get_by_role("button", name="Approve: send 1 transaction")).to_be_enabled()
        ticks = dialog.locator(".checks li.ok").all_inner_texts()
        sources = [line.split(":")[0] for line in ticks]
        length = f"{len(lab.recipe.compose):,}".replace(",", "\u202f")
        assert sources == [
            f"Computed in this page from the recipe’s {length} bytes",
            "Asked of your wallet",
            "Computed in this page",
            *["Asked of your wallet’s node"] * 4,
            "Compared with the server",
        ]
        expect(page.locator("#drawn-source")).to_contain_text("Drawn in this page from the recipe’s bytes")
        expect(page.locator("#waiting-mark")).to_contain_text("read from your wallet’s node")  # said last
        expect(page.locator("#drawn-note")).to_be_hidden()


NODE = "Your wallet’s node knows no proposal of this study"
BYTES = "than the one in the recipe’s bytes"
PAST = "changed what an approval follows: one of this study counts no more"
BOOKS = "in “Datasets and budget”"
TOLD: dict[str, tuple[dict[str, Any], str]] = {
    "epsilon": ({"history": restudied(epsilon_micro=9_500_000)}, NODE),
    "delta": ({"history": restudied(delta_pico=9)}, NODE),
    "runs": ({"history": restudied(max_runs=30)}, NODE),
    "expiry": ({"history": restudied(expiry=2**33)}, NODE),
    "output": ({"history": restudied(output_hash=OTHER)}, f"another output contract {BYTES}"),
    "privacy": ({"history": restudied(privacy_hash=OTHER)}, f"another privacy policy {BYTES}"),
    "datasets": ({"history": restudied(datasets=(OTHER,), versions=(0,))}, NODE),
    "compose": ({"history": restudied(compose_hash=OTHER)}, "The server does not have the recipe’s bytes"),
    "versions": ({"history": restudied(versions=(1, 0))}, NODE),
    "basis": (
        {"history": restudied(basis=OTHER), "view": lambda view: replace(view, basis=OTHER)},
        PAST,
    ),
    "nonce": (
        {"history": restudied(nonce=7), "view": lambda view: replace(view, nonce=7)},
        PAST,
    ),
    "chain": ({"id": 8453}, "Your wallet is on chain 31337; this consortium lives on chain 8453"),
    "proposer": ({"history": reproposed(by=account(2))}, "in “proposer”"),
    "block": (
        {"history": lambda found: reproposed(at=replace(found.proposals[0].at, block=1))(found)},
        NODE,
    ),
    "owner-name": ({"view": reseated(id="hospital-X")}, "in “Owners and approvals”"),
    "owner-account": ({"view": reseated(account=account(7))}, "in “Owners and approvals”"),
    "owner-missing": (
        {"view": lambda view: replace(view, owners=view.owners[:2])},
        "in “Owners and approvals”",
    ),
    "approval-invented": ({"approvals": (account(0), account(2))}, "in “Owners and approvals”"),
    "approval-withheld": ({"approvals": ()}, "in “Owners and approvals”"),
    "threshold": ({"view": lambda view: replace(view, threshold=1)}, "in “quorum”"),
    "dataset-name": ({"told": retold(name="cohort-Z")}, BOOKS),
    "dataset-holder": ({"told": retold(holder_id="hospital-C")}, BOOKS),
    "dataset-version": ({"told": retold(number=2)}, BOOKS),
    "dataset-rows": ({"told": retold(version__rows=9)}, BOOKS),
    "dataset-id": ({"told": retold(id=OTHER)}, BOOKS),
    "lifetime-cap": ({"told": retold(account__epsilon_cap=1)}, BOOKS),
    "lifetime-spent": ({"told": retold(account__epsilon_spent=1)}, BOOKS),
    "lifetime-delta": ({"told": retold(account__delta_cap=1)}, BOOKS),
    "allowance-cap": ({"told": retold(allowance__epsilon_cap=1)}, BOOKS),
    "allowance-spent": ({"told": retold(allowance__delta_spent=1)}, BOOKS),
    "epsilon-a-day": ({"told": retold(allowance__epsilon_per_day=1)}, BOOKS),
    "runs-a-day": ({"told": retold(allowance__runs_per_day=1)}, BOOKS),
}


@pytest.mark.parametrize("lie", TOLD)
def test_a_console_that_agrees_with_itself_is_caught(desk: Desk, lab: Lab, lie: str) -> None:
    """Page, API and study id say the same, and it is not what the wallet's node or the recipe's bytes say."""
    falsified, says = TOLD[lie]
    with served(lab.reader, lab.store, lab.room.factory, lie=Liar(**falsified)) as url:
        refused(desk, url, lab, says)


def test_a_whole_other_study_is_caught(desk: Desk, lab: Lab, other: Study) -> None:
    """Another recipe, whose bytes, hashes and study id all fit one another: no owner proposed it."""
    fields = {name: getattr(other, name) for name in ("compose_hash", "output_hash", "privacy_hash")}
    liar = Liar(history=restudied(**fields))
    with served(lab.reader, lab.store, lab.room.factory, lie=liar) as url:
        refused(desk, url, lab, NODE)


def test_a_node_that_knows_another_study_stops_the_approval(page: Page, lab: Lab) -> None:
    """What is approved is compared with the chain as the owner's own wallet sees it."""
    study = lab.reader.study_history(lab.room.consortium).proposals[0].content.id

    class Elsewhere(Wallet):
        def __call__(self, raw: str) -> str:
            return super().__call__(raw).replace(study.hex(), "66" * 32)

    with served(lab.reader, lab.store, lab.room.factory) as url:
        wallet = Elsewhere(lab.chain, account(1))
        with_wallet(page, wallet)
        page.goto(study_page(url, lab))
        dialog = open_dialog(page, "Approve this recipe")
        expect(dialog.get_by_role("alert")).to_contain_text(NODE)
        assert wallet.methods <= READS


FULL = '<code class="hash full">0x'
WHY = " none of its data is used: any 2 are enough, if all whose data is used are among them"
SPENT = "in “What the study spent”"
OWNERS, DATASETS = "in “Owners and approvals”", "in “Datasets and budget”"
DATA = '<section class="panel" aria-labelledby="datasets">'
TABLE = '<table class="cards">\n    <thead><tr><th>Owner'
QUORUM = '<span class="words" data-shown="quorum"'
NOTE = '<p class="notice danger" id="drawn-note"'
REVOKED = '<section aria-label="Revocation"><h2>Revoked by hospital-B</h2></section>'
SVG = '<div class="meter">\n  <svg viewBox="0 0 100 6" preserveAspectRatio="none" role="img" aria-label="'
METER, METERS = f"<span>Study</span>{SVG}", f'class="budget">{SVG}'
CLOSED = f'<section class="notice warn" id="closed"><h2>hospital-C said no</h2></section>{NOTE}'
MAX_RUNS = "&#34;maxRuns&#34;: &#34;"
LEAVES, AGREED, ANALYSIS = "All that may leave", "What is agreed to", "What computes"
SHOWN: dict[str, tuple[str, str, str]] = {
    "name": (">small-study</span>", ">large-study</span>", "name"),
    "question": ("How many people are there by sex", "How many people are there", "question"),
    "compose-hash": (f"Compose hash</dt><dd>{FULL}", f"Compose hash</dt><dd>{FULL}6", AGREED),
    "output-hash": (f"Output contract</dt><dd>{FULL}", f"Output contract</dt><dd>{FULL}6", AGREED),
    "privacy-hash": (f"Privacy policy</dt><dd>{FULL}", f"Privacy policy</dt><dd>{FULL}6", AGREED),
    "study-id": (f"Study</dt><dd>{FULL}", f"Study</dt><dd>{FULL}6", AGREED),
    "budget": ("Budget</dt><dd>ε 4.5 and", "Budget</dt><dd>ε 0.5 and", AGREED),
    "cost-of-a-run": ("one run costs ε 1.5", "one run costs ε 0.1", AGREED),
    "unit": ("each <code>person_id</code>", "each <code>visit_id</code>", AGREED),
    "cohort": ("nothing about fewer than 20</dd>", "nothing about fewer than 2000</dd>", AGREED),
    "image": ("@sha256:1111", "@sha256:2222", AGREED),
    "guarantee": (">by-reading</strong>", ">by-construction</strong>", f"{AGREED}, {ANALYSIS}"),
    "promise": ("The promise rests on reading the script", "The promise rests on nothing", AGREED),
    "askers": ("Anyone may ask for runs", "The owners alone may ask for runs", AGREED),
    "compiled": (DATA, f'<div id="compiled">SELECT 1</div>{DATA}', "What runs instead"),
    "columns": ("<li><code>age</code> float64</li>", "", AGREED),
    "column-type": ("<code>age</code> float64", "<code>age</code> int64", AGREED),
    "person": ("</code> int64, the person", "</code> int64", AGREED),
    "dataset-kind": ("hospital-A/cohort-A (table cohort)", "hospital-A/cohort-A (files)", AGREED),
    "follows": (f"Follows</dt><dd>{FULL}", f"Follows</dt><dd>{FULL}6", AGREED),
    "studies-before": ("pinned until then: 0", "pinned until then: 5", AGREED),
    "version-agreed": ("the newest version", "version 1", AGREED),
    "field": ("<code>people</code></th>", "<code>nobody</code></th>", LEAVES),
    "kind": (">count</td>", ">counted</td>", LEAVES),
    "column": ("column: age;", "column: height;", LEAVES),
    "law": (">laplace</td>", ">gaussian</td>", LEAVES),
    "groups": ("<code>sex</code> = F, M", "<code>sex</code> = F", LEAVES),
    "bounds": ("lower: 0; upper: 120", "lower: 0; upper: 1", LEAVES),
    "epsilon": ('>ε 0.5</td>', '>ε 0.0001</td>', LEAVES),
    "limit": ("At most 4\u202f096 bytes", "At most 96 bytes", LEAVES),
    "instant": ("leaves 40 s after", "leaves 4 s after", LEAVES),
    "one-field-less": ('<th scope="row"><code>age</code></th>', "", LEAVES),
    "odds": ("81.8 in 100", "51.8 in 100", "What ε buys"),
    "exactness": ("people in a group ±6<", "people in a group ±1<", "What ε buys"),
    "twelve-words": ('<ol class="twelve"><li>', '<ol class="twelve"><li>a', "Twelve words"),
    "analysis": ("import pandas", "import pandaz", ANALYSIS),
    "chain-id": ('data-shown="chain">31337</dd>', 'data-shown="chain">8453</dd>', "in “chain”"),
    "consortium-shown": (f'"consortium">{FULL}', f'"consortium">{FULL}6', "in “consortium”"),
    "basis": ('data-shown="basis">0x', 'data-shown="basis">0x6', "in “basis”"),
    "proposer": ('data-shown="proposer">hospital-A', 'data-shown="proposer">hospital-B', "in “proposer”"),
    "proposer-gone": ('data-shown="proposer"', "", "does not show “proposer”"),
    "quorum": ("1 of 3 approved <span", "2 of 3 approved <span", "in “quorum”"),
    "vote": ('<span class="vote wait">pending', '<span class="vote yes">approved', OWNERS),
    "no-invented": ('<span class="vote wait">pending', '<span class="vote no">withdrew', OWNERS),
    "turned-down": (NOTE, CLOSED, "in “Turned down”. Somebody may have voted since"),
    "state": (">waits for approval</span>", ">turned down</span>", "in “Turned down”"),
    "revoked": (NOTE, REVOKED + NOTE, "in “Revocation”"),
    "map": ('class="small">·</text>', 'class="no">✕</text>', "draws votes into the map"),
    "meter": (f"{METER}0 of", f"{METER}4 of", SPENT),
    "meters": (f"{METERS}0 of", f"{METERS}4 of", DATASETS),
    "runs-opened": ("0 of 3 runs", "2 of 3 runs", SPENT),
    "leaves-hidden": ('"drawn-leaves"', '"drawn-leaves" hidden', "hides “All that may leave”"),
    "votes-hidden": (TABLE, TABLE.replace(">", " hidden>", 1), "hides “Owners and approvals”"),
    "quorum-hidden": (QUORUM, f"{QUORUM} hidden", "hides “quorum”"),
    "dataset-rows": (">1\u202f000</td>", ">10\u202f000</td>", DATASETS),
    "dataset-version": ("1, the newest</td>", "1, pinned</td>", DATASETS),
    "lifetime": ('"lifetime">ε 0 of 4.5', '"lifetime">ε 0 of 45', DATASETS),
    "allowance": ('"allowance">ε 0 of 4.5', '"allowance">ε 0 of 0.5', DATASETS),
    "a-day": ("ε 4.5 and 100 runs", "ε 4.5 and 1 runs", DATASETS),
    "content": (f"{MAX_RUNS}3&", f"{MAX_RUNS}30&", AGREED),
    "content-form": (f"{MAX_RUNS}3&", f"{MAX_RUNS}03&", "maxRuns is no uint32"),
    "consortium": ('data-consortium="0x', 'data-consortium="0x6', "The address bar names another consortium"),
    "chain": ('data-chain="31337"', 'data-chain="1"', "in “chain”"),
}  # fmt: skip


@pytest.mark.parametrize("lie", SHOWN)
def test_a_page_that_shows_something_else_is_caught(desk: Desk, honest: str, lab: Lab, lie: str) -> None:
    """One field of the HTML, and nothing else, is not what the bytes or the wallet's node say."""
    before, after, says = SHOWN[lie]

    def tell(page: Page) -> None:
        def change(route: Any) -> None:
            answer = route.fetch()
            text = answer.text()
            assert before in text, "the test changes nothing"
            route.fulfill(response=answer, body=text.replace(before, after))

        page.route("**/studies/*", change)

    refused(desk, honest, lab, says, tell)


def test_what_the_server_drew_gives_way_to_what_the_bytes_say(page: Page, lab: Lab) -> None:
    """Before any button: the table is the bytes', and the reader is told that the server's was another."""
    with served(lab.reader, lab.store, lab.room.factory) as url:

        def change(route: Any) -> None:
            answer = route.fetch()
            route.fulfill(
                response=answer, body=answer.text().replace("lower: 0; upper: 120", "lower: 0; upper: 1")
            )

        page.route("**/studies/*", change)
        page.goto(study_page(url, lab))
        expect(page.locator("#drawn-note")).to_contain_text("The server had drawn something else")
        expect(page.locator("#drawn-note")).to_contain_text(LEAVES)
        expect(page.locator("#drawn-leaves")).to_contain_text("lower: 0; upper: 120")


CALLS, RECIPES, CALL = "**/v1/calls", "**/v1/recipes/*", "prepared another call"
ANSWERS: dict[str, tuple[str, Callable[[dict[str, Any]], Any], str]] = {
    "call-data": (CALLS, lambda call: call | {"data": call["data"][:-2] + "ff"}, CALL),
    "call-act": (CALLS, lambda call: call | {"data": "0x65b2a863"}, CALL),
    "call-address": (CALLS, lambda call: call | {"to": "0x" + "66" * 20}, CALL),
    "call-chain": (CALLS, lambda call: call | {"chainId": 1}, CALL),
    "call-function": (CALLS, lambda call: call | {"function": "revoke(string)"}, CALL),
    "recipe": (RECIPES, lambda recipe: recipe | {"name": "other"}, "do not have the compose hash"),
    "recipe-gone": (RECIPES, lambda recipe: None, "The server does not have the recipe’s bytes"),
}


@pytest.mark.parametrize("lie", ANSWERS)
def test_an_answer_that_is_another_is_caught(desk: Desk, honest: str, lab: Lab, lie: str) -> None:
    path, change, says = ANSWERS[lie]

    def tell(page: Page) -> None:
        def lying(route: Any) -> None:
            answer = route.fetch()
            body = change(answer.json())
            route.fulfill(status=200 if body else 404, json=body or {"message": "gone"})

        page.route(path, lying)

    refused(desk, honest, lab, says, tell)


@pytest.fixture
def own_chain() -> Iterator[LocalChain]:
    with LocalChain.start() as running:
        yield running


def test_the_no_of_another_owner_is_not_hidden_nor_why_it_counts(
    page: Page, own_chain: LocalChain, tmp_path: Path
) -> None:
    """WE-01: a console that shows it as undecided is caught. What is drawn beside votes is the node's."""
    chain = own_chain
    lab = Lab.on(chain, tmp_path / "no")
    lab.store.add_recipe(lab.compose_hash, lab.recipe.compose)
    lab.register()
    chain.withdraw(lab.room, lab.propose(), 2)
    lies = [
        ('<span class="seat"></span>', '<span class="seat approved"></span>'),
        (">required<", ">optional<"),
    ]

    def change(route: Any) -> None:
        answer = route.fetch()
        text = answer.text()
        for before, after in lies:
            assert before in text, "the test changes nothing"
            text = text.replace(before, after)
        route.fulfill(response=answer, body=text)

    with served(lab.reader, lab.store, lab.room.factory) as url:
        page.route("**/studies/*", change)
        with_wallet(page, Wallet(chain, account(1)))
        page.goto(study_page(url, lab))
        expect(page.locator("#votes-mark")).to_contain_text("names, accounts and votes read from")
        expect(page.locator(f"[data-owner='{account(2)}'] [data-cell=vote]")).to_have_text("withdrew" + WHY)
        expect(page.locator(".quorum .seat.approved")).to_have_count(1)
        expect(page.locator(".map")).not_to_contain_text("ε")
        lies[:] = [('<span class="vote no">withdrew</span>', '<span class="vote wait">pending</span>')]
        page.goto(study_page(url, lab))
        dialog = open_dialog(page, "Approve this recipe")
        expect(dialog.get_by_role("alert")).to_contain_text(OWNERS)
        expect(dialog.get_by_role("button", name="Approve: send 1 transaction")).to_be_disabled()
