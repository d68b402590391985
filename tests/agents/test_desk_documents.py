# SPDX-License-Identifier: Apache-2.0
"""Nobody votes for hashes that nobody read: each proposal is compared with what its voter has in hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.agents.office import STRANGER, Office, recipe, recipe_bytes
from tests.local_chain import Dataset, LocalChain, account

from sealroom.encoding import to_hex
from sealroom.schema import schema_hash

pytestmark = pytest.mark.anvil
DAY_S = 86_400
DEVICE, OTHER = "0x" + 64 * "7", "0x" + 64 * "8"


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


def with_recipe(office: Office) -> tuple[str, str]:
    return "--recipe", office.file("app-compose.json")


# --- on a machine without a network ------------------------------------------------------------------------


def asked(office: Office, *, owner: int = 1) -> str:
    """A request for a study, and the path of it."""
    study, request = office.propose(), office.file("request.json")
    office.govern("approve", study, *with_recipe(office), "--owner", account(owner), "--request", request)
    return request


def test_a_study_s_request_is_signed_with_its_recipe_or_the_word_blind(office: Office) -> None:
    """CH-38: a request that came from elsewhere may be for another recipe than its sender says."""
    sign = "sign", "--request", asked(office), "--out", office.file("s.json")
    code, _, hint = office.refused(*sign, by=1)
    assert code == "recipe-needed" and "--blind" in hint
    assert not Path(office.file("s.json")).exists()

    other = office.file("other.json", recipe_bytes().replace(b"risk of death", b"risk of dying"))
    code, words, _ = office.refused(*sign, "--recipe", other, by=1)
    assert code == "proposal-differs" and "recipe hash" in words
    assert not Path(office.file("s.json")).exists()

    assert "a run costs" in office.text(*sign, *with_recipe(office), by=1)
    blind = office.govern(*sign, "--blind", by=1)
    assert "nobody here has read the recipe: what leaves is not known" in blind["warnings"]


def test_a_request_s_datasets_are_compared_with_their_registrations(office: Office) -> None:
    sign = "sign", "--request", asked(office), "--out", office.file("s.json"), *with_recipe(office)
    own = [Dataset(owner=n, name=spec.name, schema_hash=schema_hash(spec.columns))
           for n, spec in enumerate(recipe().datasets)]  # fmt: skip
    right = [part for one in own for part in ("--registrations", office.registration(one))]
    assert office.govern(*sign, *right, by=1)["warnings"] == []
    assert any("--registrations" in words for words in office.govern(*sign, by=1)["warnings"])
    office.registration_of(own[0], account(STRANGER))
    code, words, _ = office.refused(*sign, *right, by=1)
    assert code == "proposal-differs" and "registrations" in words


def test_what_is_no_study_is_signed_with_a_document_too(office: Office) -> None:
    office.govern("machines", "--device", DEVICE, by=0, as_json=True)
    (found,) = office.govern("pending")["proposals"]
    request = office.file("request.json")
    office.govern("approve", found["id"], "--device", DEVICE, "--owner", account(1), "--request", request)
    sign = "sign", "--request", request, "--out", office.file("s.json")
    assert office.refused(*sign, by=1)[0] == "document-needed"
    mine = office.file("mine.json", {"osImages": [], "devices": [OTHER]})
    code, words, _ = office.refused(*sign, "--against", mine, by=1)
    assert code == "proposal-differs" and DEVICE in words and OTHER in words
    assert office.govern(*sign, "--device", DEVICE, by=1)["signer"] == account(1)


def test_who_stops_needs_no_documents(office: Office) -> None:
    reason = "--reason", "a breach"
    request = office.file("veto.json")
    office.govern("revoke", *reason, "--owner", account(1), "--request", request)
    office.govern("sign", "--request", request, "--out", office.file("s.json"), by=1)
    assert office.govern("revoke", *reason, "--signatures", office.file("s.json"), by=STRANGER)["revoked"]


# --- platform, machines, owners ----------------------------------------------------------------------------


def platform(office: Office, **change: Any) -> dict[str, Any]:
    return {**office.govern("status")["platform"], "gateCompose": "0x" + 64 * "e", **change}


def test_a_platform_is_approved_with_documents_or_the_word_blind(office: Office) -> None:
    """CH-38: hashes alone say nothing of the gate behind them."""
    wanted = platform(office)
    first = office.govern("platform", "--file", office.file("p.json", wanted), by=0)["proposal"]
    code, _, hint = office.refused("approve", first, by=1)
    assert code == "document-needed" and "--gate" in hint and "--blind" in hint
    for field, value in {"gateRoot": OTHER, "policyHash": OTHER, "devices": [OTHER]}.items():
        against = "--against", office.file("mine.json", {**wanted, field: value})
        code, words, _ = office.refused("approve", first, *against, by=1)
        assert code == "proposal-differs" and field in words and OTHER in words
    assert office.refused("approve", first, "--policy", office.file("p.json"), by=1)[0] == "way-unclear"
    assert office.govern("show", first)["approved"] == ["hospital-A"]

    office.govern("approve", first, "--against", office.file("p.json"), by=1)
    answer = office.govern("approve", first, "--blind", by=2)
    assert answer["effective"] and any("bare hashes" in words for words in answer["warnings"])


def test_the_draft_of_one_s_own_desk_is_a_document(office: Office) -> None:
    """Who verified the gate itself, and so has another expiry, compares with that."""
    wanted = office.file("p.json", platform(office))
    first = office.govern("platform", "--file", wanted, by=0)["proposal"]
    mine = office.file("mine.json")
    draft = "platform", "--file", wanted, "--days", "5", "--anew", "--draft", "--out", mine
    assert office.govern(*draft)["proposal"] != first
    office.govern("approve", first, "--against", mine, by=1)
    other = "machines", "--device", DEVICE, "--draft", "--out", office.file("other.json")
    office.govern(*other)
    code, words, _ = office.refused("approve", first, "--against", office.file("other.json"), by=2)
    assert code == "proposal-differs" and "another kind of proposal: machines" in words


def test_machines_are_compared_with_those_that_the_voter_names(office: Office) -> None:
    first = office.govern("machines", "--device", DEVICE, "--device", OTHER, by=0)["proposal"]
    assert office.refused("approve", first, by=1)[0] == "document-needed"
    code, words, _ = office.refused("approve", first, "--device", DEVICE, by=1)
    assert code == "proposal-differs" and OTHER in words
    office.govern("approve", first, "--device", OTHER, "--device", DEVICE, by=1)


def test_owners_who_join_are_compared_with_their_files(office: Office) -> None:
    """CH-38: an id says nothing of the account behind it."""
    joins = {"account": account(7), "id": "hospital-E", "jurisdiction": "FR", "regimes": ["GDPR"]}
    first = office.govern("roster", "--add", office.file("e.json", joins), by=0)["proposal"]
    assert office.refused("approve", first, by=1)[0] == "document-needed"
    other = office.file("other.json", {**joins, "account": account(8)})
    code, words, _ = office.refused("approve", first, "--against", other, by=1)
    assert code == "proposal-differs" and account(7) in words
    office.govern("approve", first, "--against", office.file("e.json"), by=1)
    code, words, _ = office.refused("approve", first, *with_recipe(office), by=2)
    assert code == "way-unclear" and "--recipe says nothing of a roster" in words


def test_a_roster_that_only_removes_needs_no_document(office: Office) -> None:
    first = office.govern("roster", "--remove", "hospital-D", by=0)["proposal"]
    assert office.govern("approve", first, by=1)["approved"] == ["hospital-A", "hospital-B"]


# --- the same content, another expiry ----------------------------------------------------------------------


def test_votes_do_not_split_over_the_expiry(office: Office) -> None:
    wanted = office.file("p.json", platform(office))
    first = office.govern("platform", "--file", wanted, by=0)["proposal"]
    office.chain.advance(3_600)
    second = office.govern("platform", "--file", wanted, by=1)
    assert second["proposal"] == first and second["approved"] == ["hospital-A", "hospital-B"]
    assert any("differs in its expiry alone" in words for words in second["warnings"])
    third = office.govern("platform", "--file", wanted, "--anew", by=2)
    assert third["proposal"] != first and third["approved"] == ["hospital-C"]


def test_a_study_joins_an_open_one_that_ends_no_later(office: Office) -> None:
    first = office.propose(days=20)
    assert office.propose(by=1, days=30) == first
    given = "--recipe", office.file("app-compose.json"), "--runs", "2", "--days", "10"
    code, words, hint = office.refused("propose", *given, by=2)
    assert code == "proposal-open" and first in words and "--anew" in hint
    assert office.govern("propose", *given, "--anew", by=2)["proposal"] != first


def test_nobody_is_lured_to_an_open_one_that_is_about_to_end_or_that_it_left(office: Office) -> None:
    dying = office.propose(days=1)
    office.chain.advance(3_600)
    second = office.propose(by=1)
    assert second != dying
    office.govern("withdraw", second, by=1)
    office.chain.advance(60)
    third = office.propose(by=1)
    assert third not in (dying, second)


# --- what a study may spend, and of which dataset ----------------------------------------------------------


def altered(office: Office, **change: Any) -> str:
    """A proposal's file that says something else than the desk computed."""
    drafted = office.govern("propose", *with_recipe(office), "--runs", "2", "--draft")
    content = {**drafted["content"], **change}
    return office.file("altered.json", {"version": 2, "kind": "study", "content": content})


@pytest.mark.parametrize("field", ["epsilonMicro", "deltaPico"])
def test_a_study_that_may_spend_more_than_its_runs_need_is_refused(office: Office, field: str) -> None:
    once = {"epsilonMicro": recipe().epsilon_micro, "deltaPico": recipe().delta_pico}[field]
    file = altered(office, **{field: 2 * once + 1})
    vote = "approve", "--proposal", file, *with_recipe(office)
    code, words, hint = office.refused(*vote, by=0)
    assert code == "study-surplus" and "2 runs" in words and "--allow-surplus" in hint
    request = "--owner", account(1), "--request", office.file("r.json")
    office.govern(*vote, "--allow-surplus", *request)
    sign = "sign", "--request", office.file("r.json"), "--out", office.file("s.json"), *with_recipe(office)
    assert office.refused(*sign, by=1)[0] == "study-surplus"
    office.govern(*sign, "--allow-surplus", by=1)
    answer = office.govern(*vote, "--allow-surplus", by=0)
    assert any("more" in words for words in answer["warnings"])


def test_two_datasets_of_one_name_are_told_apart_by_their_ids(office: Office) -> None:
    spec = recipe().datasets[0]
    columns = schema_hash(spec.columns)
    twin = Dataset(owner=7, name=spec.name, schema_hash=columns)
    own = Dataset(owner=0, name=spec.name, schema_hash=columns)
    given = "--registration", office.registration(twin), "--lifetime", "10"
    office.govern("register", *given, by=7)
    office.govern("offer-datasets", to_hex(twin.id), "--to", account(0), by=7)
    office.chain.advance(2 * DAY_S)
    office.govern("accept-datasets", to_hex(twin.id), by=0)

    office.govern("allow", to_hex(twin.id), "--cap", "9", "--delta", "9e-6", by=0)

    code, words, hint = office.refused("allow", f"hospital-A/{spec.name}", "--cap", "1", by=0)
    assert code == "dataset-ambiguous" and to_hex(twin.id) in words and to_hex(own.id) in words
    assert "by its id" in hint
    assert office.refused("allow", spec.name, "--cap", "1", by=0)[0] == "dataset-ambiguous"
    propose = "propose", *with_recipe(office), "--runs", "2"
    assert office.refused(*propose, by=0)[0] == "dataset-ambiguous"
    study = office.govern(*propose, "--dataset", to_hex(own.id), by=0)
    vote = "approve", study["proposal"], *with_recipe(office)
    assert office.refused(*vote, by=1)[0] == "dataset-ambiguous"
    code, words, _ = office.refused(*vote, "--dataset", to_hex(twin.id), by=1)
    assert code == "proposal-differs" and to_hex(twin.id) in words
    office.govern(*vote, "--dataset", to_hex(own.id), by=1)


# --- signatures that are no good ---------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["good", "false"])
def test_a_false_signature_file_displaces_no_good_one(office: Office, first: str) -> None:
    """CH-11: anybody may send a file; what it says of its signer counts for nothing."""
    study = office.propose()
    office.govern("approve", study, *with_recipe(office), "--sign", office.file("good.json"), by=1)
    good = office.read("good.json")
    office.file("false.json", {**good, "signature": "0x" + 64 * "2" + 64 * "3" + "1b"})
    office.file("stale.json", {**good, "digest": "0x" + 64 * "4"})
    names = ["good", "false", "stale"] if first == "good" else ["stale", "false", "good"]
    given = [part for name in names for part in ("--signatures", office.file(f"{name}.json"))]
    answer = office.govern("approve", study, *given, by=STRANGER)
    assert answer["approved"] == ["hospital-A", "hospital-B"]
    assert sorted(answer["leftOut"]) == [office.file("false.json"), office.file("stale.json")]


# --- what an owner reads before a vote ---------------------------------------------------------------------


def test_the_guarantee_what_computes_and_the_tables_are_read_before_a_vote(office: Office) -> None:
    """DP-03: by name and in words, with the script whose reading the promise rests on."""
    study = office.propose()
    shown = office.text("approve", study, *with_recipe(office), by=1)
    read = recipe()
    assert f"{read.guarantee.name}, one row a person. {read.guarantee.sentence}" in shown
    for spec in read.datasets:
        assert f"{spec.path}: table {spec.schema.name if spec.schema else ''}" in shown
    for schema in read.schemas:
        assert f"{schema.columns[0][0]} {schema.columns[0][1]}" in shown
    for line in (read.relation.sql if read.relation else read.analysis).splitlines():
        assert line in shown
    later = office.text("show", study, *with_recipe(office))
    assert read.guarantee.sentence in later and "the same hashes" in later
    told = office.govern("show", study, *with_recipe(office))["recipe"]
    assert told["guarantee"]["name"] == read.guarantee.name and told["guarantee"]["rows"] == read.rows
    assert "recipe" not in office.govern("show", study)
    assert "--recipe app-compose.json shows it" in office.text("show", study)
    other = office.file("other.json", recipe_bytes().replace(b"risk of death", b"risk of dying"))
    assert office.refused("show", study, "--recipe", other)[0] == "proposal-differs"


def test_no_signature_is_asked_for_what_can_never_take_effect(office: Office) -> None:
    """CH-38: a request or a signature for a dead proposal would only mislead whoever holds it."""
    study, request = office.propose(), office.file("request.json")
    asks = "approve", study, *with_recipe(office), "--owner", account(1), "--request", request
    office.govern("withdraw", study, by=1)
    code, words, _ = office.refused(*asks)
    assert code == "proposal-blocked" and "hospital-B withdrew" in words and not Path(request).exists()
    assert office.refused(*asks[:4], "--sign", request, by=1)[0] == "proposal-blocked"

    live = office.propose("--anew", days=20)
    asks = "approve", live, *with_recipe(office), "--owner", account(1), "--request", request
    office.govern(*asks)
    Path(request).unlink()
    office.govern("revoke", "--reason", "stop", by=3)
    code, words, _ = office.refused(*asks)
    assert code == "proposal-blocked" and "another basis" in words and not Path(request).exists()


def test_a_cap_beyond_the_lifetime_account_is_told(office: Office) -> None:
    name = f"hospital-A/{recipe().datasets[0].name}"
    warned = office.govern("allow", name, "--cap", "50", "--delta", "1e-3", by=0)["warnings"]
    assert [words[:4] for words in warned] == ["ε 50", "δ 0."]
    assert all("lifetime account" in words for words in warned)
    assert office.govern("allow", name, "--cap", "9", "--delta", "9e-6", by=0)["warnings"] == []
