# SPDX-License-Identifier: Apache-2.0
"""`sealroom seal --rpc`: what it asks of chain, gate and disk before it opens its input."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.agents.deskside import SEAL, OwnersDesk, owners_desk
from tests.agents.worked import ANALYSIS, make_gate, render_recipe
from tests.local_chain import LocalChain, account
from tests.rpc_proxy import RpcProxy

from sealroom_agents.chain.contracts import interface

pytestmark = pytest.mark.anvil
UNREADABLE = "unreadable.parquet"
"""An input that no Parquet reader takes: a command that ends with another code did not open it."""
SECOND = f"{SEAL} --name cohort-A --dataset-version 2"


@pytest.fixture
def desk(chain: LocalChain, tmp_path: Path) -> Iterator[OwnersDesk]:
    with owners_desk(chain, tmp_path) as desk:
        (tmp_path / UNREADABLE).write_bytes(b"PAR1 and no more of it")
        yield desk


def refused(desk: OwnersDesk, command: str, code: str, *, rpc: str | None = "") -> dict[str, Any]:
    """The answers of a command that is refused before its input is opened."""
    told = desk.json(f"{command} --in {UNREADABLE}", 1, rpc=rpc)
    assert told["code"] == code, told
    assert not (desk.folder / "sealed").exists() and not (desk.folder / "keys").exists()
    return {one["name"]: one for one in told["asked"]["answers"]}


def test_the_next_version_of_a_registered_dataset_is_sealed(desk: OwnersDesk) -> None:
    told = desk.json(f"{SECOND} --in cohort-A.parquet", 0)
    answers = told["asked"]["answers"]
    assert [(one["name"], one["verdict"]) for one in answers] == [
        (name, "holds") for name in ("name", "version", "approval", "standing", "gate", "budget", "space")
    ]
    assert told["approval"]["state"] == "approved"
    assert told["asked"]["block"] <= desk.chain.block_number()


def test_the_answers_stand_in_one_table_before_anything_is_read(desk: OwnersDesk) -> None:
    said = desk.run(f"{SECOND} --in cohort-A.parquet", 0)
    table = said[said.index("asked at finalized block") :].splitlines()
    assert table[0].endswith("of chain 31337, before cohort-A.parquet is opened")
    assert table[3].startswith("ok      approval  hospital-A has approved it; in force: approved by")
    assert said.index("asked at finalized block") < said.index("rows       200")


HOOKED = """\
import sys
from sealroom_agents.cli import main
def hook(event, found):
    if event == "open" and str(found[0]).endswith(".parquet"):
        print("READ")
sys.addaudithook(hook)
main()
"""
"""The command with each opening of an input printed."""


def test_nothing_opens_the_input_of_a_refusal(desk: OwnersDesk) -> None:
    (desk.folder / "hooked.py").write_text(HOOKED)
    hooked = "python hooked.py seal --owner hospital-A --simulated-root root.der --yes --in cohort-A.parquet"
    assert "READ" not in desk.run(hooked, 1)
    assert "READ" in desk.run(f"{hooked} --dataset-version 2", 0)


def test_an_input_that_cannot_be_read_is_found_after_the_answers(desk: OwnersDesk) -> None:
    """The twin of all refusals below: with good answers, it is the input that is refused."""
    told = desk.json(f"{SECOND} --in {UNREADABLE}", 1)
    assert (told["code"], "asked" in told) == ("not-parquet", False)


def test_a_name_that_is_registered_takes_no_first_version(desk: OwnersDesk) -> None:
    answers = refused(desk, f"{SEAL} --name cohort-A", "name-taken")
    assert "--new-version" in answers["name"]["hint"]
    assert answers["version"]["code"] == "version-not-next"


@pytest.mark.parametrize("number", [3, 7])
def test_a_version_that_is_not_the_next_is_refused(desk: OwnersDesk, number: int) -> None:
    answers = refused(desk, f"{SEAL} --name cohort-A --dataset-version {number}", "version-not-next")
    assert "the next is 2" in answers["version"]["detail"]


def test_a_version_that_is_registered_and_not_final_is_waited_for(desk: OwnersDesk) -> None:
    dataset = next(one for one in desk.stage.datasets if one.name == "cohort-A")
    version = (b"\x01" * 32, b"\x02" * 32, b"\x03" * 32, b"\x04" * 32, 10)
    desk.chain.send(0, desk.chain.ledger, interface("Ledger").encode("addVersion", dataset.id, version))
    answers = refused(desk, SECOND, "not-final")
    assert "version 2" in answers["name"]["detail"]


def test_a_dataset_that_moved_away_takes_no_version_of_its_registrant(desk: OwnersDesk) -> None:
    dataset = next(one for one in desk.stage.datasets if one.name == "cohort-A")
    ledger, contract = desk.chain.ledger, interface("Ledger")
    desk.chain.send(0, ledger, contract.encode("offer", [dataset.id], account(7)))
    desk.chain.advance(3 * 24 * 3600)
    desk.chain.send(7, ledger, contract.encode("accept", [dataset.id]))
    desk.chain.finalize()
    # The chain is days ahead of the clock: what is said of its age is not what is asked here.
    reader = desk.chain.reader()
    (found,) = reader.datasets_at(reader.finalized_view(desk.stage.room.consortium), [dataset.id])
    reader.close()
    from sealroom_agents.owner.asked import Wanted, of_registry

    wanted = Wanted(account(0), account(0), "cohort-A", 2)
    assert next(of_registry(wanted, found, [found])).code == "held-by-another"
    taken = Wanted(account(0), account(7), "cohort-A", 2)
    assert [one.code for one in of_registry(taken, found, [found])] == [None, None]


def test_a_gate_with_evidence_too_old_is_refused_and_the_rest_told(desk: OwnersDesk) -> None:
    desk.write_card(gate=make_gate(desk.stage.platform, now=int(time.time()) - 31 * 24 * 3600))
    answers = refused(desk, SECOND, "gate-evidence-stale")
    assert answers["approval"]["verdict"] == answers["version"]["verdict"] == "holds"


def test_a_gate_that_the_owners_did_not_adopt_is_refused(desk: OwnersDesk) -> None:
    """AT-30."""
    desk.write_card(gate=make_gate(desk.stage.platform, compose=b'{"name":"another gate"}'))
    answers = refused(desk, SECOND, "gate-not-registered")
    assert "the owners adopted" in answers["gate"]["detail"]


def test_a_budget_that_no_run_fits_is_refused(desk: OwnersDesk) -> None:
    """The recipe takes ε 1.5 a run."""
    dataset = next(one for one in desk.stage.datasets if one.name == "cohort-A")
    allow = (dataset.id, desk.stage.room.consortium, (1_000_000, 0, 1_000_000, 5))
    desk.chain.send(0, desk.chain.ledger, interface("Ledger").encode("allow", *allow))
    desk.chain.finalize()
    answers = refused(desk, SECOND, "budget")
    assert "a run needs ε = 1.5; hospital-A leaves 1 for cohort-A" in answers["budget"]["detail"]


def test_less_budget_than_the_study_has_runs_is_a_doubt(desk: OwnersDesk) -> None:
    dataset = next(one for one in desk.stage.datasets if one.name == "cohort-A")
    allow = (dataset.id, desk.stage.room.consortium, (3_000_000, 10**9, 3_000_000, 5))
    desk.chain.send(0, desk.chain.ledger, interface("Ledger").encode("allow", *allow))
    desk.chain.finalize()
    answers = desk.answers(f"{SECOND} --in cohort-A.parquet", 0)
    assert answers["budget"]["verdict"] == "doubt"
    assert "enough for 2 runs, and the study has 3 left" in answers["budget"]["detail"]


def test_a_disk_without_room_is_told_before_the_input_is_opened(desk: OwnersDesk) -> None:
    with (desk.folder / UNREADABLE).open("r+b") as stream:
        stream.truncate(2**43)  # a hole: it takes no room itself
    assert refused(desk, SECOND, "no-space")["space"]["verdict"] == "fails"


def test_an_approval_that_is_missing_is_a_doubt_and_is_told(desk: OwnersDesk) -> None:
    """Owners seal before anything is settled."""
    recipe = render_recipe(desk.folder / "changed", analysis=ANALYSIS + "# one line more\n")
    desk.write_card(recipe=recipe)
    answers = desk.answers(f"{SECOND} --in cohort-A.parquet", 0)
    assert (answers["approval"]["verdict"], answers["approval"]["code"]) == ("doubt", "not-proposed")
    assert "warning: no study with this recipe is before the owners" in (desk.folder / "errors").read_text()


def test_a_revocation_is_told_though_no_final_block_has_it(desk: OwnersDesk) -> None:
    """CE-20: the wrap is good once the owners approve the recipe again, so nothing is lost by sealing."""
    desk.chain.revoke(desk.stage.room, 2)
    answers = desk.answers(f"{SECOND} --in cohort-A.parquet", 0)
    assert (answers["approval"]["verdict"], answers["approval"]["code"]) == ("doubt", "revoked")
    assert (
        "hospital-C revoked: nothing runs before this owner, too, approves again"
        in answers["approval"]["detail"]
    )


def test_before_there_is_a_study_the_name_is_asked_of_a_consortiums_registry(desk: OwnersDesk) -> None:
    early = f"sealroom seal --account {account(0)} --yes --consortium {desk.stage.room.consortium}"
    answers = desk.answers(f"{early} --name fresh --in cohort-A.parquet", 0)
    assert list(answers) == ["name", "version", "standing", "space"]
    assert "is free" in answers["name"]["detail"]
    told = desk.json(f"{early} --name cohort-A --in {UNREADABLE}", 1)
    assert told["code"] == "name-taken"
    stranger = f"sealroom seal --account {account(9)} --yes --consortium {desk.stage.room.consortium}"
    answers = desk.answers(f"{stranger} --in cohort-A.parquet", 0)
    assert (answers["standing"]["verdict"], answers["standing"]["code"]) == ("doubt", "owner-unknown")


def test_a_registry_needs_a_consortium(desk: OwnersDesk) -> None:
    said = desk.run(f"sealroom seal --account {account(0)} --in {UNREADABLE} --yes", 2)
    assert "--rpc and --consortium go together" in said


def test_nodes_that_disagree_or_are_away_decide_nothing(desk: OwnersDesk) -> None:
    """CH-03: one of two nodes says that the name is free. Without --rpc nothing is asked, and it is said."""
    whose = interface("Lens").encode("row", (desk.stage.room.consortium, [], [_id(desk)]))

    def tamper(method: str, params: list[Any], result: Any) -> Any:
        if method != "eth_call" or params[0]["data"] != "0x" + whose.hex():
            return result
        data = bytearray.fromhex(result[2:])
        at = data.index(bytes.fromhex(account(0)[2:]), data.index(_id(desk)))
        data[at : at + 20] = bytes.fromhex(account(5)[2:])
        return "0x" + data.hex()

    with RpcProxy(desk.chain.url) as proxy:
        both = f"{desk.chain.url} --rpc {proxy.url}"
        assert desk.json(f"{SECOND} --in cohort-A.parquet --out o/1.tar --key-out k/1.key", 0, rpc=both)
        proxy.tamper = tamper
        told = desk.json(f"{SECOND} --in {UNREADABLE}", 3, rpc=both)
        assert told["code"] == "chain-disagrees" and "was not opened" in told["error"]
        assert "without --rpc nothing is asked" in told["hint"]
        proxy.down = True
        assert desk.json(f"{SECOND} --in {UNREADABLE}", 3, rpc=both)["code"] == "chain-unreachable"
    offline = desk.run(f"{SECOND} --in cohort-A.parquet", 0, rpc=None)
    assert "chain         not asked" in offline


def test_a_node_that_is_behind_decides_nothing(desk: OwnersDesk) -> None:
    """CH-04."""
    old = hex(int(time.time()) - 3600)

    def tamper(method: str, params: list[Any], result: Any) -> Any:
        return {**result, "timestamp": old} if method == "eth_getBlockByNumber" else result

    with RpcProxy(desk.chain.url) as proxy:
        proxy.tamper = tamper
        assert desk.json(f"{SECOND} --in {UNREADABLE}", 3, rpc=proxy.url)["code"] == "chain-stale"


def test_an_address_that_is_no_consortium_is_broken_and_not_undecided(desk: OwnersDesk) -> None:
    early = f"sealroom seal --account {account(0)} --yes --consortium {account(3)}"
    assert desk.json(f"{early} --in {UNREADABLE}", 1)["code"] == "not-a-consortium"


def _id(desk: OwnersDesk) -> bytes:
    return next(one.id for one in desk.stage.datasets if one.name == "cohort-A")
