# SPDX-License-Identifier: Apache-2.0
"""Every error of the contracts in words: which field, which owner, and the way out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sealroom.codes import Code
from sealroom.encoding import to_hex
from sealroom.model import PlatformProposal, Study
from sealroom.model.units import delta_text, epsilon_text, time_text
from sealroom_agents.chain.contracts import explain_revert
from sealroom_agents.errors import TransactionError
from sealroom_agents.governance.standing import NOBODY, Standing

Words = tuple[str, str | None]
"""What is wrong, and the way out."""

BUDGETS = {
    1: "ε over the dataset's life",
    2: "δ over the dataset's life",
    3: "ε of this consortium",
    4: "δ of this consortium",
    5: "ε of this day",
    6: "runs of this day",
}
VERSION_FIELDS = {1: "header", 2: "index", 3: "keyCommitment", 5: "rows"}


class _Namer:
    """Names what an error names: owners by their ids, where the consortium is known."""

    def __init__(self, standing: Standing | None) -> None:
        self._standing = standing

    def account(self, value: Any) -> str:
        account = str(value).lower()
        name = account if self._standing is None else self._standing.name(account)
        return account if name == account else f"{name} ({account})"

    def dataset(self, value: Any) -> str:
        if self._standing is not None:
            (facts,) = self._standing.datasets([bytes(value)])
            if facts.known:
                return f"the dataset {self._standing.dataset_name(facts)}"
        return f"the dataset {to_hex(bytes(value))}"

    def owners(self) -> str:
        if self._standing is None:
            return "`govern status` lists the owners"
        return "owners are " + ", ".join(f"{one.id} {one.account}" for one in self._standing.members)


def _owner_id(value: Any) -> str:
    return bytes(value).rstrip(b"\0").decode("ascii", errors="replace")


def _field(fields: Mapping[str, Any], content: object) -> str:
    number = int(fields["field"])
    if not isinstance(content, PlatformProposal | Study):
        return {2: "platform: none is adopted yet", 5: "osImages", 6: "devices"}.get(
            number, f"field {number}"
        )
    names = [part.name for part in type(content).parts()]
    return names[number - 1] if 0 < number <= len(names) else f"field {number}"


def _exceeds(f: Mapping[str, Any], n: _Namer) -> str:
    text = {1: epsilon_text, 3: epsilon_text, 5: epsilon_text, 2: delta_text, 4: delta_text}.get(
        f["kind"], str
    )
    budget = BUDGETS.get(f["kind"], f"budget {f['kind']}")
    return (
        f"{n.dataset(f['dataset'])} has {text(f['left'])} left, and {text(f['wanted'])} is wanted: {budget}"
    )


def _locked(f: Mapping[str, Any], n: _Namer) -> Words:
    if f["holder"] == NOBODY:
        return (
            f"nobody registered {n.dataset(f['dataset'])}",
            "its owner registers it: `govern register`",
        )
    return (
        f"{n.dataset(f['dataset'])} is held by {f['holder']}, who is no owner here: it is locked",
        "its holder needs a seat: `govern roster`; or leave the dataset out",
    )


_Teller = Callable[[Mapping[str, Any], _Namer, object], Words]
TELLERS: dict[str, _Teller] = {
    "ConsortiumNotOwner": lambda f, n, c: (f"{n.account(f['account'])} is no owner", n.owners()),
    "ConsortiumOwnerInvalid": lambda f, n, c: (
        f"the owner {_owner_id(f['id'])!r} is not well-formed",
        "an id is a letter, then up to 30 letters, digits or hyphens; a jurisdiction two upper-case letters; "
        "an account is not zero",
    ),
    "ConsortiumOwnerSeated": lambda f, n, c: (
        f"the owner {_owner_id(f['id'])}, or its account, has a seat already",
        "who has a seat moves it with `govern offer-seat`",
    ),
    "ConsortiumOwnerNotSeated": lambda f, n, c: (
        f"no owner {_owner_id(f['id'])} has a seat to leave",
        n.owners(),
    ),
    "ConsortiumOwnerTaken": lambda f, n, c: (
        f"the id {_owner_id(f['id'])} belongs to {f['account']}, and to whom that account moved its seat",
        "seat it with that account, or another party under another id",
    ),
    "ConsortiumOwnersTooMany": lambda f, n, c: ("there would be more than 16 owners", None),
    "ConsortiumThreshold": lambda f, n, c: (
        f"a threshold of {f['threshold']} of {f['owners']} owners is not possible",
        "it is at least 1, and at most the number of owners",
    ),
    "ConsortiumNoHandover": lambda f, n, c: (
        f"{n.account(f['owner'])} did not offer its seat to {n.account(f['to'])}, the two days of notice "
        f"have "
        "not passed, or that account has a seat",
        "`govern status` shows what is offered, and from when",
    ),
    "ConsortiumCodeMissing": lambda f, n, c: (
        f"{f['account']} has no code",
        "app and ledger are deployed first",
    ),
    "ConsortiumStale": lambda f, n, c: (
        f"it follows {to_hex(f['given'])}, and what it has to follow is {to_hex(f['current'])}",
        "something was adopted or revoked since: propose it anew",
    ),
    "ConsortiumNonceMismatch": lambda f, n, c: (
        f"it was to be pinned after {f['given']} studies, and {f['current']} have been pinned",
        "propose it anew, and have it approved again",
    ),
    "ConsortiumDatasetLocked": lambda f, n, c: _locked(f, n),
    "ConsortiumIncomplete": lambda f, n, c: (
        f"{_field(f, c)} is zero, or has a length that is not possible",
        "at most 64 datasets, images or devices in all",
    ),
    "ConsortiumNotSorted": lambda f, n, c: (
        f"the list is not strictly increasing at place {f['index']}",
        "the desk's own files are in order: write it with `propose`, `platform` or `machines`",
    ),
    "ConsortiumExpiryOutOfRange": lambda f, n, c: (
        f"the expiry {time_text(f['expiry'])} is past, or further away than 400 days",
        "choose another with --days",
    ),
    "ConsortiumAlreadyApproved": lambda f, n, c: (
        f"{n.account(f['owner'])} approved {to_hex(f['proposal'])} already",
        "nothing is left to do for this owner",
    ),
    "ConsortiumWithdrawn": lambda f, n, c: (
        f"{n.account(f['owner'])} withdrew from {to_hex(f['proposal'])}",
        "another expiry makes it another proposal, which can have the approval",
    ),
    "ConsortiumNothingToWithdraw": lambda f, n, c: (
        f"{to_hex(f['proposal'])} is the live study",
        "what runs is stopped by `govern revoke`",
    ),
    "ConsortiumSignersNotSorted": lambda f, n, c: (
        f"the signatures are not in the order of the accounts at {n.account(f['signer'])}",
        "hand each in once, with --signatures",
    ),
    "ConsortiumBadSignature": lambda f, n, c: (
        f"the signature is not one of {n.account(f['signer'])} over this content",
        "another key signed, or it was signed under another standing: sign it again",
    ),
    "ConsortiumVetoStands": lambda f, n, c: (
        f"the veto of {n.account(f['owner'])} stands already",
        "nothing is live; the signature stays good until that veto is lifted",
    ),
    "ConsortiumNotDue": lambda f, n, c: (
        f"the removal {to_hex(f['proposal'])} is not due",
        "all who stay vote for it, half of the seats at least; it only removes; 30 days have passed since "
        "the last vote; and nobody who leaves withdrew from it, or confirmed or withdrew from anything "
        "since: `govern show` says which",
    ),
    "ConsortiumGasTooLow": lambda f, n, c: (
        f"less gas is left than unpinning may need, {f['needed']}",
        "let the wallet estimate the gas, or raise its limit",
    ),
    "ConsortiumNothingToUnpin": lambda f, n, c: (
        "the app allows nothing that it should not",
        "nothing is left to do",
    ),
    "RegistryNotHolder": lambda f, n, c: (
        f"{n.account(f['account'])} does not hold {n.dataset(f['dataset'])}",
        "`govern dataset` shows who holds it, or that nobody has registered it yet",
    ),
    "RegistryName": lambda f, n, c: (
        f"the name {f['name']!r} is not 1 to 64 letters, digits, _ or -, the first one a letter",
        "seal the data under another name",
    ),
    "RegistryExists": lambda f, n, c: (
        f"{n.dataset(f['dataset'])} is registered already",
        "a corrected extract is a version of it: `govern add-version`",
    ),
    "RegistryVersion": lambda f, n, c: (
        f"the version's {VERSION_FIELDS.get(f['field'], f['field'])} is zero, or it has more than 2^40 rows",
        "take it from the sealed file",
    ),
    "RegistryVersionUnknown": lambda f, n, c: (
        f"{n.dataset(f['dataset'])} has no version {f['version']}",
        "version 0 means the newest",
    ),
    "RegistryCapBelowSpent": lambda f, n, c: (
        f"more than that is spent on {n.dataset(f['dataset'])}",
        "what is spent stays spent; `govern allow … --cap 0` stops it here",
    ),
    "RegistryTooMany": lambda f, n, c: (
        f"this account allows {f['consortium']} 16 datasets already",
        "take one back: `govern allow … --cap 0`",
    ),
    "RegistryNoHandover": lambda f, n, c: (
        f"{n.dataset(f['dataset'])} was not offered to {n.account(f['to'])}, or the two days have not passed",
        "`govern dataset` shows what is offered, and from when",
    ),
    "RegistryExceeds": lambda f, n, c: (
        _exceeds(f, n),
        "its holder may raise what it allows: `govern allow`, `govern lifetime`",
    ),
    "LedgerMissingCode": lambda f, n, c: (f"{f['account']} has no code", "deploy the lens first"),
    "LedgerNotGate": lambda f, n, c: (
        f"{f['account']} is not the gate of {f['consortium']}",
        "adopt it first",
    ),
    "LedgerStudyNotLive": lambda f, n, c: (
        f"the study {to_hex(f['study'])} is not live",
        "`govern pending` shows what it lacks",
    ),
    "LedgerRunCount": lambda f, n, c: (f"{f['count']} runs in one transaction", "1 to 256"),
    "LedgerRunIncomplete": lambda f, n, c: (
        f"the run {to_hex(f['runId'])} lacks its field {f['field']}",
        None,
    ),
    "LedgerRunExists": lambda f, n, c: (
        f"the run {to_hex(f['runId'])} was opened before",
        "draw a new run id",
    ),
    "LedgerRunLate": lambda f, n, c: (
        f"the run {to_hex(f['runId'])} was to be opened before {time_text(f['openBefore'])}",
        "start it again; nothing was spent",
    ),
    "LedgerRunsExhausted": lambda f, n, c: (
        f"all {f['maxRuns']} runs of the study {to_hex(f['study'])} are used",
        "propose it anew",
    ),
    "LedgerStudyExceeds": lambda f, n, c: (
        f"the study {to_hex(f['study'])} has {f['left']} left, and {f['wanted']} is wanted",
        "propose it anew with a larger budget",
    ),
    "LedgerStanding": lambda f, n, c: (
        f"it was opened under the standing {to_hex(f['given'])}, and {to_hex(f['current'])} governs now",
        "a revocation, roster or platform came between",
    ),
    "LedgerReceiptExists": lambda f, n, c: (f"the receipt of {to_hex(f['runId'])} is anchored already", None),
    "LedgerOpeningMismatch": lambda f, n, c: (f"{to_hex(f['runId'])} was opened as something else", None),
    "LedgerReceiptMismatch": lambda f, n, c: (
        f"the receipt of {to_hex(f['runId'])} differs from its run in field {f['field']}",
        None,
    ),
    "LedgerBadSignature": lambda f, n, c: (
        f"{f['signer']} did not sign the receipt of {to_hex(f['runId'])}",
        None,
    ),
    "LedgerBatchSize": lambda f, n, c: (
        f"{f['receipts']} receipts with {f['numbers']} numbers",
        "1 to 4,096",
    ),
    "LedgerBatchNumber": lambda f, n, c: (
        f"the run number {f['number']} at place {f['index']} is not above the one before, of no run, or done",
        None,
    ),
    "FactoryMissingCode": lambda f, n, c: (f"{f['account']} has no code", "deploy the ledger first"),
    "FactoryOtherCode": lambda f, n, c: (
        f"the creation code is another than this factory's: {to_hex(f['given'])}",
        "use the release that the factory was deployed from",
    ),
    "OwnableUnauthorizedAccount": lambda f, n, c: (
        f"the app was not offered to {n.account(f['account'])}",
        "its owner sends transferOwnership(consortium) first",
    ),
}
"""What each error says; `c` is the content that was handed in."""


def explained(
    name: str, fields: Mapping[str, Any], *, standing: Standing | None = None, content: object = None
) -> Words:
    """An error by its name and fields, in words, and the way out."""
    teller = TELLERS.get(name)
    if teller is not None:
        return teller(fields, _Namer(standing), content)
    if name == "Error":
        return f"the contract refuses: {fields.get('message')}", None
    shown = ", ".join(
        f"{key}={to_hex(value) if isinstance(value, bytes) else value}" for key, value in fields.items()
    )
    return f"the contract refuses: {name}({shown})", None


def refusal(data: bytes, *, standing: Standing | None, content: object = None) -> TransactionError:
    """A revert as an error of the desk."""
    name, fields = explain_revert(data)
    message, hint = explained(name, fields, standing=standing, content=content)
    return TransactionError(Code.TRANSACTION_REVERTED, message, hint, revert=name, fields=fields)
