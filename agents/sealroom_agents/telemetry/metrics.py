# SPDX-License-Identifier: Apache-2.0
"""What the processes count and measure, for Prometheus: on an address of its own, and off by default (OP-13).

Labels are words of this program alone: a code of the registry, a condition, a stage, the host of an endpoint
that the operator configured. Nothing that a caller says, and nobody's name, becomes a label; so the number of
series is bounded, and a scrape tells nothing of studies and people. Counters stand beside what they count, so
that a process shows its own only; what is a state is read when Prometheus asks.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import REGISTRY, Counter, Histogram, disable_created_metrics, make_wsgi_app
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from sealroom.codes import Code, Stage
from sealroom.encoding import canonical
from sealroom_agents.errors import ConfigurationError
from sealroom_agents.telemetry.conditions import NO_CONDITIONS, Conditions

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

VIEW_AGE = "Time since a look at the chain was good."
GAS_BALANCE = "What the account that pays has."
GAS_NEEDED = "What it must have to be ready."
"""Helps of what several processes have."""

disable_created_metrics()  # type: ignore[no-untyped-call]
_log = logging.getLogger(__name__)


def listening(address: str) -> tuple[str, int]:
    """Host and port of an address. Raises `ConfigurationError` `configuration` for what is no HOST:PORT."""
    host, _, port = address.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ConfigurationError(
            Code.CONFIGURATION, f"--metrics {address!r} is no HOST:PORT", "such as 127.0.0.1:9400"
        )
    return host.strip("[]"), int(port)


def serve_metrics(address: str | None, conditions: Conditions = NO_CONDITIONS) -> None:
    """Serve `GET /metrics`, and `/v1/healthz` and `/v1/readyz` by `conditions`, on HOST:PORT, in a thread;
    nothing where no address is given.

    Whoever reaches the address reads them, so it belongs on a network of the operator's own. Raises
    `ConfigurationError`: `configuration` for what is no HOST:PORT, `listen`.
    """
    if address is None:
        return
    host, port = listening(address)

    class Server(ThreadingMixIn, WSGIServer):
        daemon_threads = True
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

    try:
        server = make_server(host, port, _application(conditions), Server, _Quiet)
    except OSError as error:
        reason = error.strerror or error
        raise ConfigurationError(Code.LISTEN, f"cannot listen on {address}: {reason}") from error
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    _log.info("metrics on http://%s/metrics", address)


class _Quiet(WSGIRequestHandler):
    """Logs no request, and waits for none that does not come."""

    timeout = 10

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


def _application(conditions: Conditions) -> WSGIApplication:
    metrics = make_wsgi_app()

    def application(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO")
        if path == "/metrics":
            return metrics(environ, start)
        if path == "/v1/readyz":
            status, body = conditions.answer()
        elif path == "/v1/healthz":
            status, body = 200, {"status": "ok"}
        else:
            status, body = 404, {"code": Code.NOT_FOUND, "message": Code.NOT_FOUND.line}
        start(f"{status} {HTTPStatus(status).phrase}", [("Content-Type", "application/json")])
        return [canonical(body)]

    return application


def code_label(code: str) -> str:
    """A code as a label: what this version does not know is one word, whoever said it."""
    known = Code.parse(code)
    return "unknown" if known.stage is Stage.UNKNOWN else str(known)


def at_zero(metric: Counter | Histogram, values: Iterable[str]) -> None:
    """Show a series for each value of the label from the start on: a rule cannot count the first event of one
    that appears with it, nor tell "none so far" from "not measured"."""
    for value in values:
        metric.labels(value)


def codes_of(*stages: Stage) -> list[str]:
    """The codes that arise at these stages."""
    return [str(code) for code in Code if code.stage in stages]


class States(Collector):
    """Gauges whose values are read at each scrape."""

    def __init__(self) -> None:
        self._read: list[tuple[str, str, str | None, Callable[[], dict[str, float]]]] = []

    def add(self, name: str, about: str, read: Callable[[], float | None]) -> None:
        """One number; `None` while it is not known, then the scrape lacks it."""

        def one() -> dict[str, float]:
            value = read()
            return {} if value is None else {"": value}

        self._read.append((name, about, None, one))

    def add_each(self, name: str, about: str, label: str, read: Callable[[], dict[str, float]]) -> None:
        """One number for each value of a label; several labels, and their values, have a space between."""
        self._read.append((name, about, label, read))

    def collect(self) -> Iterator[Metric]:
        """What Prometheus gets."""
        for name, about, label, read in self._read:
            family = GaugeMetricFamily(name, about, labels=label.split() if label else [])
            for value, number in read().items():
                family.add_metric(value.split(" ") if label else [], number)
            yield family

    def add_nodes(self, available: Callable[[], dict[str, bool]]) -> None:
        """Whether each endpoint of the chain is asked, by host."""
        self.add_each(
            "sealroom_chain_node_up",
            "Whether an endpoint is asked, or left out: 1, or 0.",
            "host",
            lambda: {url.partition("://")[2]: float(up) for url, up in available().items()},
        )

    def add_node_kinds(self, kinds: Callable[[], dict[str, str]]) -> None:
        """How the follower sees each endpoint: `seated`, `new`, or the code of why it is left out."""

        def read() -> dict[str, float]:
            return {f"{url.partition('://')[2]} {kind}": 1.0 for url, kind in kinds().items()}

        self.add_each("sealroom_chain_node_kind", "How the follower sees an endpoint.", "host kind", read)

    def add_conditions(self, conditions: Conditions) -> None:
        """Whether each of them holds."""
        self.add_each(
            "sealroom_ready",
            "Whether a condition of readiness holds: 1, or 0.",
            "condition",
            lambda: {one.name: float(one.ok) for one in conditions.all()},
        )

    def serve(self) -> None:
        """Have them served with the other metrics of this process."""
        REGISTRY.register(self)
