# SPDX-License-Identifier: Apache-2.0
"""The configuration of a deployment, and the journal of one that is not finished."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from scripts._command import Complaint
from scripts._deploy import Config, Journal, Site, deploy, deploy_ledger, is_build_of
from web3.utils import get_create_address

from sealroom.errors import FormatError

ADDRESS = "0x" + 40 * "b"
OWNER = {"account": ADDRESS, "id": "hospital-A", "jurisdiction": "DE", "regimes": ["GDPR", "SOC 2"]}
CONFIG = {"owners": [OWNER], "threshold": 1}


def test_a_configuration_is_read() -> None:
    config = Config.parse(CONFIG)
    (owner,) = config.owners
    assert owner.solidity() == (ADDRESS, b"DE", 2 | 32, b"hospital-A".ljust(32, b"\0"))
    assert len(config.salt) == 32
    assert config.salt != Config.parse(CONFIG).salt


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"owners": []}, "names no owner"),
        ({"threshold": 2}, "threshold"),
        ({"threshold": 0}, "threshold"),
        ({"owners": [OWNER | {"regimes": ["ISO"]}]}, "hospital-A.* known are HIPAA"),
        ({"owners": [OWNER | {"jurisdiction": "Germany"}]}, "jurisdiction"),
        ({"owners": [OWNER | {"account": "hospital.eth"}]}, "address"),
        ({"owners": [OWNER] * 17}, "at most 16"),
        ({"ledger": ADDRESS, "factory": ADDRESS}, "brings its ledger"),
        ({"app": ADDRESS, "factory": ADDRESS}, "makes apps of its own"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_configuration_that_cannot_be_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(FormatError, match=words):
        Config.parse(CONFIG | change)


def test_unanimity_is_warned_of() -> None:
    two = [OWNER, {**OWNER, "account": "0x" + 40 * "c", "id": "hospital-B"}]
    (words,) = Config.parse({"owners": two, "threshold": 2}).warnings()
    assert "one lost wallet stops all" in words
    assert Config.parse({"owners": two, "threshold": 1}).warnings() == []


# --- a deployment that is interrupted ----------------------------------------------------------------------


class Killed(BaseException):
    """The process ends."""


class Mortal:
    """An account whose process ends just before, or just after, one of its deployments is sent."""

    def __init__(self, account: Any, *, sent: int, after: bool) -> None:
        self._account, self._left, self._after = account, sent, after

    def __getattr__(self, name: str) -> Any:
        return getattr(self._account, name)

    def deploy(self, *arguments: Any) -> Any:
        self._left -= 1
        if self._left == 0 and not self._after:
            raise Killed
        made = self._account.deploy(*arguments)
        if self._left == 0:
            raise Killed
        return made


@pytest.fixture
def operator(accounts: Any) -> Any:
    return accounts[9]


def config_of(accounts: Any, **more: Any) -> Config:
    owner = OWNER | {"account": str(accounts[0].address).lower()}
    return Config.parse({"owners": [owner], "threshold": 1, **more})


@pytest.mark.parametrize("after", [False, True], ids=["before it is sent", "after it is sent"])
@pytest.mark.parametrize("place", [1, 2, 3], ids=["lens", "ledger", "factory"])
def test_a_deployment_that_was_killed_goes_on_and_makes_nothing_twice(
    project: Any, accounts: Any, operator: Any, tmp_path: Path, place: int, after: bool
) -> None:
    out = tmp_path / "deployment.json"
    first = operator.nonce
    mortal: Any = Mortal(operator, sent=place, after=after)
    with pytest.raises(Killed):
        deploy(project, mortal, config_of(accounts), Journal(out, config_of(accounts), Site(project, mortal)))
    journal = Journal(out, config_of(accounts), Site(project, operator))
    done = deploy(project, operator, config_of(accounts), journal)
    assert operator.nonce == first + 4  # lens, ledger, factory, and one consortium
    assert project.Factory.at(done.factory).isListed(done.consortium)
    again = deploy(project, operator, config_of(accounts), journal)
    assert again == done and operator.nonce == first + 4
    journal.done(done.json())
    assert [path.name for path in tmp_path.iterdir()] == ["deployment.json"]
    with pytest.raises(Complaint, match="holds the deployment of"):
        journal.done(done.json())


def test_a_consortium_for_an_app_that_is_there_is_made_once_and_no_event_of_it_is_older(
    project: Any, accounts: Any, operator: Any, tmp_path: Path
) -> None:
    app = str(operator.deploy(project.Lens).address).lower()  # any contract
    ledger = deploy_ledger(project, operator).lower()
    config = config_of(accounts, app=app, ledger=ledger)
    first, out = operator.nonce, tmp_path / "deployment.json"
    mortal: Any = Mortal(operator, sent=1, after=True)
    with pytest.raises(Killed):
        deploy(project, mortal, config, Journal(out, config, Site(project, mortal)))
    born = project.provider.get_block("latest").number
    made = get_create_address(operator.address, first)
    project.Consortium.at(made).confirm(sender=accounts[0])
    done = deploy(project, operator, config, Journal(out, config, Site(project, operator)))
    assert (done.consortium, operator.nonce) == (made.lower(), first + 1)
    assert done.block <= born


def test_another_consortium_of_the_same_account_is_not_taken_for_the_one_that_was_asked_for(
    project: Any, accounts: Any, operator: Any, tmp_path: Path
) -> None:
    app = str(operator.deploy(project.Lens).address).lower()  # any contract
    ledger = deploy_ledger(project, operator).lower()
    config = config_of(accounts, app=app, ledger=ledger)
    out, other = tmp_path / "deployment.json", tmp_path / "other.json"
    mortal: Any = Mortal(operator, sent=1, after=False)
    with pytest.raises(Killed):
        deploy(project, mortal, config, Journal(out, config, Site(project, mortal)))
    owner = OWNER | {"account": str(accounts[1].address).lower()}
    another = Config.parse({"owners": [owner], "threshold": 1, "app": app, "ledger": ledger})
    deploy(project, operator, another, Journal(other, another, Site(project, operator)))
    with pytest.raises(Complaint, match="is not the one"):
        deploy(project, operator, config, Journal(out, config, Site(project, operator)))


def test_another_contract_at_the_place_of_one_that_was_not_sent_is_not_taken_for_it(
    project: Any, accounts: Any, operator: Any, tmp_path: Path
) -> None:
    out = tmp_path / "deployment.json"
    mortal: Any = Mortal(operator, sent=1, after=False)
    with pytest.raises(Killed):
        deploy(project, mortal, config_of(accounts), Journal(out, config_of(accounts), Site(project, mortal)))
    lens = operator.deploy(project.Lens)
    other = operator.deploy(project.Ledger, lens)
    assert not is_build_of(bytes(project.provider.web3.eth.get_code(other.address)), project.Lens)
    site = Site(project, operator)
    assert site.left({**site.next(), "nonce": operator.nonce - 1}, project.Lens) is None
    assert site.left({**site.next(), "nonce": operator.nonce - 1}, project.Ledger) == other.address.lower()


def test_a_deployment_goes_on_with_its_own_configuration_on_its_own_chain(
    project: Any, accounts: Any, operator: Any, tmp_path: Path
) -> None:
    out, config = tmp_path / "deployment.json", config_of(accounts)
    site = Site(project, operator)
    journal = Journal(out, config, site)
    lens = journal.once("lens", project.Lens)
    assert Journal(out, config_of(accounts), site).salt == journal.salt
    for other in ({"salt": "0x" + 64 * "1"}, {"ledger": ADDRESS}):
        with pytest.raises(Complaint, match="another deployment"):
            Journal(out, config_of(accounts, **other), site)

    part = out.with_name("deployment.json.part")
    begun = json.loads(part.read_text())
    assert begun["made"] == {"lens": lens}
    for chain in ({**begun["chain"], "id": 1}, {**begun["chain"], "genesis": "0x" + 64 * "0"}):
        part.write_text(json.dumps({**begun, "chain": chain}))
        with pytest.raises(Complaint, match="another chain"):
            Journal(out, config, site)
    part.write_text(json.dumps({**begun, "made": {"lens": ADDRESS}}))
    with pytest.raises(Complaint, match="there is nothing"):
        Journal(out, config, site)


def test_a_finished_deployment_is_named_and_not_overwritten(
    project: Any, operator: Any, tmp_path: Path
) -> None:
    out = tmp_path / "deployment.json"
    out.write_text(json.dumps({"consortium": ADDRESS, "chainId": 1}))
    with pytest.raises(Complaint, match=f"{ADDRESS} on chain 1"):
        Journal(out, Config.parse(CONFIG), Site(project, operator))
