# SPDX-License-Identifier: Apache-2.0
"""The page of changes without scripts: what cannot be read is said, what the contract would refuse has no
button, and what is doubtful stands above it (WE-01, WE-09, RE-11)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from tests.agents.following import console
from tests.local_chain import LocalChain, account
from tests.outside import Lab

from sealroom.encoding import to_hex
from sealroom.model import Platform
from sealroom_agents.console.adopting import MAX_LIST_TEXT
from sealroom_agents.console.change_page import MAX_DRAFT
from sealroom_agents.governance.files import content_file, in_call

pytestmark = pytest.mark.anvil

ANY = "0x" + "ab" * 32
REGISTRATION = json.dumps(
    {
        "dataset": "0x" + "ab" * 32,
        "owner": "0x" + "cd" * 20,
        "name": "cohort-X",
        "number": 1,
        "version": {
            "header": "0x" + "11" * 32,
            "index": "0x" + "11" * 32,
            "keyCommitment": "0x" + "11" * 32,
            "schemaHash": "0x" + "11" * 32,
            "rows": 3,
        },
    }
)
"""Its id is not that of its owner and name."""
JOINS = {"id": "hospital-D", "account": "0x" + "ab" * 20, "jurisdiction": "fr", "regimes": ["GDPR"]}

PLATFORM = {
    "root": ANY,
    "signer": "0x" + "cd" * 20,
    "compose": "0x" + "11" * 32,
    "policy": "0x" + "22" * 32,
    "images": "0x" + "44" * 32,
}
"""A gate, as its form names it."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with LocalChain.start() as chain:
        made = Lab.on(chain, tmp_path_factory.mktemp("change"))
        made.store.add_recipe(made.compose_hash, made.recipe.compose)
        made.register()
        yield made


@pytest.fixture(scope="module")
def web(lab: Lab) -> TestClient:
    return TestClient(console(lab.store, lab.reader, lab.room.factory))


def page(web: TestClient, lab: Lab, status: int = 200, **query: Any) -> str:
    answer = web.get(f"/studies/{lab.room.consortium}/change", params=query)
    assert answer.status_code == status, answer.text[-2000:]
    return answer.text.split("<main", 1)[1]


def test_what_cannot_be_read_is_said_and_prepares_nothing(web: TestClient, lab: Lab) -> None:
    data = to_hex(lab.datasets[0].id)
    for query in (
        {"what": "allow", "dataset": ANY, "epsilon": "1"},
        {"what": "allow", "dataset": data, "epsilon": "-1"},
        {"what": "allow", "dataset": data, "epsilon": "1", "runs": "65536"},
        {"what": "allow", "dataset": data, "epsilon": "1", "runs": "\u0661"},
        {"what": "lifetime", "dataset": data, "epsilon": "0"},
        {"what": "roster", "threshold": "17"},
        {"what": "offer-seat", "of": account(0), "to": "0x12"},
        {"what": "offer-seat", "of": account(0), "to": "0x" + "00" * 20},
        {"what": "offer-datasets", "to": account(0)},
        {"what": "accept-datasets", "datasets": [ANY]},
        {"what": "keep-datasets", "datasets": ["<script>"]},
        {"what": "withdraw"},
        {"what": "confirm", "proposal": ANY},
        {"what": "register", "registration": "{}"},
        {"what": "register", "registration": "[<script>"},
        {"what": "register", "registration": REGISTRATION},
        {"dataset": ANY},
        {"what": "roster", **JOINS, "account": "0x" + "AB" * 20},
        {"what": "roster", **JOINS, "id": "<script>"},
        {"what": "platform"},
        {"what": "platform", **PLATFORM, "root": ANY.upper()},
        {"what": "platform", **PLATFORM, "signer": "0x12"},
        {"what": "platform", **PLATFORM, "images": "<script>"},
        {"what": "platform", **PLATFORM, "devices": " ".join(f"0x{n:064x}" for n in range(65))},
        {"what": "platform", **PLATFORM, "days": "0"},
        {"what": "draft", "draft": "{"},
        {"what": "draft", "draft": json.dumps({"version": 2, "kind": "study", "content": {}})},
        {"what": "study", "recipe": "0x12"},
        {"what": "study", "recipe": ANY},
    ):
        text = page(web, lab, 400, **query)
        assert "That cannot be read." in text and "data-send" not in text, query
        assert "<script>" not in text
    long = {"images": "0" * (MAX_LIST_TEXT + 1)}
    for query in ({"what": "offerSeat"}, {"draft": "x" * (MAX_DRAFT + 1)}, long, {"proposal": "0x12"}):
        page(web, lab, 400, **query)
    page(web, lab, 404, proposal=ANY)


def test_what_the_contract_would_refuse_has_no_button(web: TestClient, lab: Lab) -> None:
    chain, room = lab.chain, lab.room
    data = to_hex(lab.datasets[0].id)
    platform = Platform(
        gate_root=b"\x01" * 32, gate_signer=account(9), gate_compose=b"\x02" * 32, policy_hash=b"\x03" * 32,
        os_images=(b"\x04" * 32,), devices=(b"\x05" * 32,),
    )  # fmt: skip
    stale = platform.under(chain.validity(b"\x66" * 32))
    for query, says in (
        ({"what": "roster"}, "It changes nothing."),
        ({"what": "offer-seat", "of": account(0), "to": account(1)}, "has a seat already"),
        ({"what": "keep-seat", "of": account(0)}, "there is nothing to take back"),
        ({"what": "offer-seat", "of": account(9), "to": account(8)}, "has no seat here"),
        ({"what": "accept-seat", "of": account(0)}, "is offered to nobody"),
        ({"what": "keep-datasets", "datasets": [data]}, "there is nothing to take back"),
        ({"what": "accept-datasets", "datasets": [data]}, "is offered to nobody"),
        ({"what": "offer-datasets", "datasets": [data], "to": account(0)}, "holds them already"),
        ({"what": "unpin"}, "No recipe is left in the app"),
        ({"what": "roster", "remove": ["hospital-X"]}, "No owner hospital-X has a seat."),
        ({"what": "roster", **JOINS, "id": "hospital-A"}, "has a seat already"),
        (
            {"what": "roster", "remove": ["hospital-C"], "threshold": "3"},
            "3 approvals of 2 owners cannot be.",
        ),
        (
            {"what": "draft", "draft": json.dumps(content_file("platform", stale))},
            "It follows what counts no more",
        ),
    ):
        text = page(web, lab, **query)
        assert says in text and "data-send" not in text, query
    good = platform.under(chain.validity(chain.state(room).charter))
    text = page(web, lab, what="draft", draft=json.dumps(content_file("platform", good)))
    assert "only its own evidence shows" in text and "data-send" in text and to_hex(good.id) in text
    text = page(web, lab, what="platform", **PLATFORM)
    assert "It names no machine" in text and "data-send" in text
    machines = [f"0x{digit * 64}" for digit in "98"]
    text = page(web, lab, what="platform", **PLATFORM, devices=", ".join([*machines, machines[0]]))
    assert f"--os-image {PLATFORM['images']} --device {machines[1]} --device {machines[0]} --simul" in text
    assert "The same waits already" not in text
    asked = Platform.from_json(
        {
            "gateRoot": PLATFORM["root"], "gateSigner": PLATFORM["signer"], "osImages": [PLATFORM["images"]],
            "gateCompose": PLATFORM["compose"], "policyHash": PLATFORM["policy"], "devices": machines[::-1],
        }
    ).under(chain.validity(chain.state(room).charter))  # fmt: skip
    chain.vote(room, 0, "adoptPlatform", *in_call(asked))
    text = page(web, lab, what="platform", **PLATFORM, devices=" ".join(machines), days="7")
    assert "The same waits already" in text and "data-send" in text
    text = page(web, lab, what="roster", **JOINS)
    assert "roster --add owner.json --threshold 2 --days 90" in text and "2 of 4" in text
    text = page(web, lab, what="allow", dataset=data, epsilon="0")
    assert f"govern allow {data} --cap 0" in text and "data-send" in text
    text = page(web, lab, what="allow", dataset=data, epsilon="9")
    assert "more than its lifetime budget of ε 4.5" in text
    text = page(web, lab, what="lifetime", dataset=data, epsilon="9")
    assert "for good" in text


def test_a_study_is_proposed_of_what_is_registered_alone(web: TestClient, lab: Lab) -> None:
    """Its problems stand above it; without its datasets there is nothing to sign."""
    text = page(web, lab, what="study", recipe=lab.compose_hash, runs="3")
    assert (
        "hospital-A/cohort-A" in text and "Each owner has to read the script." in text and "data-send" in text
    )
    assert "propose --recipe app-compose.json --runs 3 --days 30" in text
    lab.chain.allow(lab.room, lab.datasets[1], cap_micro=0)
    text = page(web, lab, what="study", recipe=lab.compose_hash)
    assert "No owner offers hospital-B/cohort-B here" in text and "data-send" not in text
