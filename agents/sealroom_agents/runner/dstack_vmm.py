# SPDX-License-Identifier: Apache-2.0
"""The `dstack-vmm` backend: confidential VMs of a dstack host, asked of its VMM.

Source: dstack-vmm, `vmm_rpc.proto`, `main_service.rs` and `vm_info.rs` (0.5.11 and 0.6): `POST
/prpc/METHOD?json` with a JSON object; success is 200, any failure 400 with `{"error": "a chain of causes"}`,
an unknown method 404.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field

from sealroom.codes import Code
from sealroom.encoding import sha256
from sealroom.recipe import parse
from sealroom.recipe.recipe import DSTACK
from sealroom_agents.config import Config
from sealroom_agents.errors import RunnerError
from sealroom_agents.host import read_token
from sealroom_agents.runner.backend import Assignment, Options, Place
from sealroom_agents.runner.delivery import Delivery
from sealroom_agents.runner.dstack_gpus import Gpus, attached
from sealroom_agents.runner.remote import Limits, RemoteBackend, Seen, check_os_image, told
from sealroom_agents.runner.rest import A, Answer, Reply, Server, parsed

PORT = 8402
"""Where enclaves reach the runner."""
PAGE = 100
"""VMs that are listed at once."""
MAX_VMS = 10_000
"""Most VMs of one host that are looked through."""
RUNNING = frozenset({"running", "stopping"})
ENDED = frozenset({"exited", "stopped", "removing"})
"""What a VM's `status` may be; another word is refused."""
REASONS: tuple[tuple[str, Code], ...] = (
    ("vm is being removed", Code.HOST_BUSY),
    ("vm not found", Code.VM_UNKNOWN),
    ("port mapping is disabled", Code.HOST_FEATURE),
    ("port mapping is not allowed", Code.HOST_FEATURE),
    ("gpu is not enabled", Code.HOST_FEATURE),
    ("attaching all gpus is not allowed", Code.HOST_FEATURE),
    ("is not offered by this node", Code.HOST_FEATURE),
)
"""Codes of the reasons that the VMM gives, by what their text holds; of another reason `host-refused`."""


class VmmOptions(Options):
    """`[runner.options]` of this backend."""

    vmm: str = Field(min_length=1)
    """The VMM: `unix:` and the path of its socket, or an http(s) URL."""
    token_file: Path | None = None
    """File of mode 0600 with its bearer token."""
    image: str = Field(min_length=1)
    """OS image, by the name that the host has for it."""
    vcpu: int = Field(ge=1, le=1024)
    memory_mib: int = Field(ge=1024)
    disk_gb: int = Field(ge=1)
    url: str = Field(pattern=r"^https?://[^\s/]+")
    """This runner, as VMs reach it: from a VM with dstack's user network, 10.0.2.2 is the host's loopback."""
    listen: str = "127.0.0.1"
    port: int = Field(default=PORT, ge=0, le=65535)
    kms_urls: tuple[str, ...] = ()
    gateway_urls: tuple[str, ...] = ()
    call_seconds: float = Field(default=20.0, gt=0, le=600, allow_inf_nan=False)
    boot_seconds: float = Field(default=900.0, gt=0, allow_inf_nan=False)
    end_seconds: float = Field(default=120.0, gt=0, allow_inf_nan=False)


class _Image(Answer):
    name: str
    is_dev: bool


class _Images(Answer):
    images: list[_Image]


class _Hash(Answer):
    hash: str


class _Id(Answer):
    id: str = Field(min_length=1, max_length=128)


class _Vm(Answer):
    id: str = Field(min_length=1, max_length=128)
    name: str
    status: str
    boot_progress: str = ""
    boot_error: str = ""


class _Found(Answer):
    found: bool
    info: _Vm | None = None


class _Page(Answer):
    vms: list[_Vm]
    total: int = Field(ge=0)


@dataclass(frozen=True)
class VmmHost:
    """One host's VMM."""

    server: Server
    options: VmmOptions
    hints: str = DSTACK
    choosing: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)
    """Held from the look for free GPUs until a VM has them, so that no two runs get the same."""

    def create(self, name: str, assignment: Assignment, hints: bytes) -> str:
        """Only where the host would measure the recipe's very bytes, on no image for development, and has the
        GPUs that the recipe demands; a recipe that demands none gets none."""
        check_os_image(self._call(_Images, "ListImages", {}).images, self.options.image, host="host")
        wanted = self._configuration(name, assignment, hints)
        found = self._call(_Hash, "GetComposeHash", wanted).hash.lower().removeprefix("0x")
        if found != sha256(assignment.compose).hex():
            raise RunnerError(
                Code.HOST_MEASURES_OTHERS,
                f"the VMM's hash of the recipe is {told(found)}, and the recipe's is"
                f" {sha256(assignment.compose).hex()}",
            )
        demand = parse(assignment.compose).gpu
        if demand is None:
            return self._call(_Id, "CreateVm", wanted).id
        with self.choosing:
            gpus = attached(demand, self._call(Gpus, "ListGpus", {}))
            return self._call(_Id, "CreateVm", {**wanted, "gpus": gpus}).id

    def look(self, machine: str) -> Seen | None:
        """By `GetInfo`."""
        answer = self._call(_Found, "GetInfo", {"id": machine})
        if not answer.found:
            return None
        if answer.info is None or answer.info.status not in RUNNING | ENDED:
            raise RunnerError(Code.HOST_ANSWER, "the answer to GetInfo has no usable status")
        vm = answer.info
        return Seen(runs=vm.status in RUNNING, progress=vm.boot_progress, error=vm.boot_error)

    def shutdown(self, machine: str) -> None:
        """The guest's own end, by its agent."""
        self._call(Answer, "ShutdownVm", {"id": machine})

    def stop(self, machine: str) -> None:
        """At once; the VMM kills its process."""
        self._unless_gone("StopVm", machine)

    def remove(self, machine: str) -> None:
        """The VMM does it later, and shows `removing` until then."""
        self._unless_gone("RemoveVm", machine)

    def named(self, prefix: str) -> list[tuple[str, str]]:
        """All pages of `Status`; its keyword is a hint to the VMM, the names are compared here."""
        found: list[tuple[str, str]] = []
        seen, page = 0, 1
        while seen < MAX_VMS:
            ask = {"ids": [], "brief": True, "keyword": prefix, "page": page, "page_size": PAGE}
            answer = self._call(_Page, "Status", ask)
            found += [(vm.name, vm.id) for vm in answer.vms if vm.name.startswith(prefix)]
            seen, page = seen + len(answer.vms), page + 1
            if not answer.vms or seen >= answer.total:
                return found
        raise RunnerError(Code.HOST_ANSWER, f"the VMM lists more than {MAX_VMS} VMs")

    def _configuration(self, name: str, assignment: Assignment, hints: bytes) -> dict[str, Any]:
        options = self.options
        return {
            "name": name,
            "image": options.image,
            "compose_file": assignment.compose.decode(),
            "vcpu": options.vcpu,
            "memory": options.memory_mib,
            "disk_size": options.disk_gb,
            "ports": [],
            "encrypted_env": "",
            "app_id": assignment.app.removeprefix("0x").lower(),
            "user_config": hints.decode(),
            "hugepages": False,
            "pin_numa": False,
            "kms_urls": list(options.kms_urls),
            "gateway_urls": list(options.gateway_urls),
            "stopped": False,
            "no_tee": False,
        }

    def _unless_gone(self, method: str, machine: str) -> None:
        try:
            self._call(Answer, method, {"id": machine})
        except RunnerError as error:
            if error.code not in (Code.VM_UNKNOWN, Code.HOST_BUSY):
                raise

    def _call(self, model: type[A], method: str, body: dict[str, Any]) -> A:
        reply = self.server.ask("POST", f"/prpc/{method}?json", body)
        if reply.status != 200:
            raise _refusal(method, reply)
        return parsed(model, reply, method)


def _refusal(method: str, reply: Reply) -> RunnerError:
    """What a failure means."""
    if reply.status in (401, 403):
        return RunnerError(Code.HOST_TOKEN, f"the VMM refuses {method}: the token is not its own")
    why = reply.error()
    if reply.status == 404:
        return RunnerError(Code.HOST_METHOD, f"the VMM has no method {method}")
    if reply.status != 400 or not why:
        return RunnerError(Code.HOST_ANSWER, f"the VMM answered {method} with status {reply.status}")
    code = next((code for text, code in REASONS if text in why.lower()), Code.HOST_REFUSED)
    return RunnerError(code, f"the VMM refuses {method}: {told(why)}")


class _DstackVmm:
    """The entry point."""

    options = VmmOptions

    def lacks(self, config: Config) -> Iterator[tuple[str, str, str]]:
        """Nothing beside its options."""
        return iter(())

    def open(self, options: VmmOptions, place: Place) -> RemoteBackend:
        """Listens for enclaves from now on."""
        headers = {}
        if options.token_file is not None:
            headers["Authorization"] = f"Bearer {read_token(options.token_file)}"
        server = Server(options.vmm, headers=headers, timeout_s=options.call_seconds)
        runner = place.runner
        return RemoteBackend(
            host=VmmHost(server, options),
            delivery=Delivery(options.listen, options.port, options.url),
            state=runner.state,
            datasets=runner.datasets,
            gate=runner.gate,
            limits=Limits(boot_s=options.boot_seconds, end_s=options.end_seconds),
        )


BACKEND = _DstackVmm()
