# SPDX-License-Identifier: Apache-2.0
"""Genuine Safes as owners, of both versions in use; their owners sign as wallets do, through EIP-712."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from sealroom import typed
from sealroom.model import dataset_id
from sealroom_agents.chain.contracts import interface
from tests.contracts import safes
from tests.contracts.pair import Pair
from tests.contracts.safes import Published, Safe
from tests.local_chain import LocalChain, Reverted

pytestmark = pytest.mark.anvil

FIRST, NEWCOMER = 1, 12
"""Accounts: the first owner of each Safe, and who takes that one's place."""
KINDS = [(package, k, n) for package in (safes.V1_4_1, safes.V1_5_0) for k, n in ((2, 3), (5, 8))]
NAMES = [f"{safes.VERSIONS[package]}, {k}-of-{n}" for package, k, n in KINDS]


@dataclass(frozen=True)
class Ward:
    """A Safe as the second owner of a consortium; its own approval is missing."""

    published: Published
    safe: Safe
    pair: Pair

    @property
    def signers(self) -> range:
        """As many of the Safe's owners as it takes."""
        return range(FIRST, FIRST + self.safe.threshold)

    def sign(self, digest: bytes) -> bytes:
        return self.safe.sign_digest(digest, self.signers)

    def execute(self, function: str, *arguments: object) -> None:
        self.safe.execute(
            self.pair.room.consortium, self.pair.data(function, *arguments), signers=self.signers
        )


@pytest.fixture(scope="module")
def chain() -> Iterator[LocalChain]:
    with LocalChain.start() as chain:
        yield chain


@pytest.fixture(scope="module")
def published(chain: LocalChain) -> dict[str, Published]:
    return {package: safes.deploy(chain, package) for package in safes.VERSIONS}


@pytest.fixture(params=KINDS, ids=NAMES)
def ward(
    request: pytest.FixtureRequest, chain: LocalChain, published: dict[str, Published]
) -> Iterator[Ward]:
    package, k, n = request.param
    before = chain.snapshot()
    safe = published[package].create(range(FIRST, FIRST + n), k)
    yield Ward(published[package], safe, Pair.create(chain, safe.address))
    chain.restore(before)


# --- approving ----------------------------------------------------------------------------------


def test_a_safe_approves_by_transaction(ward: Ward) -> None:
    assert not ward.pair.is_pinned()
    ward.execute("approve", ward.pair.content(), [])
    assert ward.pair.is_pinned()


def test_a_safe_approves_by_signatures_gathered_off_chain(ward: Ward) -> None:
    ward.pair.hand_in(ward.sign(typed.digest(ward.pair.approval())))
    assert ward.pair.is_pinned()


def test_a_safe_below_its_own_threshold_has_not_signed(ward: Ward) -> None:
    digest = typed.digest(ward.pair.approval())
    with pytest.raises(Reverted) as refused:
        ward.pair.hand_in(ward.safe.sign_digest(digest, ward.signers[1:]))
    assert refused.value.name == "ConsortiumBadSignature"
    assert not ward.pair.is_pinned()

    ward.pair.hand_in(ward.safe.sign_digest(digest, ward.signers))
    assert ward.pair.is_pinned()


def test_a_safe_that_confirmed_a_message_on_chain_needs_no_signature(ward: Ward) -> None:
    with pytest.raises(Reverted) as refused:
        ward.pair.hand_in(b"")
    assert refused.value.name == "ConsortiumBadSignature"

    confirm = safes.call("signMessage(bytes)", typed.digest(ward.pair.approval()))
    ward.safe.execute(
        ward.published.sign_message, confirm, signers=ward.signers, operation=safes.DELEGATECALL
    )
    ward.pair.hand_in(b"")
    assert ward.pair.is_pinned()


def test_what_its_owners_signed_for_another_safe_of_theirs_is_not_the_safes(ward: Ward) -> None:
    twin = ward.published.create(ward.safe.owners, ward.safe.threshold, salt=1)
    good = typed.digest(ward.pair.approval())
    named = typed.digest(ward.pair.approval(owner=twin.address))
    for signature in (twin.sign_digest(good, ward.signers), ward.sign(named)):
        with pytest.raises(Reverted) as refused:
            ward.pair.hand_in(signature)
        assert refused.value.name == "ConsortiumBadSignature"

    ward.pair.hand_in(ward.sign(good))
    assert ward.pair.is_pinned()


def test_a_safe_that_a_safe_owns_approves_by_signature_and_by_transaction(ward: Ward) -> None:
    outer = ward.published.create((ward.safe, NEWCOMER), 2)
    pair = Pair.create(ward.pair.chain, outer.address)
    pair.hand_in(outer.sign_digest(typed.digest(pair.approval()), outer.owners))
    assert pair.is_pinned()

    pair = pair.again()
    outer.execute(pair.room.consortium, pair.data("approve", pair.content(), []), signers=outer.owners)
    assert pair.is_pinned()


# --- another owner of the Safe ------------------------------------------------------------------


def test_signatures_of_former_owners_do_not_count(ward: Ward) -> None:
    digest = typed.digest(ward.pair.approval())
    former = ward.sign(digest)
    ward.safe.swap_owner(FIRST, NEWCOMER, signers=ward.signers)
    with pytest.raises(Reverted) as refused:
        ward.pair.hand_in(former)
    assert refused.value.name == "ConsortiumBadSignature"
    assert not ward.pair.is_pinned()

    ward.pair.hand_in(ward.safe.sign_digest(digest, (*ward.signers[1:], NEWCOMER)))
    assert ward.pair.is_pinned()


def test_a_transaction_that_former_owners_signed_is_refused(ward: Ward) -> None:
    to, data = ward.pair.room.consortium, ward.pair.data("approve", ward.pair.content(), [])
    former = ward.safe.sign(ward.safe.message(to, data), ward.signers)
    ward.safe.swap_owner(FIRST, NEWCOMER, signers=ward.signers)
    with pytest.raises(Reverted) as refused:
        ward.pair.chain.send(safes.RELAYER, ward.safe.address, safes.execution(to, data, former))
    assert refused.value.fields["message"] == "GS026"
    assert not ward.pair.is_pinned()

    ward.safe.execute(to, data, signers=(*ward.signers[1:], NEWCOMER))
    assert ward.pair.is_pinned()


# --- stopping and withdrawing -------------------------------------------------------------------


def test_a_safe_revokes_by_transaction(ward: Ward) -> None:
    ward.execute("approve", ward.pair.content(), [])
    assert ward.pair.is_pinned()
    ward.execute("revoke", "consent withdrawn")
    assert not ward.pair.is_pinned()
    assert ward.pair.revoked_by() == (ward.safe.address.lower(),)


def test_a_safe_revokes_by_signatures_gathered_off_chain(ward: Ward) -> None:
    ward.execute("approve", ward.pair.content(), [])
    assert ward.pair.is_pinned()
    signature = ward.sign(typed.digest(ward.pair.revocation("stop")))
    with pytest.raises(Reverted) as refused:
        ward.pair.hand_in_revocation("another word", signature)
    assert refused.value.name == "ConsortiumBadSignature"
    assert ward.pair.is_pinned()

    ward.pair.hand_in_revocation("stop", signature)
    assert not ward.pair.is_pinned()
    assert ward.pair.revoked_by() == (ward.safe.address.lower(),)


def test_after_its_revocation_the_safe_must_approve_anew(ward: Ward) -> None:
    former = ward.sign(typed.digest(ward.pair.approval()))
    ward.execute("revoke", "stop")
    with pytest.raises(Reverted) as refused:
        ward.pair.hand_in(former)
    assert refused.value.name == "ConsortiumStale"

    pair = ward.pair.again()
    with pytest.raises(Reverted) as refused:
        pair.hand_in(former)
    assert refused.value.name == "ConsortiumBadSignature"
    pair.hand_in(ward.sign(typed.digest(pair.approval())))
    assert pair.is_pinned()


def test_a_safe_withdraws_by_transaction(ward: Ward) -> None:
    signature = ward.sign(typed.digest(ward.pair.approval()))
    ward.execute("withdraw", ward.pair.study)
    with pytest.raises(Reverted) as refused:
        ward.pair.hand_in(signature)
    assert refused.value.name == "ConsortiumWithdrawn"
    assert not ward.pair.is_pinned()


def test_a_safe_withdraws_by_signatures_gathered_off_chain(ward: Ward) -> None:
    signature = ward.sign(typed.digest(ward.pair.approval()))
    ward.pair.hand_in_withdrawal(ward.sign(typed.digest(ward.pair.withdrawal())))
    with pytest.raises(Reverted) as refused:
        ward.pair.hand_in(signature)
    assert refused.value.name == "ConsortiumWithdrawn"
    assert not ward.pair.is_pinned()


# --- its data -----------------------------------------------------------------------------------


def test_a_safe_registers_a_dataset_and_lets_the_consortium_use_it(ward: Ward) -> None:
    pair = ward.pair
    dataset = dataset_id(ward.safe.address.lower(), "cohort-S")
    version = b"\x01" * 32, b"\x02" * 32, b"\x03" * 32, b"\x04" * 32, 1968
    ledger = interface("Ledger")
    for call in (
        ledger.encode("register", "cohort-S", version, 3_000_000, 100),
        ledger.encode("allow", dataset, pair.room.consortium, (2_000_000, 100, 1_000_000, 3)),
    ):
        ward.safe.execute(pair.room.ledger, call, signers=ward.signers)
    found = pair.chain.call("Ledger", pair.room.ledger, "datasetOf", dataset)
    assert found["holder"].lower() == ward.safe.address.lower()
    assert pair.chain.call("Ledger", pair.room.ledger, "accountOf", dataset)["epsilonCap"] == 3_000_000
    allowed = pair.chain.call("Ledger", pair.room.ledger, "allowanceOf", dataset, pair.room.consortium)
    assert (allowed["epsilonCap"], allowed["runsPerDay"]) == (2_000_000, 3)
