# SPDX-License-Identifier: Apache-2.0
"""A dstack VMM for tests: a real HTTP server over a unix socket or TCP, after its published interface.

Sources: dstack `vmm/rpc/proto/vmm_rpc.proto`, `vmm/src/main_service.rs`, `vmm/src/app/vm_info.rs` and
`ra-rpc/src/rocket_helper.rs`. It measures nothing: `boot` says what a VM does once it was created.
"""

from __future__ import annotations

import hashlib
import json
import re
import socket
import socketserver
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

NAME = re.compile(r"[A-Za-z0-9\-_. @~!$^()]+")
"""What a VM may be called."""
VM_FIELDS = {
    "name", "image", "compose_file", "vcpu", "memory", "disk_size", "ports", "encrypted_env", "app_id",
    "user_config", "hugepages", "pin_numa", "gpus", "kms_urls", "gateway_urls", "stopped", "no_tee",
    "networking", "networks", "simulated_tee",
}  # fmt: skip


class Refusal(Exception):
    """A failure of a method: status 400 with this text."""


@dataclass
class Vm:
    """One VM."""

    id: str
    configuration: dict[str, Any]
    status: str = "running"
    boot_progress: str = ""
    boot_error: str = ""
    stopped: threading.Event = field(default_factory=threading.Event)
    """Set when it is stopped or asked to shut down."""

    def shown(self) -> dict[str, Any]:
        """`VmInfo`."""
        return {
            "id": self.id, "name": self.configuration["name"], "status": self.status, "uptime": "3s",
            "app_url": None, "app_id": self.configuration["app_id"], "instance_id": None,
            "configuration": self.configuration, "exited_at": None, "boot_progress": self.boot_progress,
            "boot_error": self.boot_error, "shutdown_progress": "", "image_version": "0.5.8",
        }  # fmt: skip


class FakeVmm:
    """A running VMM; also a context manager that closes it."""

    def __init__(self, socket_path: Path | None = None, *, token: str | None = None) -> None:
        self.vms: dict[str, Vm] = {}
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.token = token
        self.images = [{"name": "dstack-0.5.8", "description": "", "version": "0.5.8", "is_dev": False}]
        self.gpus: list[dict[str, Any]] = []
        """What `ListGpus` offers."""
        self.gpu_enabled, self.allow_attach_all = True, False
        self.faults: dict[str, Callable[[BaseHTTPRequestHandler], None]] = {}
        """Methods that are answered otherwise."""
        self.refusals: dict[str, list[str]] = {}
        """Methods that are refused, with these texts in turn."""
        self.boot: Callable[[Vm], None] = lambda vm: None
        """What a VM does once it was created, in a thread."""
        self.keep_removed = False
        """Whether a VM stays in the state `removing`."""
        self.removals = 0
        """How often a VM that is being removed is still shown."""
        self.page_size = 100
        self.lock = threading.RLock()
        self.closing = threading.Event()
        handler = type("Handler", (_Handler,), {"vmm": self})
        if socket_path is None:
            self.server: socketserver.BaseServer = _Tcp(("127.0.0.1", 0), handler)
            self.address = f"http://127.0.0.1:{self.server.server_address[1]}"
        else:
            self.server = _Unix(str(socket_path), handler)
            self.address = f"unix:{socket_path}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def __enter__(self) -> FakeVmm:
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        for vm in list(self.vms.values()):  # whoever still looks may take one out
            vm.stopped.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def called(self) -> list[str]:
        """The methods that were called, without looks."""
        return [name for name, _ in self.calls if name not in ("GetInfo", "Status")]

    # --- methods ----------------------------------------------------------------------------------

    def ListImages(self, body: dict[str, Any]) -> dict[str, Any]:
        return {"images": self.images}

    def GetComposeHash(self, body: dict[str, Any]) -> dict[str, Any]:
        return {"hash": hashlib.sha256(body["compose_file"].encode()).hexdigest()}

    def ListGpus(self, body: dict[str, Any]) -> dict[str, Any]:
        return {"gpus": self.gpus, "allow_attach_all": self.allow_attach_all}

    def CreateVm(self, body: dict[str, Any]) -> dict[str, Any]:
        if unknown := body.keys() - VM_FIELDS:
            raise Refusal(f"unknown fields {unknown}")
        if not NAME.fullmatch(body["name"]):
            raise Refusal(f"Invalid name: {body['name']}")
        if body["ports"]:
            raise Refusal("Port mapping is disabled")
        for name, kind in (("vcpu", int), ("memory", int), ("disk_size", int), ("user_config", str)):
            if not isinstance(body[name], kind):
                raise Refusal(f"invalid type for {name}")
        if not re.fullmatch(r"[0-9a-f]{40}", body["app_id"]):
            raise Refusal("Invalid app_id")
        if body["image"] not in {image["name"] for image in self.images}:
            raise Refusal("Failed to load image")
        self._attach(body)
        vm = Vm(str(uuid.uuid4()), body)
        self.vms[vm.id] = vm
        threading.Thread(target=self.boot, args=(vm,), daemon=True).start()
        return {"id": vm.id}

    def StopVm(self, body: dict[str, Any]) -> dict[str, Any]:
        vm = self._vm(body)
        vm.status = "stopped"
        vm.stopped.set()
        return {}

    def ShutdownVm(self, body: dict[str, Any]) -> dict[str, Any]:
        self._vm(body).stopped.set()
        return {}

    def RemoveVm(self, body: dict[str, Any]) -> dict[str, Any]:
        vm = self._vm(body)
        vm.status = "removing"
        vm.stopped.set()
        return {}

    def GetInfo(self, body: dict[str, Any]) -> dict[str, Any]:
        vm = self.vms.get(body["id"])
        if vm is not None and vm.status == "removing" and not self.keep_removed:
            if self.removals <= 0:
                del self.vms[vm.id]
                vm = None
            self.removals -= 1
        return {"found": vm is not None, "info": None if vm is None else vm.shown()}

    def Status(self, body: dict[str, Any]) -> dict[str, Any]:
        found = [vm for vm in self.vms.values() if body["keyword"] in vm.configuration["name"]]
        size = min(body["page_size"], self.page_size)
        at = (body["page"] - 1) * size
        shown = [vm.shown() for vm in found[at : at + size]]
        return {"vms": shown, "port_mapping_enabled": False, "total": len(found)}

    def _attach(self, body: dict[str, Any]) -> None:
        """`resolve_gpus_with_config`, with the checks of 0.6; and where another VM has a GPU, a refusal, in
        place of QEMU's end."""
        wanted = body.get("gpus", {"attach_mode": "", "gpus": []})
        mode, slots = wanted["attach_mode"], [each["slot"] for each in wanted["gpus"]]
        if mode not in ("", "listed", "all"):
            raise Refusal(f"Invalid GPU attach mode: {mode}")
        if (slots or mode == "all") and not self.gpu_enabled:
            raise Refusal("GPU is not enabled")
        if mode == "all" and not self.allow_attach_all:
            raise Refusal("Attaching all GPUs is not allowed")
        offered = {gpu["slot"]: gpu for gpu in self.gpus}
        for slot in slots:
            if slot not in offered:
                raise Refusal(f"GPU {slot} is not offered by this node")
        for slot in offered if mode == "all" else slots:
            if not offered[slot]["is_free"]:
                raise Refusal(f"Failed to start VM: vfio {slot}: Device or resource busy")
            offered[slot]["is_free"] = False

    def _vm(self, body: dict[str, Any]) -> Vm:
        if (vm := self.vms.get(body["id"])) is None:
            raise Refusal("VM not found")
        return vm


class _Handler(BaseHTTPRequestHandler):
    vmm: FakeVmm

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        method = self.path.removeprefix("/prpc/").removesuffix("?json").removeprefix("Vmm.")
        vmm = self.vmm
        with vmm.lock:
            vmm.calls.append((method, body))
        if vmm.token is not None and self.headers.get("Authorization") != f"Bearer {vmm.token}":
            return self.answer(401, {"error": "Unauthorized"})
        if (fault := vmm.faults.get(method)) is not None:
            return fault(self)
        known = re.fullmatch(r"[A-Z][A-Za-z]+", method) and getattr(vmm, method, None)
        if not known:
            return self.answer(404, {"error": f"Service not found: {method}"})
        with vmm.lock:
            if vmm.refusals.get(method):
                return self.answer(400, {"error": vmm.refusals[method].pop(0)})
            try:
                found = known(body)
            except (Refusal, KeyError) as error:
                return self.answer(400, {"error": str(error)})
        return self.answer(200, found)

    def answer(self, status: int, value: Any) -> None:
        """Send one JSON value."""
        self.raw(status, json.dumps(value).encode())

    def raw(self, status: int, body: bytes) -> None:
        """Send these bytes."""
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


class _Tcp(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64


class _Unix(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 64

    def get_request(self) -> tuple[socket.socket, Any]:
        request, _ = super().get_request()
        return request, ("unix", 0)
