# SPDX-License-Identifier: Apache-2.0
"""The `phala-cloud` backend: confidential VMs of Phala Cloud.

The cloud builds the app-compose and gives its hash; the owners approved that very hash, or nothing is made.
Each run provisions anew, makes a VM of that hash with the hints in its one variable, and reads the
app-compose back. None of that is an authority: the gate releases keys to what the VM's quote measures. Facts:
`docs/deploy-phala.md`.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from sealroom.codes import Code
from sealroom.encoding import canonical, sha256, strict_json
from sealroom.errors import FormatError
from sealroom.recipe.appcompose import MAX_COMPOSE_BYTES
from sealroom.recipe.recipe import PHALA
from sealroom.recipe.wrapped import HINTS_VARIABLE
from sealroom_agents.config import Config
from sealroom_agents.errors import RunnerError
from sealroom_agents.host import read_token
from sealroom_agents.runner.backend import Assignment, Options, Place
from sealroom_agents.runner.delivery import Delivery
from sealroom_agents.runner.phala_api import VERSION, PhalaApi, Provisioned
from sealroom_agents.runner.phala_env import checked, encrypted
from sealroom_agents.runner.remote import PREFIX, Limits, RemoteBackend, Seen, check_os_image, told
from sealroom_agents.runner.rest import Server

ADDRESS = "https://cloud-api.phala.com/api/v1"
PORT = 8402
"""Where enclaves reach the runner."""
ENDED = frozenset({"exited", "stopped", "removing", "failed", "error", "deleted"})
"""The status of a VM that has ended. The cloud publishes no list: with another word the VM may still run."""
ASKED = (
    "docker_compose_file", "pre_launch_script", "name", "allowed_envs", "kms_enabled", "gateway_enabled",
    "public_logs", "public_sysinfo", "public_tcbinfo", "storage_fs",
)  # fmt: skip
"""Members of an app-compose that a client asks for; the cloud adds the others."""
_NAME = re.compile(PREFIX + r"([a-z2-7]{52})")


class PhalaOptions(Options):
    """`[runner.options]` of this backend."""

    api: str = ADDRESS
    """The cloud's interface."""
    token_file: Path
    """File of mode 0600 with the workspace's API key."""
    image: str = Field(min_length=1)
    """OS image, by the name that the cloud has for it."""
    instance_type: str = Field(min_length=1)
    """Size of the VM, by the cloud's name."""
    disk_gb: int = Field(ge=1)
    kms: str = Field(pattern="^(BASE|ETHEREUM)$")
    """The chain of the KMS, at which the consortium's app is registered. Phala's own KMS takes none."""
    kms_contract: str = Field(pattern="^0x[0-9a-fA-F]{40}$")
    """Its contract."""
    kms_root: str = Field(pattern="^(0x)?0[23][0-9a-fA-F]{64}$")
    """`k256Pubkey` of `kmsInfo()` of that contract: the key for variables must be signed by it."""
    deployer: str = Field(pattern="^0x[0-9a-fA-F]{40}$")
    """The account that the cloud is to name as the app's deployer."""
    url: str = Field(pattern=r"^https?://[^\s/]+")
    """This runner, as VMs of the cloud reach it."""
    listen: str = "127.0.0.1"
    port: int = Field(default=PORT, ge=0, le=65535)
    region: str | None = None
    call_seconds: float = Field(default=30.0, gt=0, le=600, allow_inf_nan=False)
    boot_seconds: float = Field(default=900.0, gt=0, allow_inf_nan=False)
    end_seconds: float = Field(default=300.0, gt=0, allow_inf_nan=False)


def cloud_name(name: str) -> str:
    """A VM's name, which has room for 63 characters: the run's id in base32."""
    run = bytes.fromhex(name.removeprefix(PREFIX))
    return PREFIX + base64.b32encode(run).decode().lower().rstrip("=")


def our_name(name: str) -> str | None:
    """The name that is ours for it; `None` for a VM that is not."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    ours = PREFIX + base64.b32decode(match[1].upper() + "====").hex()
    return ours if cloud_name(ours) == name else None


@dataclass(frozen=True)
class PhalaHost:
    """One workspace."""

    api: PhalaApi
    options: PhalaOptions
    hints: str = PHALA

    def create(self, name: str, assignment: Assignment, hints: bytes) -> str:
        """Provision, compare, make, read back. A VM that has other bytes is found, and ended, by its name."""
        check_os_image(self.api.images(), self.options.image, host="cloud")
        digest = sha256(assignment.compose).hex()
        found = self.provision(name, assignment.compose)
        app = assignment.app.removeprefix("0x").lower()
        key = checked(self.api.env_key(self._kms_of(found), app), app, self.options.kms_root)
        variables = {HINTS_VARIABLE: base64.b64encode(hints).decode()}
        created = self.api.create(
            {
                "app_id": app,
                "compose_hash": digest,
                "encrypted_env": encrypted(variables, key),
                "env_keys": list(variables),
                "contract_address": assignment.app.lower(),
                "deployer_address": self.options.deployer.lower(),
            }
        )
        if created.name != cloud_name(name):
            # The cloud makes one VM of an app and a hash, and answers with it until it is gone.
            raise RunnerError(
                Code.HOST_BUSY,
                f"the cloud answers with the VM {told(created.name)}: another run of this recipe",
                "runs of one recipe end one after another there",
            )
        self._read_back(created.id, assignment.compose)
        return created.id

    def provision(self, name: str, compose: bytes) -> Provisioned:
        """What the cloud would measure. Raises `RunnerError` `host-measures-others` for other bytes."""
        options = self.options
        frame = _frame(compose)
        wanted: dict[str, Any] = {
            "name": cloud_name(name),
            "instance_type": options.instance_type,
            "image": options.image,
            "disk_size": options.disk_gb,
            "kms": options.kms,
            "kms_contract": options.kms_contract.lower(),
            "env_keys": [HINTS_VARIABLE],
            "listed": False,
            "compose_file": {member: frame[member] for member in ASKED if member in frame},
        }
        if options.region is not None:
            wanted["region"] = options.region
        found = self.api.provision(wanted)
        given = found.compose_hash.lower().removeprefix("0x")
        if given != sha256(compose).hex():
            raise RunnerError(
                Code.HOST_MEASURES_OTHERS,
                f"the cloud's hash of the recipe is {told(given)}, and the recipe's is"
                f" {sha256(compose).hex()}",
                "it builds with another script, or other members, than the recipe's form has",
            )
        return found

    def look(self, machine: str) -> Seen | None:
        """By its state."""
        try:
            state = self.api.state(machine)
        except RunnerError as error:
            if error.code == Code.VM_UNKNOWN:
                return None
            raise
        return Seen(
            runs=state.status.lower() not in ENDED,
            progress=state.boot_progress or "",
            error=state.boot_error or "",
        )

    def shutdown(self, machine: str) -> None:
        """The guest's own end."""
        self.api.act(machine, "shutdown")

    def stop(self, machine: str) -> None:
        """At once."""
        _unless_gone(lambda: self.api.act(machine, "stop"))

    def remove(self, machine: str) -> None:
        """The cloud does it later."""
        _unless_gone(lambda: self.api.delete(machine))

    def named(self, prefix: str) -> list[tuple[str, str]]:
        """All pages of the workspace's VMs; the names are compared here."""
        found = ((our_name(name), machine) for name, machine in self.api.machines())
        return [(name, machine) for name, machine in found if name is not None and name.startswith(prefix)]

    def _read_back(self, machine: str, compose: bytes) -> None:
        """The cloud gives the object and not its bytes, which are the one text of it."""
        found = canonical(self.api.compose(machine))
        if found != compose:
            raise RunnerError(
                Code.HOST_MEASURES_OTHERS,
                f"the VM {told(machine)} has other bytes than the owners approved, of the hash"
                f" {sha256(found).hex()}",
            )

    def _kms_of(self, found: Provisioned) -> str:
        kms, contract = found.kms_info, self.options.kms_contract.lower()
        if kms is None or (kms.kms_contract_address or "").lower() != contract:
            raise RunnerError(Code.HOST_ANSWER, f"the cloud names another KMS than {contract}")
        return kms.id


def _frame(compose: bytes) -> dict[str, Any]:
    try:
        return strict_json(compose, MAX_COMPOSE_BYTES)
    except FormatError as error:
        raise RunnerError(Code.RECIPE_MALFORMED, f"the recipe: {error.message}") from None


def _unless_gone(act: Callable[[], None]) -> None:
    try:
        act()
    except RunnerError as error:
        if error.code != Code.VM_UNKNOWN:
            raise


class _PhalaCloud:
    """The entry point."""

    options = PhalaOptions

    def lacks(self, config: Config) -> Iterator[tuple[str, str, str]]:
        """Nothing beside its options."""
        return iter(())

    def open(self, options: PhalaOptions, place: Place) -> RemoteBackend:
        """Listens for enclaves from now on."""
        runner = place.runner
        return RemoteBackend(
            host=PhalaHost(api_of(options), options),
            delivery=Delivery(options.listen, options.port, options.url),
            state=runner.state,
            datasets=runner.datasets,
            gate=runner.gate,
            limits=Limits(boot_s=options.boot_seconds, end_s=options.end_seconds),
        )


def api_of(options: PhalaOptions) -> PhalaApi:
    """The workspace that the options name. Raises `ConfigurationError`."""
    headers = {"X-API-Key": read_token(options.token_file), "X-Phala-Version": VERSION}
    return PhalaApi(Server(options.api, headers=headers, timeout_s=options.call_seconds))


BACKEND = _PhalaCloud()
