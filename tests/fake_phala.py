# SPDX-License-Identifier: Apache-2.0
"""Phala Cloud for tests: a real HTTP server after the published interface, with a KMS that signs apps' keys.

Sources: Phala's SDKs (`phala-cloud` 0.2.0, `@phala/cloud` 0.2.9) for paths, members and error codes; a
recorded guest for the members that the cloud adds. It measures nothing: `boot` says what a VM does.
"""

from __future__ import annotations

import hashlib
import json
import re
import socketserver
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from eth_keys.datatypes import PrivateKey
from eth_utils.crypto import keccak

PREFIX = "/api/v1"
KMS_CONTRACT = "0x" + "5e" * 20
HOST_NAME = re.compile(r"[a-z][a-z0-9-]{3,61}[a-z0-9]")


class Refusal(Exception):
    """A failure: its status and its body."""

    def __init__(self, status: int, code: str | None = None, message: str = "no", **details: Any) -> None:
        super().__init__(code)
        self.status = status
        listed = [{"field": name, "value": value} for name, value in details.items()]
        self.body: dict[str, Any] = {"message": message, "details": listed}
        if code is not None:
            self.body |= {"error_code": code, "suggestions": [], "links": []}


@dataclass
class Cvm:
    """One VM."""

    id: str
    name: str
    app: str
    compose: dict[str, Any]
    compose_hash: str
    variables: dict[str, str]
    status: str = "running"
    boot_progress: str | None = None
    boot_error: str | None = None
    stopped: threading.Event = field(default_factory=threading.Event)
    """Set when it is stopped or asked to shut down."""


def text_of(compose: dict[str, Any]) -> bytes:
    """The bytes that are measured."""
    return json.dumps(compose, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


class FakePhala:
    """A running cloud; also a context manager that closes it."""

    def __init__(self, script: str, *, token: str = "") -> None:
        self.script = script
        """What it puts into an app-compose that has none."""
        self.token = token
        self.root = PrivateKey(hashlib.sha256(b"the KMS of tests").digest())
        self.env_key = X25519PrivateKey.from_private_bytes(hashlib.sha256(b"an app").digest())
        self.images = [
            {"name": "dstack-0.5.8", "slug": "dstack-0.5.8", "version": "0.5.8", "is_dev": False},
            {"name": "dstack-dev-0.5.8", "slug": "dstack-dev-0.5.8", "version": "0.5.8", "is_dev": True},
        ]
        self.added: dict[str, Any] = {}
        """What it adds to an app-compose besides what is known."""
        self.allowed: set[str] | None = None
        """Compose hashes that the app's contract allows; `None`: all."""
        self.transactions = {"0x" + "77" * 32}
        """Transactions that it finds on chain."""
        self.provisioned: dict[str, tuple[str, dict[str, Any]]] = {}
        self.vms: dict[str, Cvm] = {}
        self.prepared: dict[str, tuple[str, dict[str, Any]]] = {}
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.faults: dict[str, Callable[[BaseHTTPRequestHandler], None]] = {}
        """Calls that are answered otherwise."""
        self.refusals: dict[str, list[Refusal]] = {}
        """Calls that are refused, in turn."""
        self.boot: Callable[[Cvm], None] = lambda vm: None
        """What a VM does once it was made, in a thread."""
        self.removals = 0
        """How often a VM that is being removed is still shown."""
        self.page_size = 100
        self.lock = threading.RLock()
        self.closing = threading.Event()
        self.server = _Tcp(("127.0.0.1", 0), type("Handler", (_Handler,), {"cloud": self}))
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}{PREFIX}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def __enter__(self) -> FakePhala:
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        for vm in list(self.vms.values()):  # whoever still looks may take one out
            vm.stopped.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    @property
    def kms_root(self) -> str:
        """The KMS's key, compressed, hex."""
        return self.root.public_key.to_compressed_bytes().hex()

    def called(self) -> list[str]:
        """What was asked for, without looks."""
        return [name for name, _ in self.calls if name not in ("state", "paginated", "os-images")]

    # --- calls ------------------------------------------------------------------------------------

    def provision(self, body: dict[str, Any]) -> dict[str, Any]:
        if not HOST_NAME.fullmatch(body["name"]):
            raise Refusal(422, message="Name must be 5-63 characters")
        if body["name"] in {vm.name for vm in self.vms.values()}:
            raise Refusal(409, "ERR-01-004", "a CVM of this name is there", name=body["name"])
        if body["image"] not in {image["name"] for image in self.images}:
            raise Refusal(400, "ERR-02-010", "image not found")
        compose = self.built(body["compose_file"])
        digest = hashlib.sha256(text_of(compose)).hexdigest()
        self.provisioned[digest] = (body["name"], compose)
        return {
            "app_id": None, "compose_hash": digest, "app_env_encrypt_pubkey": None, "fmspc": "B0C06F000000",
            "device_id": "d1" * 32, "os_image_hash": "05" * 32, "instance_type": body["instance_type"],
            "node_id": 7, "kms_id": "kms_1", "kms_info": self.kms(),
        }  # fmt: skip

    def kms(self) -> dict[str, Any]:
        return {
            "id": "kms_1", "slug": "kms-base", "url": "https://kms.example", "version": "v0.5.7",
            "chain_id": 8453, "kms_contract_address": KMS_CONTRACT, "gateway_app_id": None,
        }  # fmt: skip

    def built(self, asked: dict[str, Any]) -> dict[str, Any]:
        """An app-compose as the cloud builds it."""
        gateway = asked.get("gateway_enabled", True)
        return {
            "manifest_version": 2, "runner": "docker-compose", "name": asked.get("name", ""),
            "docker_compose_file": asked["docker_compose_file"], "kms_enabled": True,
            "gateway_enabled": gateway, "tproxy_enabled": gateway,
            "features": ["kms", "tproxy-net"] if gateway else ["kms"],
            "public_logs": asked.get("public_logs", True),
            "public_sysinfo": asked.get("public_sysinfo", True),
            "public_tcbinfo": asked.get("public_tcbinfo", True), "local_key_provider_enabled": False,
            "allowed_envs": sorted(asked.get("allowed_envs", [])), "no_instance_id": False,
            "secure_time": False, "storage_fs": asked.get("storage_fs", "zfs"),
            "pre_launch_script": asked.get("pre_launch_script") or self.script, **self.added,
        }  # fmt: skip

    def pubkey(self, kms: str, app: str) -> dict[str, Any]:
        if kms != "kms_1":
            raise Refusal(404, "ERR-02-011", "KMS not found")
        public = self.env_key.public_key().public_bytes_raw()
        digest = keccak(b"dstack-env-encrypt-pubkey:" + bytes.fromhex(app) + public)
        return {"public_key": public.hex(), "signature": self.root.sign_msg_hash(digest).to_bytes().hex()}

    def create(self, body: dict[str, Any]) -> dict[str, Any]:
        if (
            not re.fullmatch(r"[0-9a-f]{40}", body["app_id"])
            or body["contract_address"] != "0x" + body["app_id"]
        ):
            raise Refusal(422, message="app_id")
        if body["compose_hash"] not in self.provisioned:
            raise Refusal(400, "ERR-01-006", "compose hash is invalid or expired")
        if self.allowed is not None and body["compose_hash"] not in self.allowed:
            raise Refusal(
                465, "ERR-01-005", "register the compose hash", compose_hash=body["compose_hash"],
                app_id=body["app_id"], device_id="d1" * 32, kms_info=self.kms(),
            )  # fmt: skip
        for vm in self.vms.values():
            if vm.app == body["app_id"]:
                if vm.compose_hash != body["compose_hash"]:
                    raise Refusal(409, "ERR-03-007", "app id is used with another hash", app_id=vm.app)
                return {"id": vm.id, "name": vm.name, "status": vm.status}
        name, compose = self.provisioned.pop(body["compose_hash"])
        variables = self.opened(body["encrypted_env"])
        if sorted(variables) != sorted(body["env_keys"]):
            raise Refusal(422, message="env_keys")
        told = {key: variables[key] for key in variables if key in compose["allowed_envs"]}
        vm = Cvm(f"cvm_{uuid.uuid4().hex[:12]}", name, body["app_id"], compose, body["compose_hash"], told)
        self.vms[vm.id] = vm
        threading.Thread(target=self.boot, args=(vm,), daemon=True).start()
        return {"id": vm.id, "name": vm.name, "status": vm.status}

    def opened(self, sealed: str) -> dict[str, str]:
        """Variables as dstack opens them."""
        data = bytes.fromhex(sealed)
        shared = self.env_key.exchange(X25519PublicKey.from_public_bytes(data[:32]))
        plain = json.loads(AESGCM(shared).decrypt(data[32:44], data[44:], None))
        return {each["key"]: each["value"] for each in plain["env"]}

    def paged(self, items: list[dict[str, Any]], query: dict[str, str]) -> dict[str, Any]:
        page, size = int(query["page"]), min(int(query["page_size"]), self.page_size)
        shown = items[(page - 1) * size : page * size]
        pages = -(-len(items) // size)
        return {"items": shown, "total": len(items), "page": page, "page_size": size, "pages": pages}

    def state(self, vm: Cvm) -> dict[str, Any]:
        if vm.status == "removing":
            if self.removals <= 0:
                del self.vms[vm.id]
                raise Refusal(404, "ERR-03-001", "CVM not found")
            self.removals -= 1
        return {
            "id": vm.id, "name": vm.name, "status": vm.status, "boot_progress": vm.boot_progress,
            "boot_error": vm.boot_error,
        }  # fmt: skip

    def change(self, vm: Cvm, body: dict[str, Any], only_prepare: bool) -> dict[str, Any]:
        compose = {**vm.compose, **body}
        digest = hashlib.sha256(text_of(compose)).hexdigest()
        if not only_prepare:
            vm.compose, vm.compose_hash = compose, digest
            return {"correlation_id": "c1"}
        token = uuid.uuid4().hex
        self.prepared[token] = (digest, compose)
        status = {"compose_hash_allowed": False, "device_id_allowed": True, "is_allowed": False}
        raise Refusal(
            465, "ERR-01-005", "register the compose hash", compose_hash=digest, app_id=vm.app,
            device_id="d1" * 32, kms_info=self.kms(), onchain_status=status, commit_token=token,
            commit_url="https://cloud.example/commit",
            api_commit_url=f"{self.address}/cvms/{vm.id}/commit-update",
        )  # fmt: skip

    def commit_update(self, vm: Cvm, body: dict[str, Any]) -> dict[str, Any]:
        digest, compose = self.prepared.get(body["token"], ("", {}))
        if not digest or digest != body["compose_hash"]:
            raise Refusal(400, "ERR-01-006", "compose hash is invalid or expired")
        if body["transaction_hash"] not in self.transactions:
            raise Refusal(400, "ERR-01-007", "transaction verification failed")
        if self.allowed is not None and digest not in self.allowed:
            raise Refusal(400, "ERR-01-008", "hash is not allowed")
        del self.prepared[body["token"]]
        vm.compose, vm.compose_hash = compose, digest
        return {"correlation_id": "c2", "status": "accepted"}

    def answered(self, request: _Handler, name: str, parts: list[str], body: dict[str, Any]) -> Any:
        """What one call gives. Raises `Refusal`."""
        query = dict(each.split("=") for each in request.path.partition("?")[2].split("&") if each)
        match name:
            case "provision":
                return self.provision(body)
            case "create":
                return self.create(body)
            case "paginated":
                return self.paged([{"id": vm.id, "name": vm.name} for vm in self.vms.values()], query)
            case "os-images":
                return self.paged(self.images, query)
            case "pubkey":
                return self.pubkey(parts[1], parts[3])
        vm = self.vms.get(parts[1])
        if vm is None:
            raise Refusal(404, "ERR-03-001", "CVM not found")
        match name:
            case "state":
                return self.state(vm)
            case "compose_file":
                return vm.compose
            case "stop":
                vm.status = "stopped"
                vm.stopped.set()
            case "shutdown":
                vm.stopped.set()
            case "delete":
                vm.status = "removing"
                vm.stopped.set()
            case "change":
                return self.change(vm, body, request.headers.get("X-Prepare-Only") == "true")
            case "commit-update":
                return self.commit_update(vm, body)
        return {"id": vm.id, "name": vm.name, "status": vm.status}


def named(method: str, parts: list[str]) -> str | None:
    """A call's name, `None` for one that there is not."""
    one = "([A-Za-z0-9_.-]+)"
    for name, of, pattern in (
        ("provision", "POST", "cvms/provision"), ("create", "POST", "cvms"),
        ("paginated", "GET", "cvms/paginated"), ("os-images", "GET", "os-images"),
        ("pubkey", "GET", f"kms/{one}/pubkey/{one}"), ("state", "GET", f"cvms/{one}/state"),
        ("compose_file", "GET", f"cvms/{one}/compose_file"), ("stop", "POST", f"cvms/{one}/stop"),
        ("shutdown", "POST", f"cvms/{one}/shutdown"), ("delete", "DELETE", f"cvms/{one}"),
        ("change", "PATCH", f"cvms/{one}"), ("commit-update", "POST", f"cvms/{one}/commit-update"),
    ):  # fmt: skip
        if method == of and re.fullmatch(pattern, "/".join(parts)):
            return name
    return None


class _Handler(BaseHTTPRequestHandler):
    cloud: FakePhala

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else {}
        cloud = self.cloud
        parts = self.path.partition("?")[0].removeprefix(PREFIX).strip("/").split("/")
        name = named(self.command, parts)
        with cloud.lock:
            cloud.calls.append((name or self.path, body))
        if self.headers.get("X-API-Key", "") != cloud.token or "X-Phala-Version" not in self.headers:
            return self.answer(401, {"detail": "Invalid API key"})
        if (fault := cloud.faults.get(name or "")) is not None:
            return fault(self)
        if name is None:
            return self.answer(404, {"detail": "Not Found"})
        with cloud.lock:
            try:
                if cloud.refusals.get(name):
                    raise cloud.refusals[name].pop(0)
                found = cloud.answered(self, name, parts, body)
            except Refusal as refusal:
                return self.answer(refusal.status, refusal.body)
            except KeyError as error:
                return self.answer(422, {"detail": [{"loc": ["body", str(error)], "msg": "field required"}]})
        if name == "delete":
            return self.raw(204, b"")
        return self.answer(200, found)

    do_GET = do_DELETE = do_PATCH = do_POST

    def answer(self, status: int, value: Any) -> None:
        """Send one JSON value."""
        self.raw(status, json.dumps(value).encode())

    def raw(self, status: int, body: bytes) -> None:
        """Send these bytes."""
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


class _Tcp(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64
