# SPDX-License-Identifier: Apache-2.0
"""One consortium, as the governance scripts see it: what it is in, what is missing, and signing for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ape import Project
from ape.api import AccountAPI
from eth_account.messages import SignableMessage
from eth_utils.address import to_checksum_address
from scripts._command import HINTS, Complaint
from scripts._documents import (
    NO_HASH,
    SignatureFile,
    gather,
    load_study,
)
from scripts._send import send
from web3.exceptions import Web3Exception

from sealroom.encoding import address_bytes, to_hex
from sealroom.model import Budget, Cap, Dataset, Owner, Platform, Registration, Study
from sealroom.model.units import delta_text, epsilon_text
from sealroom_agents.chain.contracts import interface

NOBODY = "0x" + 40 * "0"


@dataclass(frozen=True)
class Room:
    """A consortium on the connected chain."""

    project: Project
    contract: Any
    """Ape's instance of Consortium."""
    chain_id: int

    @classmethod
    def at(cls, project: Project, address: str) -> Room:
        """The consortium at an address. Raises `Complaint` when nothing is there."""
        address = to_checksum_address(address)
        if not project.provider.get_code(address):
            raise Complaint(
                f"{address} holds no contract on chain {project.provider.chain_id}",
                "check --consortium and --network; deployment.json has the address",
            )
        return cls(project, project.Consortium.at(address), project.provider.chain_id)

    @property
    def address(self) -> str:
        """Lower case."""
        return str(self.contract.address).lower()

    def send(self, account: AccountAPI, method: str, *arguments: Any) -> Any:
        """Send a transaction to the consortium. Raises `Complaint` when it refuses."""
        return send(self.project, account, getattr(self.contract, method), *arguments)

    def study(self, study_id: bytes) -> Study:
        """A study that was proposed here, from the event that holds its content.

        Raises `Complaint` when there is none. An event whose content is not that of the id is passed over.
        """
        for name in ("StudyProposed", "StudyPinned"):
            for fields in self._logs(name, study_id):
                study = Study.of_abi(fields["content"])
                if study.id == study_id:
                    return study
        raise Complaint(
            f"no study {to_hex(study_id)} was proposed in {self.address}",
            "is it the id that `ape run govern propose` printed? With --study its file does as well",
        )

    def load_study(self, path: Path) -> Study:
        """A study from its file, for the consortium as it stands now."""
        return load_study(path, epoch=self.contract.epoch(), nonce=self.contract.pinCount())

    def _logs(self, event: str, topic: bytes, *, block: int | None = None) -> list[dict[str, Any]]:
        """Fields of the events whose first indexed field is `topic`, the last one first."""
        known = interface("Consortium")
        where: dict[str, Any] = {
            "address": self.contract.address,
            "topics": [to_hex(known.topic(event)), to_hex(topic)],
            "fromBlock": 0 if block is None else block,
            "toBlock": "latest" if block is None else block,
        }
        try:
            found = self.project.provider.web3.eth.get_logs(where)
        except (Web3Exception, ValueError) as error:
            raise Complaint(
                f"the node does not show the events of {self.address}: {error}",
                "nodes that limit how far back they look need --study with the proposal's file",
            ) from error
        decoded = [
            known.decode_log([bytes(one) for one in log["topics"]], bytes(log["data"]))
            for log in reversed(found)
        ]
        return [one[1] for one in decoded if one is not None]

    def owner_ids(self) -> dict[str, str]:
        """Names of the owners by account, lower case."""
        return {owner.account: owner.id for owner in map(Owner.of_abi, self.contract.owners())}

    # --- signing --------------------------------------------------------------------------------

    def sign(
        self, account: AccountAPI, message: SignableMessage, out: Path, *, kind: str, proposal: bytes
    ) -> SignatureFile:
        """Have an owner sign, and write the signature to a file."""
        if account.address.lower() not in self.owner_ids():
            raise Complaint(f"{account.address} is no owner of {self.address}", HINTS["ConsortiumNotOwner"])
        return sign_to(
            out,
            account,
            message,
            kind=kind,
            chain_id=self.chain_id,
            consortium=self.address,
            proposal=proposal,
        )

    def gathered(self, paths: Sequence[Path], *, kind: str, proposal: bytes) -> tuple[list[str], list[bytes]]:
        """Signers and signatures from files, as the contract takes them."""
        found = gather(paths, kind=kind, chain_id=self.chain_id, consortium=self.address, proposal=proposal)
        return [one.owner for one in found], [one.signature for one in found]

    # --- looking --------------------------------------------------------------------------------

    def required(self, study: Study) -> list[str]:
        """Names of the owners without whom a study cannot be pinned."""
        names = self.owner_ids()
        return [names[account.lower()] for account in self.contract.requiredOwners(list(study.datasets))]

    def progress(self, study: Study) -> dict[str, Any]:
        """Who approved a study, who must still, and whether it is pinned."""
        names = self.owner_ids()
        study_id = study.id
        approved = [names[account.lower()] for account in self.contract.approvals(study_id)]
        return {
            "study": to_hex(study_id),
            "approvals": approved,
            "missing": [name for name in self.required(study) if name not in approved],
            "threshold": self.contract.threshold(),
            "pinned": bytes(self.contract.activeStudy()) == study_id,
        }

    def register(self, account: AccountAPI, registration: Registration, cap: Cap | None) -> Any:
        """Register a dataset, unless it is registered just so, and set its cap. Returns the last receipt."""
        receipt = None
        known = self.contract.dataset(registration.dataset_id)
        if known.owner == NOBODY:
            receipt = self.send(account, "registerDataset", *registration.solidity())
        elif known.owner.lower() != account.address.lower() or cap is None:
            receipt = self.send(account, "registerDataset", *registration.solidity())  # says why not
        if cap is not None:
            receipt = self.set_cap(account, registration.dataset_id, cap)
        return receipt

    def set_cap(self, account: AccountAPI, dataset_id: bytes, cap: Cap) -> Any:
        """Set what all runs together may ever spend on a dataset."""
        ledger = self.project.Ledger.at(self.contract.ledger())
        return send(self.project, account, ledger.setCap, self.contract.address, dataset_id, cap.solidity())

    def facts(self) -> dict[str, Any]:
        """All that `status` shows."""
        state = self.contract.state()
        owners = [Owner.of_abi(owner) for owner in state.owners]
        names = {owner.account: owner.id for owner in owners}
        active = bytes(state.activeStudy)
        platform = Platform.of_abi(state.platform)
        revoker = state.revokedBy.lower()
        return {
            "consortium": self.address,
            "chainId": self.chain_id,
            "app": state.app.lower(),
            "ledger": state.ledger.lower(),
            "epoch": state.epoch,
            "nonce": state.nonce,
            "threshold": state.threshold,
            "owners": [owner.to_json() for owner in owners],
            "platform": None if platform.gate_root == NO_HASH else platform.to_json(),
            "activeStudy": None if active == NO_HASH else to_hex(active),
            "live": state.live,
            "study": None if active == NO_HASH else self.study(active).to_json(),
            "approvals": [names[account.lower()] for account in state.approvals],
            "revokedBy": None if revoker == NOBODY else names[revoker],
            "revocationReason": None if revoker == NOBODY else self._reason(revoker, state.revokedBlock),
            "datasets": self._datasets(state.ledger, names),
        }

    def _datasets(self, ledger_address: str, names: dict[str, str]) -> list[dict[str, Any]]:
        ledger = self.project.Ledger.at(ledger_address)
        found = []
        for dataset_id in self.contract.datasetIds():
            dataset = Dataset.of_abi(self.contract.dataset(dataset_id))
            budget = Budget.of_abi(ledger.budget(self.address, dataset_id))
            owner = dataset.owner
            found.append(
                {
                    "id": to_hex(bytes(dataset_id)),
                    # An owner who left keeps its datasets, locked, and has no name here.
                    "owner": names.get(owner, owner),
                    "locked": owner not in names,
                    "name": dataset.name,
                    "rows": dataset.rows,
                    "capMicro": budget.epsilon_cap,
                    "spentMicro": budget.epsilon_spent,
                    "capDeltaPico": budget.delta_cap,
                    "spentDeltaPico": budget.delta_spent,
                    "capRuns": budget.run_cap,
                    "runs": budget.runs,
                }
            )
        return found

    def _reason(self, revoker: str, block: int) -> str:
        """The words of the last revocation; they stand in its event only."""
        logs = self._logs("Revoked", address_bytes(revoker).rjust(32, b"\0"), block=block)
        return str(logs[0]["reason"]) if logs else ""


def sign_to(
    out: Path,
    account: AccountAPI,
    message: SignableMessage,
    *,
    kind: str,
    chain_id: int,
    consortium: str,
    proposal: bytes,
) -> SignatureFile:
    """Have an account sign, without a network, and write the signature to a file."""
    signed = account.sign_message(message)
    if signed is None:
        raise Complaint("nothing was signed")
    signature = SignatureFile(
        kind=kind,
        chain_id=chain_id,
        consortium=consortium,
        proposal=proposal,
        owner=account.address.lower(),
        signature=signed.encode_rsv(),
    )
    signature.save(out)
    return signature


def status_lines(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """`Room.facts` for people."""
    lines = [
        ("consortium", f"{facts['consortium']} on chain {facts['chainId']}"),
        ("app", facts["app"]),
        ("ledger", facts["ledger"]),
        ("epoch", str(facts["epoch"])),
        ("threshold", f"{facts['threshold']} of {len(facts['owners'])}"),
    ]
    for owner in facts["owners"]:
        regimes = ", ".join(owner["regimes"])
        lines.append(("owner", f"{owner['id']}  {owner['account']}  {owner['jurisdiction']}  {regimes}"))
    for dataset in facts["datasets"]:
        lines.append(("dataset", f"{dataset['owner']}/{dataset['name']}  {_budget_text(dataset)}"))
    platform = facts["platform"]
    if platform is None:
        lines.append(("platform", "none adopted yet"))
    else:
        lines.append(("gate", f"{platform['gateSigner']}  root {platform['gateRoot']}"))
        lines.append(("machines", f"{len(platform['devices'])}, OS images {len(platform['osImages'])}"))
    if facts["revokedBy"]:
        lines.append(("revoked", f"by {facts['revokedBy']}: {facts['revocationReason']}"))
    if facts["activeStudy"]:
        state = "live" if facts["live"] else "expired"
        lines.append(("study", f"{facts['activeStudy']}  {state}"))
        lines.append(("approved", ", ".join(facts["approvals"])))
    else:
        lines.append(("study", "none active"))
    return lines


def _budget_text(dataset: dict[str, Any]) -> str:
    spent, cap = epsilon_text(dataset["spentMicro"]), epsilon_text(dataset["capMicro"])
    spent_delta, cap_delta = delta_text(dataset["spentDeltaPico"]), delta_text(dataset["capDeltaPico"])
    return (
        f"{dataset['rows']:,} rows  ε {spent} of {cap}, δ {spent_delta} of {cap_delta} spent in"
        f" {dataset['runs']} of {dataset['capRuns']} runs{'  locked' if dataset['locked'] else ''}"
        f"  {dataset['id']}"
    )


def progress_lines(progress: dict[str, Any]) -> list[tuple[str, str]]:
    """`Room.progress` for people."""
    lines = [
        ("study", progress["study"]),
        (
            "approved",
            f"{', '.join(progress['approvals']) or 'by nobody yet'} (threshold {progress['threshold']})",
        ),
    ]
    if progress["missing"]:
        lines.append(("missing", f"{', '.join(progress['missing'])}: owners of the data, or who revoked"))
    lines.append(("pinned", "yes" if progress["pinned"] else "no"))
    return lines
