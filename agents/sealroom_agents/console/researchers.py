# SPDX-License-Identifier: Apache-2.0
"""Who asks for a run or takes one back, and whether the owners allow it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from sealroom import typed
from sealroom.codes import Code
from sealroom.encoding import to_hex
from sealroom.errors import KeyMaterialError
from sealroom.recipe import Recipe
from sealroom.recipe.researchers import ANYONE
from sealroom_agents.errors import RequestError
from sealroom_agents.index import Indexed
from sealroom_agents.researcher import MAX_AGE_S, RunCancellation, RunRequest, signable
from sealroom_agents.store import Store

SAY = "sign the request (sealroom run --keystore), or send an API token of the operator's (--token-file)"


@dataclass(frozen=True)
class Signed:
    """A request with its signature, as it came."""

    request: RunRequest | RunCancellation
    account: str
    signature: bytes


@dataclass(frozen=True)
class Asker:
    """Who asks."""

    account: str | None
    """`None` for somebody who did not say."""
    run_id: str | None = None
    """Id of the run, where a signed request gives it."""


NOBODY = Asker(None)


class Askers:
    """Tells who asks, and whom the owners named."""

    def __init__(self, store: Store, indexed: Indexed, *, clock: Callable[[], float]) -> None:
        self._store = store
        self._indexed = indexed
        self._clock = clock

    def of_token(self, authorization: str | None) -> Asker:
        """Who shows a token; nobody without one. Raises `RequestError` `unauthorized`."""
        if authorization is None:
            return NOBODY
        scheme, _, token = authorization.partition(" ")
        account = self._store.account_of(token.strip()) if scheme.lower() == "bearer" else None
        if account is None:
            raise RequestError(
                Code.UNAUTHORIZED,
                "the token is unknown, has ended or is too old",
                "ask the console's operator for another: sealroom token issue",
            )
        return Asker(account)

    def of_signature(self, signed: Signed, *, consortium: str) -> Asker:
        """Who signed. Raises `RequestError` `request-expired`, `request-forged`."""
        now = self._clock()
        if not now < signed.request.expires <= now + MAX_AGE_S:
            raise RequestError(
                Code.REQUEST_EXPIRED,
                f"the request expires at {signed.request.expires}, and it is {int(now)} here",
                f"sign one that expires within {MAX_AGE_S} s from now",
            )
        message = signable(signed.request, chain_id=self._indexed.chain_id(), consortium=consortium)
        digest = typed.digest(message)
        try:
            signer = typed.recover_digest(digest, signed.signature)
        except KeyMaterialError as error:
            raise RequestError(Code.REQUEST_FORGED, error.message) from error
        if signer != signed.account:
            raise RequestError(
                Code.REQUEST_FORGED,
                f"{signer} signed, and {signed.account} is said to ask",
                "sign exactly what is sent: recipe, owners, salt, expires, chain and consortium",
            )
        return Asker(signer, to_hex(digest))

    def require_run(self, asker: Asker, recipe: Recipe, consortium: str) -> None:
        """Whoever the recipe names may ask, and the owners. Raises `RequestError` `researcher-needed`,
        `researcher-unknown`."""
        if recipe.researchers == (ANYONE,):
            return
        if asker.account is None:
            raise RequestError(
                Code.RESEARCHER_NEEDED, "the owners did not allow runs of this recipe for everybody", SAY
            )
        if asker.account not in recipe.researchers:
            self._require_owner(asker.account, consortium)

    def require_cancel(self, asker: Asker, *, researcher: str | None, consortium: str) -> None:
        """Whoever asked for a run may take it back, and each owner. Raises as `require_run`."""
        if asker.account is None:
            raise RequestError(
                Code.RESEARCHER_NEEDED, "a run is taken back by whoever asked for it, or by an owner", SAY
            )
        if asker.account != researcher:
            self._require_owner(asker.account, consortium)

    def _require_owner(self, account: str, consortium: str) -> None:
        if account not in _accounts(self._indexed, consortium):
            raise RequestError(
                Code.RESEARCHER_UNKNOWN,
                f"{account} is neither named for this nor an owner",
                "owners name researchers in the recipe: it takes a new one, and their approvals",
            )


def _accounts(indexed: Indexed, consortium: str) -> Collection[str]:
    return {owner.account for owner in indexed.one(consortium).facts.view.owners}
