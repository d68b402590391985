# SPDX-License-Identifier: Apache-2.0
"""Phala Cloud's HTTP interface, as far as the runner speaks it.

Source: Phala's SDKs (`phala-cloud` 0.2.0, `@phala/cloud` 0.2.9), API version 2026-06-23. A failure is a JSON
object, in newer ones with `error_code`, `message` and `details`, a list of `field` and `value`; 465 says that
a compose hash must be registered on chain first; 409 without a code, that something is under way.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from sealroom.codes import Code
from sealroom.encoding import strict_json
from sealroom.errors import FormatError
from sealroom_agents.errors import RunnerError
from sealroom_agents.runner.remote import told
from sealroom_agents.runner.rest import MAX_ANSWER_BYTES, A, Answer, Reply, Server, parsed

VERSION = "2026-06-23"
"""Version of the interface, sent with each request."""
PAGE = 100
"""Items that are listed at once."""
MAX_ITEMS = 10_000
"""Most items of one list that are looked through."""
REGISTER_FIRST = 465
"""Status: the compose hash must be allowed on chain before."""
ID = r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,127}"
"""What may stand in a path: no dots alone, which would lead a request and the API key up in it."""

CODES: Mapping[str, Code] = {
    "ERR-01-006": Code.HOST_BUSY,  # what was provisioned is forgotten: provision again
    "ERR-02-006": Code.HOST_FEATURE,
    "ERR-02-007": Code.HOST_FEATURE,
    "ERR-02-010": Code.OS_IMAGE_UNKNOWN,
    "ERR-02-012": Code.HOST_UNREACHABLE,
    "ERR-03-001": Code.VM_UNKNOWN,
    "ERR-03-003": Code.HOST_TOKEN,
    "ERR-03-005": Code.HOST_TOKEN,
    "ERR-05-001": Code.HOST_TOKEN,
    "ERR-05-002": Code.HOST_BUSY,
    "ERR-06-006": Code.HOST_TOKEN,
}
"""Codes of what the cloud says; of another one `host-refused`."""

ADVICE: Mapping[str, str] = {
    "ERR-01-005": "have the owners approve the recipe, and register the consortium's app at the cloud's KMS",
    "ERR-01-007": "the transaction is not final yet, or is another one",
    "ERR-01-008": "the consortium's app does not allow the recipe's hash: have the owners approve it",
    "ERR-03-007": "another recipe of this app has a VM there: runs of one app end one after another",
    "ERR-04-001": "the workspace's balance is too low",
}
"""What to do about some of them."""

_STATUS: Mapping[int, Code] = {
    401: Code.HOST_TOKEN,
    403: Code.HOST_TOKEN,
    405: Code.HOST_METHOD,
    400: Code.HOST_REFUSED,
    409: Code.HOST_BUSY,
    422: Code.HOST_REFUSED,
    429: Code.HOST_BUSY,
    REGISTER_FIRST: Code.HOST_REFUSED,
    502: Code.HOST_UNREACHABLE,
    503: Code.HOST_UNREACHABLE,
    504: Code.HOST_UNREACHABLE,
}
"""Codes of a failure that has none of its own."""
_OF_A_VM = re.compile(r"/cvms/(?!provision|paginated)[^/?]+")


class Kms(Answer):
    """The KMS that an app's keys come from."""

    id: str = Field(pattern=f"^{ID}$")
    chain_id: int | None = None
    kms_contract_address: str | None = None


class Provisioned(Answer):
    """What the cloud would measure."""

    compose_hash: str
    os_image_hash: str | None = None
    device_id: str | None = None
    kms_info: Kms | None = None


class EnvKey(Answer):
    """The key that an app's variables are encrypted to, and the KMS's word that it is."""

    public_key: str = Field(max_length=200)
    signature: str = Field(max_length=200)


class Created(Answer):
    """A VM that the cloud makes."""

    id: str = Field(pattern=f"^{ID}$")
    name: str


class State(Answer):
    """What the cloud says of a VM."""

    status: str
    boot_progress: str | None = None
    boot_error: str | None = None


class Image(Answer):
    """An OS image."""

    name: str
    is_dev: bool


class _Images(Answer):
    items: list[Image]
    pages: int = Field(ge=0)


class _Page(Answer):
    items: list[Created]
    pages: int = Field(ge=0)


class _Failure(Answer):
    error_code: str | None = None
    message: str | None = None
    detail: Any = None
    details: Any = None

    def said(self) -> str:
        """Its reason, whoever wrote it."""
        return self.message or (self.detail if isinstance(self.detail, str) else "")

    def fields(self) -> dict[str, Any]:
        """Its details by name; whatever is no detail is left out."""
        listed = self.details if isinstance(self.details, list) else []
        pairs = (each for each in listed[:64] if isinstance(each, dict))
        return {str(each.get("field")): each.get("value") for each in pairs}


class Prepared(Answer):
    """An update that waits until its hash is allowed on chain."""

    compose_hash: str
    app_id: str
    commit_token: str = Field(min_length=1, max_length=4096)


class _Accepted(Answer):
    correlation_id: str


@dataclass(frozen=True)
class PhalaApi:
    """One workspace of the cloud. Thread safe; each call raises `RunnerError`."""

    server: Server

    def provision(self, body: Mapping[str, Any]) -> Provisioned:
        """Have the cloud build an app-compose, and measure it. Nothing runs yet."""
        return self._call(Provisioned, "POST", "/cvms/provision", body)

    def env_key(self, kms: str, app: str) -> EnvKey:
        """The key of an app's variables; `app`: 40 hex digits."""
        return self._call(EnvKey, "GET", f"/kms/{kms}/pubkey/{app}")

    def create(self, body: Mapping[str, Any]) -> Created:
        """Make the VM of what was provisioned; asked again for the same app and hash, the same VM."""
        return self._call(Created, "POST", "/cvms", body)

    def compose(self, machine: str) -> dict[str, Any]:
        """The app-compose of a VM, as the object that it is."""
        path = f"/cvms/{machine}/compose_file"
        reply = self._ask("GET", path)
        try:
            return strict_json(reply.body, MAX_ANSWER_BYTES)
        except FormatError as error:
            raise RunnerError(
                Code.HOST_ANSWER, f"the answer to {path} is no JSON object: {error.message}"
            ) from None

    def state(self, machine: str) -> State:
        """How a VM is."""
        return self._call(State, "GET", f"/cvms/{machine}/state")

    def act(self, machine: str, what: str) -> None:
        """`shutdown` or `stop`."""
        self._ask("POST", f"/cvms/{machine}/{what}", {})

    def delete(self, machine: str) -> None:
        """Have a VM removed."""
        self._ask("DELETE", f"/cvms/{machine}")

    def machines(self) -> list[tuple[str, str]]:
        """Name and id of every VM of the workspace."""
        found: list[tuple[str, str]] = []
        for page in range(1, MAX_ITEMS // PAGE + 1):
            answer = self._call(_Page, "GET", f"/cvms/paginated?page={page}&page_size={PAGE}")
            found += [(each.name, each.id) for each in answer.items]
            if page >= answer.pages:
                return found
        raise RunnerError(Code.HOST_ANSWER, f"the cloud lists more than {MAX_ITEMS} VMs")

    def images(self) -> list[Image]:
        """The OS images, those for development too."""
        found: list[Image] = []
        for page in range(1, MAX_ITEMS // PAGE + 1):
            answer = self._call(_Images, "GET", f"/os-images?page={page}&page_size={PAGE}")
            found += answer.items
            if page >= answer.pages:
                return found
        raise RunnerError(Code.HOST_ANSWER, f"the cloud lists more than {MAX_ITEMS} OS images")

    def prepare(self, machine: str, change: Mapping[str, Any]) -> Prepared:
        """Have the cloud build a changed app-compose of a VM, and change nothing until `commit`."""
        path = f"/cvms/{machine}"
        reply = self.server.ask("PATCH", path, change, headers={"X-Prepare-Only": "true"})
        if reply.status != REGISTER_FIRST:
            if reply.status >= 400:
                raise _refusal(path, reply)
            raise RunnerError(Code.HOST_ANSWER, "the cloud changed the VM, and was asked to prepare only")
        fields = _failure(reply).fields()
        try:
            return Prepared.model_validate(fields)
        except ValueError:
            raise RunnerError(
                Code.HOST_ANSWER, "the cloud's answer to a change has no usable hash or token"
            ) from None

    def commit(self, machine: str, prepared: Prepared, transaction: str) -> None:
        """Have a prepared change done. transaction: the one that allowed its hash."""
        body = {
            "token": prepared.commit_token,
            "compose_hash": prepared.compose_hash,
            "transaction_hash": transaction,
        }
        self._call(_Accepted, "POST", f"/cvms/{machine}/commit-update", body)

    def _call(self, model: type[A], method: str, path: str, body: Mapping[str, Any] | None = None) -> A:
        return parsed(model, self._ask(method, path, body), path)

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Reply:
        reply = self.server.ask(method, path, body)
        if not 200 <= reply.status < 300:
            raise _refusal(path, reply)
        return reply


def _failure(reply: Reply) -> _Failure:
    """What a failure says; nothing, where it is none of the cloud's."""
    try:
        return _Failure.model_validate(strict_json(reply.body, MAX_ANSWER_BYTES, allow_floats=True))
    except (FormatError, ValueError):
        return _Failure()


def _refusal(path: str, reply: Reply) -> RunnerError:
    failure = _failure(reply)
    said = told(failure.said()) or f"status {reply.status}"
    name = failure.error_code or ""
    if name.startswith("ERR-"):
        code = CODES.get(name, Code.HOST_REFUSED)
        return RunnerError(code, f"the cloud refuses {path}: {told(name)}: {said}", ADVICE.get(name))
    code = _STATUS.get(reply.status, Code.HOST_ANSWER)
    if reply.status == 404:
        code = Code.VM_UNKNOWN if _OF_A_VM.match(path) else Code.HOST_METHOD
    if reply.status == REGISTER_FIRST:
        return RunnerError(code, f"the cloud refuses {path}: {said}", ADVICE["ERR-01-005"])
    return RunnerError(code, f"the cloud refuses {path}: {said}")
