# SPDX-License-Identifier: Apache-2.0
"""The REST interface as methods: one a route, typed as OpenAPI says, each answer verified."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar, cast, get_args, get_type_hints
from urllib.parse import urlencode

from sealroom.codes import Code
from sealroom.encoding import sha256, to_hex
from sealroom_agents.client import types
from sealroom_agents.client.asking import Signer, signed_cancellation, signed_run
from sealroom_agents.client.connection import Connection
from sealroom_agents.errors import ToolError

PATIENCE_S = 60.0
"""How long a stream may be broken, or the console away, before it is given up, seconds."""
LOOK_S = 0.5
"""Pause before a broken stream is taken up, and between two looks at a run, seconds."""
LIVED_S = 5.0
"""A stream that ends in order after so long was cut by a proxy, and is no broken one, seconds."""
RUN_ID = re.compile("0x[0-9a-f]{64}")
STATES = frozenset(get_args(get_type_hints(types.RunState)["state"]))
ENDS = frozenset({"done", "refused", "revoked", "cancelled", "failed"})
"""States in which a run stays."""
Answered = TypeVar("Answered")


def patient(ask: Callable[[], Answered]) -> Answered:
    """Ask until the console answers: it may be restarting. Raises what `ask` does, `console-unreachable` once
    the console was away for `PATIENCE_S`."""
    since = time.monotonic()
    while True:
        try:
            return ask()
        except ToolError as error:
            if error.code != Code.CONSOLE_UNREACHABLE or time.monotonic() - since > PATIENCE_S:
                raise
        time.sleep(LOOK_S)


class Console:
    """What programs and commands ask of a console. A refusal is raised as `ToolError` with its code."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    # --- reading ----------------------------------------------------------------------------------

    def about(self) -> types.Console:
        """Whose answers these are."""
        return cast(types.Console, self._get("/v1/console"))

    def studies(self, *, start: int = 0, status: str | None = None, owner: str = "") -> types.Studies:
        """A page of the board."""
        return cast(types.Studies, self._get("/v1/studies", **{"from": start}, status=status, owner=owner))

    def study(self, consortium: str) -> types.Study:
        """One consortium and its present study."""
        return cast(types.Study, self._get(f"/v1/studies/{consortium}"))

    def history(self, consortium: str, *, start: int = 0) -> types.ActivityPage:
        """What happened to it."""
        return cast(types.ActivityPage, self._get(f"/v1/studies/{consortium}/history", **{"from": start}))

    def archive(self, consortium: str, *, since: str = "", until: str = "") -> bytes:
        """The same as a ZIP with its proofs. since, until: first and last day, such as `2026-11-28`."""
        given = urlencode({k: v for k, v in (("since", since), ("until", until)) if v})
        return self._bytes(f"/v1/studies/{consortium}/history.zip" + (f"?{given}" if given else ""))

    def proposals(self, consortium: str) -> types.Proposals:
        """Studies that wait for approvals."""
        return cast(types.Proposals, self._get(f"/v1/studies/{consortium}/proposals"))

    def tasks(self, account: str, *, strangers: bool = False, start: int = 0) -> types.Tasks:
        """What awaits an account, of 25 consortia at a time: of those in which it acted or that the operator
        pinned, or of all others that name it, which anybody may have made."""
        where = "strangers" if strangers else "own"
        return cast(types.Tasks, self._get(f"/v1/accounts/{account}/tasks", where=where, **{"from": start}))

    def signatures(self, consortium: str, study: str) -> types.Signatures:
        """What was gathered of a study that waits, and the transaction that hands it in."""
        return cast(types.Signatures, self._get(f"/v1/studies/{consortium}/proposals/{study}/signatures"))

    def datasets(self, consortium: str) -> types.Datasets:
        """Datasets that it may use."""
        return cast(types.Datasets, self._get(f"/v1/studies/{consortium}/datasets"))

    def all_datasets(
        self, *, consortium: str | None = None, owner: str = "", declared: bool = False
    ) -> Iterator[types.ListedDataset]:
        """Datasets that any consortium may use, page by page, once for each such consortium. owner: only
        those of the owner with this id. declared: those of consortia that only their creators declared."""
        after: str | None = ""
        while after is not None:
            asked = {"consortium": consortium, "owner": owner, "declared": "true" if declared else ""}
            page = cast(types.DatasetPage, self._get("/v1/datasets", **asked, after=after))
            yield from page["datasets"]
            after = page["next"]

    def budgets(self, consortium: str) -> types.Budgets:
        """What may be spent, and is."""
        return cast(types.Budgets, self._get(f"/v1/studies/{consortium}/budgets"))

    def receipts(self, consortium: str, *, start: int = 0) -> types.Receipts:
        """Receipts on chain."""
        return cast(types.Receipts, self._get(f"/v1/studies/{consortium}/receipts", **{"from": start}))

    def recipe(self, compose_hash: str) -> bytes:
        """A recipe's exact bytes, whose digest is checked."""
        data = self._bytes(f"/v1/recipes/{compose_hash}")
        if to_hex(sha256(data)) != compose_hash:
            raise ToolError(Code.RECIPE_HASH_MISMATCH, "the console sends another recipe")
        return data

    def run(self, run_id: str) -> types.RunState:
        """A run as it stands."""
        state = self._get(f"/v1/runs/{run_id}")
        if not isinstance(state, dict) or state.get("id") != run_id or state.get("state") not in STATES:
            raise ToolError(Code.CONSOLE_UNREACHABLE, "the console answers something else than this run")
        return cast(types.RunState, state)

    def runs(self, *, consortium: str | None = None, state: str | None = None) -> Iterator[types.RunLine]:
        """Runs, newest first, page by page."""
        after: str | None = ""
        while after is not None:
            page = cast(types.RunPage, self._get("/v1/runs", consortium=consortium, state=state, after=after))
            yield from page["runs"]
            after = page["next"]

    def envelope(self, run_id: str) -> bytes:
        """A run's envelope, for `sealroom verify`."""
        return self._bytes(f"/v1/runs/{run_id}/envelope")

    def follow(self, run_id: str, *, after: str = "") -> Iterator[types.RunEvent]:
        """What happens to a run, until it ends. A stream that breaks is taken up where it broke."""
        broken: float | None = None
        while True:
            began, cause = time.monotonic(), None
            try:
                for event in self.connection.events(f"/v1/runs/{run_id}/events", after=after):
                    broken = None
                    if event.name == "end":
                        return
                    if event.name != "phase":
                        continue  # such as how long the lease lasts
                    after = event.id
                    yield cast(types.RunEvent, json.loads(event.data))
            except ToolError as error:
                if error.code != Code.CONSOLE_UNREACHABLE:
                    raise
                cause = error
            now = time.monotonic()
            if broken is None or (cause is None and now - began > LIVED_S):
                broken = now
            if now - broken > PATIENCE_S:
                raise cause or ToolError(
                    Code.CONSOLE_UNREACHABLE,
                    f"the console ends each stream of run {run_id} before the run ends",
                )
            time.sleep(LOOK_S)

    def watch(
        self,
        run_id: str,
        *,
        wait_s: float | None = None,
        until: frozenset[str] = ENDS,
        tell: Callable[[types.RunState], object] = lambda state: None,
    ) -> types.RunState:
        """Look at a run until it is in one of these states, or `wait_s` is over; each look is told.

        Raises `ToolError` `console-unreachable` once the console was away for `PATIENCE_S`.
        """
        deadline = None if wait_s is None else time.monotonic() + wait_s
        while True:
            state = patient(lambda: self.run(run_id))
            tell(state)
            if state["state"] in until or (deadline is not None and time.monotonic() > deadline):
                return state
            time.sleep(LOOK_S)

    # --- asking -----------------------------------------------------------------------------------

    def keep_recipe(self, compose: bytes) -> types.RecipeKept:
        """Hand in a recipe."""
        return cast(types.RecipeKept, self._json("PUT", f"/v1/recipes/{to_hex(sha256(compose))}", compose))

    def submit(
        self,
        compose: bytes,
        owners: Sequence[str],
        *,
        chain_id: int | None = None,
        consortium: str | None = None,
        account: str | None = None,
        signer: Signer | None = None,
        idempotency_key: str | None = None,
    ) -> types.RunAccepted:
        """Ask for a run. With an account and its signer the request is signed, and names the consortium and
        its chain, which is the console's unless `chain_id` says another."""
        body: dict[str, Any] = {"compose": base64.b64encode(compose).decode(), "owners": list(owners)}
        expected = None
        if consortium is not None:
            body["consortium"] = consortium
        if signer is not None:
            if consortium is None:
                raise ToolError(Code.MALFORMED, "a signed request names its consortium")
            expected, body["signed"] = signed_run(
                sha256(compose),
                owners,
                chain_id=self._chain_id() if chain_id is None else chain_id,
                consortium=consortium,
                account=account or "",
                signer=signer,
            )
        headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
        accepted = self._json("POST", "/v1/runs", body, headers)
        run_id = accepted.get("id") if isinstance(accepted, dict) else None
        if not isinstance(run_id, str) or not RUN_ID.fullmatch(run_id) or expected not in (None, run_id):
            raise ToolError(
                Code.CONSOLE_UNREACHABLE, "the console answers with another run than was asked for"
            )
        return cast(types.RunAccepted, accepted)

    def cancel(
        self, run_id: str, *, account: str | None = None, signer: Signer | None = None
    ) -> types.RunLine:
        """Take a run back."""
        body: dict[str, Any] = {}
        if signer is not None:
            body["signed"] = signed_cancellation(
                run_id,
                chain_id=self._chain_id(),
                consortium=self.run(run_id)["consortium"],
                account=account or "",
                signer=signer,
            )
        return cast(types.RunLine, self._json("POST", f"/v1/runs/{run_id}/cancel", body))

    def hand_in_signature(
        self, consortium: str, *, study: str, owner: str, signature: bytes
    ) -> types.Signatures:
        """Hand in an owner's signature of an approval."""
        body = {"study": study, "owner": owner, "signature": to_hex(signature)}
        return cast(types.Signatures, self._json("POST", f"/v1/studies/{consortium}/signatures", body))

    # --- inside -----------------------------------------------------------------------------------

    def _chain_id(self) -> int:
        chain_id = self.about()["chainId"]
        if chain_id is None:
            raise ToolError(Code.INDEX_BEHIND, "the console has not looked at its chain yet")
        return chain_id

    def _get(self, path: str, **query: Any) -> Any:
        given = {name: value for name, value in query.items() if value not in (None, "")}
        return self._json("GET", path + (f"?{urlencode(given)}" if given else ""))

    def _bytes(self, path: str) -> bytes:
        answer = self.connection.call("GET", path)
        if not answer.ok:
            raise answer.problem()
        return answer.body

    def _json(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        answer = self.connection.call(method, path, data, headers=headers)
        if not answer.ok:
            raise answer.problem()
        return answer.json()
