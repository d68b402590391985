# SPDX-License-Identifier: Apache-2.0
"""The governance desk: every action of an owner, against the real contracts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.agents.office import GATE, LETTERS, STRANGER, Office, recipe, recipe_bytes
from tests.local_chain import Dataset, LocalChain, account

from sealroom.encoding import to_hex
from sealroom.recipe import parse
from sealroom_agents.chain.contracts import interface
from sealroom_agents.released import LOCAL_IMAGE

pytestmark = pytest.mark.anvil
DAY_S = 86_400


@pytest.fixture(scope="module")
def chain() -> Iterator[LocalChain]:
    with LocalChain.start() as chain:
        yield chain


@pytest.fixture
def office(chain: LocalChain, tmp_path: Path) -> Iterator[Office]:
    """Four hospitals with a platform and their datasets; three grant."""
    before = chain.snapshot()
    office = Office.open(chain, tmp_path)
    office.adopt()
    office.datasets()
    yield office
    chain.restore(before)


# --- from a recipe to a live study, and stopped ------------------------------------------------------------


def test_a_study_is_proposed_from_its_recipe_approved_and_revoked(office: Office) -> None:
    given = "--recipe", office.file("app-compose.json")
    shown = office.text("propose", *given, "--runs", "2", "--out", office.file("p.json"), by=0)
    for words in (
        "leaves",
        "people: Number of people by age_band and sex",
        "it is the first study",
        "it still waits for",
    ):
        assert words in shown
    (found,) = office.govern("pending")["proposals"]
    study = found["id"]
    assert found["kind"] == "study" and found["approved"] == ["hospital-A"]
    assert found["missing"] == ["hospital-B", "hospital-C", "hospital-D"] and found["more"] == 0
    read = recipe()
    assert found["content"]["composeHash"] == to_hex(read.compose_hash)
    assert found["content"]["epsilonMicro"] == 2 * read.epsilon_micro
    assert office.read("p.json")["content"] == found["content"]

    office.approve(study, 1, 2)
    last = office.approve(study, 3)
    assert last["effective"] and office.govern("status")["live"]
    assert office.govern("show", study)["live"]
    assert office.govern("pending")["proposals"] == []

    stopped = office.govern("revoke", "--reason", "consent withdrawn", by=1)
    assert (stopped["revoked"], stopped["by"], stopped["study"]) == (True, "hospital-B", study)
    status = office.govern("status")
    assert (status["live"], status["revokedBy"], status["vetoes"]) == (False, "hospital-B", ["hospital-B"])
    newest = office.govern("history", "--limit", "1")["events"][0]
    assert "hospital-B revoked study" in newest["words"] and "consent withdrawn" in newest["words"]


def test_what_was_approved_last_is_compared_with_what_is_asked_now(office: Office) -> None:
    study = office.propose()
    office.approve(study, 1, 2, 3)
    changed = recipe_bytes().replace(b"free light chains relate", b"free light chains relate,")
    office.file("before.json", recipe_bytes())
    office.file("app-compose.json", changed)
    later = office.govern("propose", "--recipe", office.file("app-compose.json"), by=0)["proposal"]
    arguments = later, "--recipe", office.file("app-compose.json"), "--before", office.file("before.json")
    shown = office.text("approve", *arguments, by=1)
    assert "ε: 1.5; it was 3" in shown and "runs: 1; it was 2" in shown
    assert "-asks: How do kidney" in shown and "+asks: How do kidney" in shown

    code, words, _ = office.refused(
        "approve",
        later,
        "--recipe",
        office.file("app-compose.json"),
        "--before",
        office.file("app-compose.json"),
        by=2,
    )
    assert code == "proposal-differs" and "approved last" in words


def test_a_study_takes_its_recipe_or_the_word_blind(office: Office) -> None:
    """CH-38: what leaves stands in the recipe alone."""
    study = office.propose()
    code, _, hint = office.refused("approve", study, by=1)
    assert code == "recipe-needed" and "--blind" in hint
    other = recipe_bytes().replace(b"risk of death", b"risk of dying")
    code, words, _ = office.refused("approve", study, "--recipe", office.file("other.json", other), by=1)
    assert code == "proposal-differs" and to_hex(parse(other).compose_hash) in words
    answer = office.govern("approve", study, "--blind", by=1)
    assert answer["approved"] == ["hospital-A", "hospital-B"]
    assert "nobody here has read the recipe: what leaves is not known" in answer["warnings"]


def test_a_proposer_without_a_seat_writes_a_file_that_owners_approve(office: Office) -> None:
    given = "--recipe", office.file("app-compose.json"), "--draft", "--out", office.file("p.json")
    drafted = office.govern("propose", *given)
    assert office.govern("pending")["proposals"] == []
    vote = "--proposal", office.file("p.json"), "--recipe", office.file("app-compose.json")
    for owner in range(4):
        answer = office.govern("approve", *vote, by=owner)
    assert answer["effective"] and answer["proposal"] == drafted["proposal"]


def test_a_study_names_exactly_the_datasets_of_its_recipe(office: Office) -> None:
    stranger = Dataset(owner=0, name="cohort-Z")
    office.chain.register(office.room, stranger, cap_micro=1)
    drafted = office.govern(
        "propose", "--recipe", office.file("app-compose.json"), "--draft", "--out", office.file("p.json")
    )
    content = {
        **drafted["content"],
        "datasets": sorted([*drafted["content"]["datasets"], to_hex(stranger.id)]),
    }
    content["versions"] = [0] * 5
    office.file("p.json", {"version": 2, "kind": "study", "content": content})
    vote = "--proposal", office.file("p.json"), "--recipe", office.file("app-compose.json")
    code, words, _ = office.refused("approve", *vote, by=0)
    assert code == "proposal-differs" and "hospital-A/cohort-Z" in words


def test_registrations_must_be_those_of_the_recipe(office: Office, tmp_path: Path) -> None:
    own = Dataset(owner=0, name="cohort-A")
    code, words, _ = office.refused(
        "propose",
        "--recipe",
        office.file("app-compose.json"),
        "--registrations",
        office.registration(own),
        by=0,
    )
    assert code == "dataset-not-in-recipe" and "cohort-A" in words


# --- platform, machines, roster ----------------------------------------------------------------------------


def test_machines_are_added_under_a_live_study_by_all_who_approved_it(office: Office) -> None:
    study = office.propose()
    office.approve(study, 1, 2, 3)
    device = "0x" + 64 * "7"
    first = office.govern("machines", "--device", device, by=0)
    assert first["missing"] == ["hospital-B", "hospital-C", "hospital-D"]
    for owner in (1, 2, 3):
        answer = office.govern("approve", first["proposal"], "--device", device, by=owner)
    assert answer["effective"]
    status = office.govern("status")
    assert status["live"] and device in status["platform"]["devices"]


def test_a_platform_from_a_file_replaces_the_one_before(office: Office) -> None:
    study = office.propose()
    office.approve(study, 1, 2, 3)
    wanted = {**office.govern("status")["platform"], "gateCompose": "0x" + 64 * "e"}
    first = office.govern("platform", "--file", office.file("platform.json", wanted), by=0)
    shown = office.text("show", first["proposal"])
    assert "the live study ends" in shown and "the gate stays" in shown
    against = "--against", office.file("platform.json")
    for owner in (1, 2):
        answer = office.govern("approve", first["proposal"], *against, by=owner)
    assert answer["effective"] and not office.govern("status")["live"]


def test_an_incomplete_platform_is_refused_by_the_name_of_its_field(office: Office) -> None:
    wanted = {**office.govern("status")["platform"], "policyHash": "0x" + 64 * "0"}
    code, words, _ = office.refused("platform", "--file", office.file("platform.json", wanted), by=0)
    assert code == "transaction-reverted" and words.startswith("policyHash is zero")


def test_a_roster_is_changed_and_says_whose_data_locks(office: Office) -> None:
    newcomer = {
        "account": account(7),
        "id": "hospital-E",
        "jurisdiction": "FR",
        "regimes": ["UK-GDPR", "SOC2"],
    }
    given = "--remove", "hospital-D", "--add", office.file("e.json", newcomer)
    first = office.govern("roster", *given, by=0)
    assert any("cohort-D" in words for words in first["warnings"])
    (removed,) = office.govern("pending")["proposals"]
    assert removed["kind"] == "roster" and removed["content"]["remove"] == ["hospital-D"]
    for owner in (1, 2):
        answer = office.govern("approve", first["proposal"], "--against", office.file("e.json"), by=owner)
    assert answer["effective"]
    owners = office.govern("status")["owners"]
    assert [owner["id"] for owner in owners] == ["hospital-A", "hospital-B", "hospital-C", "hospital-E"]
    code, words, _ = office.refused("revoke", "--reason", "stop", by=3)
    assert code == "transaction-reverted" and account(3) in words


def test_two_votes_for_two_rosters_are_warned_of(office: Office) -> None:
    office.govern("roster", "--remove", "hospital-D", by=0)
    office.govern("roster", "--remove", "hospital-C", by=0)
    warnings = office.govern("pending")["warnings"]
    assert any("hospital-A voted for two roster proposals" in words for words in warnings)
    warnings = office.govern("pending", "--owner", account(3))["warnings"]
    assert any("removes hospital-D: you" in words for words in warnings)


def test_a_silent_owner_is_removed_after_its_time_and_not_before(chain: LocalChain, tmp_path: Path) -> None:
    before = chain.snapshot()
    office = Office.open(chain, tmp_path, threshold=4)
    assert any("all 4 owners are needed" in words for words in office.govern("status")["warnings"])
    first = office.govern("roster", "--remove", "hospital-D", by=0)["proposal"]
    for owner in (1, 2):
        office.govern("approve", first, by=owner)
    code, words, hint = office.refused("remove-silent", first, by=STRANGER)
    assert code == "transaction-reverted" and "is not due" in words and "30 days" in hint
    assert "can be removed from" in office.text("show", first)
    chain.advance(30 * DAY_S)
    done = office.govern("remove-silent", first, by=STRANGER)
    assert done["owners"] == ["hospital-A", "hospital-B", "hospital-C"] and done["threshold"] == 3
    assert any("its data lock" in words for words in done["warnings"])
    chain.restore(before)


def test_a_removal_joins_no_open_one_that_ends_before_silence_is_over(
    chain: LocalChain, tmp_path: Path
) -> None:
    before = chain.snapshot()
    office = Office.open(chain, tmp_path, threshold=4)
    removal = "roster", "--remove", "hospital-D"
    short = office.govern(*removal, "--days", "30", by=3)
    assert any("pass more --days" in words for words in short["warnings"])
    assert "nobody can be removed as silent" in office.text("show", short["proposal"])
    first = office.govern(*removal, by=0)
    assert first["proposal"] != short["proposal"]
    assert not any("more --days" in words for words in first["warnings"])
    chain.advance(3_600)
    for owner in (1, 2):
        assert office.govern(*removal, by=owner)["proposal"] == first["proposal"]
    chain.advance(30 * DAY_S)
    done = office.govern("remove-silent", first["proposal"], by=STRANGER)
    assert done["owners"] == ["hospital-A", "hospital-B", "hospital-C"]
    chain.restore(before)


def test_an_owner_objects_to_its_removal(chain: LocalChain, tmp_path: Path) -> None:
    before = chain.snapshot()
    office = Office.open(chain, tmp_path, threshold=4)
    first = office.govern("roster", "--remove", "hospital-D", "--days", "60", by=0)["proposal"]
    for owner in (1, 2):
        office.govern("approve", first, by=owner)
    office.govern("withdraw", first, by=3)
    chain.advance(30 * DAY_S)
    code, *_ = office.refused("remove-silent", first, by=STRANGER)
    assert code == "transaction-reverted"
    assert office.govern("show", first)["withdrawn"] == ["hospital-D"]
    chain.restore(before)


def test_an_owner_confirms_once_and_stays(chain: LocalChain, tmp_path: Path) -> None:
    before = chain.snapshot()
    office = Office.open(chain, tmp_path, threshold=4)
    first = office.govern("roster", "--remove", "hospital-D", "--days", "60", by=0)["proposal"]
    for owner in (1, 2):
        office.govern("approve", first, by=owner)
    assert office.govern("show", first)["heard"] == []
    warnings = office.govern("pending", "--owner", account(3))["warnings"]
    assert any("hospital-D: you" in words and "confirm or withdraw once" in words for words in warnings)
    chain.advance(29 * DAY_S)
    office.govern("confirm", by=3)
    chain.advance(DAY_S)
    code, _, hint = office.refused("remove-silent", first, by=STRANGER)
    assert code == "transaction-reverted" and "confirmed" in hint
    assert office.govern("show", first)["heard"] == ["hospital-D"]
    assert "hospital-D, since the last vote: not silent" in office.text("show", first)
    chain.restore(before)


def test_a_vote_is_withdrawn_and_does_not_come_back(office: Office) -> None:
    study = office.propose()
    assert office.govern("withdraw", study, by=0)["approved"] == []
    code, words, hint = office.refused("approve", study, "--blind", by=0)
    assert code == "transaction-reverted" and "hospital-A" in words and "another expiry" in hint


# --- seats and datasets ------------------------------------------------------------------------------------


def test_a_seat_moves_in_two_steps(office: Office) -> None:
    newer = account(7)
    office.govern("offer-seat", "--to", newer, by=0)
    assert office.govern("status")["seatsOffered"]["hospital-A"]["to"] == newer
    assert "offers its seat" in office.text("pending")
    code, words, _ = office.refused("accept-seat", "--of", "hospital-A", by=7)
    assert code == "transaction-reverted" and "two days" in words
    office.chain.advance(2 * DAY_S)
    office.govern("accept-seat", "--of", "hospital-A", by=7)
    assert office.govern("status")["owners"][0]["account"] == newer
    office.govern("offer-seat", "--to", account(6), by=7)
    office.govern("offer-seat", "--take-back", by=7)
    assert office.govern("status")["seatsOffered"] == {}


def test_a_seat_is_confirmed(chain: LocalChain, tmp_path: Path) -> None:
    office = Office.open(chain, tmp_path)
    office.govern("confirm", by=2)
    assert office.govern("status")["confirmed"] == ["hospital-C"]
    code, words, hint = office.refused("confirm", by=STRANGER)
    assert code == "transaction-reverted" and account(STRANGER) in words and "hospital-A" in hint


def test_a_dataset_lives_with_its_budgets_versions_and_holders(office: Office) -> None:
    one = Dataset(owner=1, name="cohort-X")
    given = "--registration", office.registration(one), "--lifetime", "10", "--lifetime-delta", "1e-5"
    registered = office.govern(
        "register", *given, "--cap", "4.5", "--delta", "1e-6", "--per-day", "1.5", by=1
    )
    assert registered["dataset"] == to_hex(one.id) and len(registered["transactions"]) == 2
    shown = office.govern("dataset", "hospital-B/cohort-X")
    assert shown["account"]["epsilonCap"] == 10_000_000
    assert shown["allowance"]["epsilonCap"] == 4_500_000 and shown["allowance"]["epsilonPerDay"] == 1_500_000

    code, _, hint = office.refused("register", *given, by=1)
    assert code == "transaction-reverted" and "add-version" in hint
    code, words, _ = office.refused("register", *given, by=2)
    assert code == "signer-not-owner" and account(1) in words

    second = Dataset(owner=1, name="cohort-X", rows=990)
    office.govern("add-version", "--registration", office.registration(second, number=2), by=1)
    code, *_ = office.refused("add-version", "--registration", office.registration(second, number=2), by=1)
    assert code == "registration-differs"
    office.govern("lifetime", "cohort-X", "--epsilon", "12", by=1)
    office.govern("allow", "hospital-B/cohort-X", "--cap", "0", by=1)
    shown = office.govern("dataset", to_hex(one.id))
    assert (shown["versions"], shown["rows"]) == (2, 990)
    assert shown["account"]["epsilonCap"] == 12_000_000 and shown["allowance"]["epsilonCap"] == 0

    office.govern("offer-datasets", "cohort-X", "--to", account(7), by=1)
    code, *_ = office.refused("accept-datasets", to_hex(one.id), by=7)
    assert code == "transaction-reverted"
    office.chain.advance(2 * DAY_S)
    office.govern("accept-datasets", to_hex(one.id), by=7)
    assert office.govern("dataset", to_hex(one.id))["holder"] == account(7)


# --- ways --------------------------------------------------------------------------------------------------


def test_signatures_are_made_elsewhere_collected_and_handed_in(office: Office) -> None:
    """CH-11: each owner signs on a machine without a network, and a stranger pays."""
    study = office.propose()
    signed = []
    for owner in (1, 2, 3):
        request, out = office.file(f"r{owner}.json"), office.file(f"s{owner}.json")
        vote = (
            study,
            "--recipe",
            office.file("app-compose.json"),
            "--owner",
            account(owner),
            "--request",
            request,
        )
        office.govern("approve", *vote)
        recipe_file = "--recipe", office.file("app-compose.json")
        office.govern("sign", "--request", request, *recipe_file, "--out", out, by=owner)
        signed += ["--signatures", out]
    answer = office.govern("approve", study, *signed, by=STRANGER)
    assert answer["effective"] and len(answer["owners"]) == 3


def test_a_wallet_s_signature_is_taken_and_a_foreign_one_is_not(office: Office) -> None:
    study = office.propose()
    request = office.file("r.json")
    office.govern("approve", study, "--blind", "--owner", account(1), "--request", request)
    office.govern("sign", "--request", request, "--blind", "--out", office.file("other.json"), by=2)
    signed = office.read("other.json")
    assert signed["signer"] == account(2) and signed["owner"] == account(1)
    code, words, _ = office.refused(
        "approve", study, "--blind", "--signatures", office.file("other.json"), by=STRANGER
    )
    assert code == "signature-of-another" and account(2) in words


def test_a_signature_for_one_study_is_not_handed_in_for_another(office: Office) -> None:
    """CH-07, CH-08, CH-26."""
    first, second = office.propose(), office.propose("--anew", by=1, days=31)
    office.govern("approve", first, "--blind", "--sign", office.file("s.json"), by=2)
    code, words, _ = office.refused(
        "approve", second, "--blind", "--signatures", office.file("s.json"), by=STRANGER
    )
    assert code == "signature-of-another" and first in words


def test_a_veto_is_signed_and_stops_once_it_is_handed_in(office: Office) -> None:
    study = office.propose()
    office.approve(study, 1, 2, 3)
    words = "--reason", "a breach"
    held = office.govern("revoke", *words, "--sign", office.file("veto.json"), by=2)
    assert held["revoked"] is False and office.govern("status")["live"]
    code, *_ = office.refused(
        "revoke", "--reason", "other words", "--signatures", office.file("veto.json"), by=STRANGER
    )
    assert code == "signature-of-another"
    done = office.govern("revoke", *words, "--signatures", office.file("veto.json"), by=STRANGER)
    assert (done["revoked"], done["by"]) == (True, "hospital-C")
    code, *_ = office.refused("revoke", *words, "--signatures", office.file("veto.json"), by=STRANGER)
    assert code == "transaction-reverted"


def test_a_withdrawal_is_signed_and_handed_in(office: Office) -> None:
    study = office.propose()
    office.govern("withdraw", study, "--sign", office.file("w.json"), by=0)
    done = office.govern("withdraw", study, "--signatures", office.file("w.json"), by=STRANGER)
    assert done["approved"] == []


def test_call_data_is_what_the_account_would_send(office: Office) -> None:
    study = office.propose()
    asked = office.govern("approve", study, "--blind", "--owner", account(1), "--calldata")
    (call,) = asked["calls"]
    office.chain.send(1, call["to"], bytes.fromhex(call["data"][2:]))
    assert office.govern("show", study)["approved"] == ["hospital-A", "hospital-B"]


def test_two_ways_at_once_are_refused(office: Office) -> None:
    code, words, _ = office.refused("confirm", "--calldata", "--safe", office.file("s.json"), by=0)
    assert code == "way-unclear" and "--safe and --calldata" in words
    code, *_ = office.refused("confirm")
    assert code == "way-unclear"


# --- nodes that lie ----------------------------------------------------------------------------------------


def test_stopping_needs_one_node_and_looking_needs_them_to_agree(office: Office) -> None:
    """CH-02, CH-03: another chain behind a second URL keeps nobody from stopping."""
    with LocalChain.start(chain_id=1337) as other:
        urls = office.chain.url, other.url
        code, *_ = office.refused("pending", urls=urls)
        assert code == "chain-disagrees"
        assert office.govern("revoke", "--reason", "stop", by=0, urls=urls)["revoked"]


def test_a_study_for_local_rooms_is_proposed_on_no_other_chain(tmp_path: Path) -> None:
    """AT-24: no machine could run an image that no registry has; its twin names one that can be pulled."""
    pulled = f"ghcr.io/sealroom/enclave@sha256:{'ab' * 32}"
    real = recipe_bytes().replace(recipe().image.encode(), pulled.encode())
    assert (recipe().image, parse(real).image) == (LOCAL_IMAGE, pulled)
    with LocalChain.start(chain_id=560048) as chain:
        office = Office.open(chain, tmp_path)
        local = office.file("app-compose.json")
        code, words, hint = office.refused("propose", "--recipe", local, by=0)
        assert code == "image-unreleased" and LOCAL_IMAGE in words and "study.yaml" in hint
        code, *_ = office.refused("propose", "--recipe", office.file("real.json", real), by=0)
        assert code != "image-unreleased", "it goes on to what it lacks"


def test_an_address_without_a_consortium_is_said_so(office: Office) -> None:
    office.room = type(office.room)(**{**vars(office.room), "consortium": account(STRANGER)})
    code, _, hint = office.refused("status")
    assert code == "not-a-consortium" and "--consortium" in hint


def test_each_error_of_the_contracts_has_words_and_no_other() -> None:
    from sealroom_agents.governance.refusals import TELLERS

    ours = {
        name
        for contract in ("Consortium", "Ledger", "Factory")
        for name in interface(contract).errors
        if name.startswith(("Consortium", "Registry", "Ledger", "Factory"))
    }
    assert ours | {"OwnableUnauthorizedAccount"} == set(TELLERS)


def test_the_desk_names_what_it_cannot_find(office: Office) -> None:
    code, *_ = office.refused("show", "0x" + 64 * "a")
    assert code == "proposal-unknown"
    code, _, hint = office.refused("roster", "--remove", "hospital-Z", by=0)
    assert code == "owner-unknown" and all(f"hospital-{letter}" in hint for letter in LETTERS)
    assert json.loads(json.dumps(office.govern("status")))["threshold"] == 3
    assert GATE not in range(4)
