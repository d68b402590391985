# SPDX-License-Identifier: Apache-2.0
"""The governance desk as owners use it: `sealroom govern` on a local chain, in this process.

office = Office.open(chain, tmp_path)                    # four hospitals, three grant
office.govern("status")                                  # the JSON that it prints
office.govern("revoke", "--reason", "stop", by=1)        # hospital-B, with its keystore file
office.refused("confirm", by=9)                          # code and words of a refusal
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from eth_account import Account
from tests.local_chain import ROOT, Dataset, LocalChain, Room, account, private_key

from sealroom.encoding import to_hex
from sealroom.files import PRIVATE, write_atomic
from sealroom.model import dataset_id
from sealroom.recipe import Recipe, parse, render
from sealroom.schema import schema_hash
from sealroom_agents.cli import main
from sealroom_agents.owner.registration import Registration

LETTERS = "ABCD"
STUDY = ROOT / "enclave" / "studies" / "cardio-renal"
PASSPHRASE = "correct horse"
STRANGER = 12
GATE = 8
"""Account of the gate's signer."""


@cache
def recipe_bytes() -> bytes:
    """The exact bytes of the study's recipe."""
    return render(STUDY)


def recipe() -> Recipe:
    """The study's recipe."""
    return parse(recipe_bytes())


@cache
def keystore(number: int) -> str:
    """A keystore file of anvil's account; quick to open, since it guards nothing."""
    return json.dumps(Account.encrypt(private_key(number), PASSPHRASE, kdf="pbkdf2", iterations=1))


@dataclass
class Office:
    """One consortium and a folder of files."""

    chain: LocalChain
    room: Room
    folder: Path

    @classmethod
    def open(
        cls, chain: LocalChain, folder: Path, *, accounts: Sequence[str | None] = (), threshold: int = 3
    ) -> Office:
        """Four hospitals; an account in `accounts` takes the place of anvil's."""
        from tests.local_chain import member

        given = [*accounts, *[None] * len(LETTERS)][: len(LETTERS)]
        owners = [member(given[n] or account(n), f"hospital-{letter}") for n, letter in enumerate(LETTERS)]
        office = cls(chain, chain.create_consortium(owners, threshold=threshold), folder)
        office.file("app-compose.json", recipe_bytes())
        return office

    def file(self, name: str, content: bytes | dict[str, Any] | None = None) -> str:
        """Path of a file, with what it shall hold."""
        path = self.folder / name
        if content is not None:
            path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        return str(path)

    def read(self, name: str) -> dict[str, Any]:
        """A file that the desk wrote."""
        return dict(json.loads((self.folder / name).read_text()))

    def keystore(self, number: int) -> str:
        """A keystore file of one of anvil's accounts."""
        path = self.folder / f"account-{number}.json"
        if not path.exists():
            write_atomic(path, keystore(number).encode(), mode=PRIVATE)
        return str(path)

    def run(
        self,
        action: str,
        *options: str,
        by: int | None = None,
        as_json: bool = True,
        urls: Sequence[str] = (),
    ) -> tuple[int, str, str]:
        """Status, stdout and stderr."""
        words = ["govern", action, *options]
        if action != "sign":
            words += ["--consortium", self.room.consortium]
            words += [part for url in urls or (self.chain.url,) for part in ("--rpc", url)]
        if by is not None:
            words += ["--keystore", self.keystore(by), "--yes"]
        words += ["--json"] * as_json
        done = CliRunner().invoke(main, words, env={"SEALROOM_PASSPHRASE": PASSPHRASE, "COLUMNS": "110"})
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done.exit_code, done.stdout, done.stderr

    def govern(self, action: str, *options: str, by: int | None = None, **more: Any) -> dict[str, Any]:
        """What it prints as JSON."""
        status, printed, said = self.run(action, *options, by=by, **more)
        assert status == 0, printed + said
        return dict(json.loads(printed))

    def text(self, action: str, *options: str, by: int | None = None, **more: Any) -> str:
        """What a person reads, stderr first."""
        status, printed, said = self.run(action, *options, by=by, as_json=False, **more)
        assert status == 0, printed + said
        return said + printed

    def refused(self, action: str, *options: str, by: int | None = None, **more: Any) -> tuple[str, str, str]:
        """Code, words and hint of a refusal."""
        status, printed, said = self.run(action, *options, by=by, **more)
        assert status == 1, printed + said
        refusal = json.loads(printed.splitlines()[-1])
        assert refusal["ok"] is False
        return refusal["code"], refusal["error"], refusal["hint"] or ""

    # --- what tests begin with ------------------------------------------------------------------

    def adopt(self) -> None:
        """The first owners adopt a platform."""
        self.adopt_with((0, 1, 2))

    def adopt_with(self, owners: Sequence[int], *, policy_hash: bytes = b"\x33" * 32) -> None:
        """These owners adopt a platform."""
        platform = {
            "gateRoot": "0x" + 64 * "1",
            "gateSigner": account(GATE),
            "gateCompose": "0x" + 64 * "2",
            "policyHash": to_hex(policy_hash),
            "osImages": ["0x" + 64 * "4"],
            "devices": ["0x" + 64 * "5"],
        }
        file, drafted = self.file("first.json", platform), self.file("first.proposal.json")
        self.govern("platform", "--file", file, "--draft", "--out", drafted)
        for owner in owners:
            self.govern("approve", "--proposal", drafted, "--against", file, by=owner)

    def datasets(self) -> list[Dataset]:
        """The datasets that the recipe reads, each registered and allowed by its owner."""
        found = []
        for n, spec in enumerate(recipe().datasets):
            one = Dataset(owner=n, name=spec.name, schema_hash=schema_hash(spec.columns))
            self.chain.register(self.room, one, cap_micro=9_000_000, cap_pico=9_000_000)
            found.append(one)
        return found

    def registration(self, one: Dataset, *, number: int = 1) -> str:
        """The file that `sealroom seal` writes."""
        return self.registration_of(one, account(one.owner), number=number)

    def registration_of(self, one: Dataset, owner: str, *, number: int = 1) -> str:
        """The same, for another account."""
        given = Registration(
            dataset=dataset_id(owner, one.name),
            owner=owner,
            name=one.name,
            number=number,
            version=one.version,
        )
        return self.file(f"{one.name}.registration.json", given.to_json())

    def propose(self, *more: str, by: int = 0, days: int = 30) -> str:
        """Id of a study of the recipe, with one vote."""
        given = "--recipe", self.file("app-compose.json"), "--runs", "2", "--days", str(days), *more
        return str(self.govern("propose", *given, by=by)["proposal"])

    def approve(self, proposal: str, *owners: int) -> dict[str, Any]:
        """Owners vote; the last answer."""
        answer: dict[str, Any] = {}
        for owner in owners:
            answer = self.govern("approve", proposal, "--recipe", self.file("app-compose.json"), by=owner)
        return answer
