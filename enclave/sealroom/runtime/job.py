# SPDX-License-Identifier: Apache-2.0
"""The analysis' side of the sandbox: what `unwrap`, `private` and `emit_signed` do there.

The three names put requests to the custodian over the one inherited socket. Nothing here is trusted: the
custodian checks every request again, and holds the keys, the noise and the signer, none of which this
process ever has.
"""

from __future__ import annotations

import mmap
import os
import socket
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sealroom.codes import Code
from sealroom.errors import JobError
from sealroom.runtime.channel import SCRIPT_BYTES, Channel, Frame
from sealroom.runtime.sandbox import lock_down

if TYPE_CHECKING:
    import pandas

_session: _Session | None = None


def unwrap(path: str) -> pandas.DataFrame:
    """Open one sealed dataset, named "owner/dataset.tar", as a pandas DataFrame, decrypted in memory.

    Columns are those that the recipe declares; their dtypes follow from the declared types alone, never from
    what is in them: int64 is `Int64`, bool `boolean`, float64 `float64`, string `str`. What is missing is
    `pandas.NA` in the first two, and NaN in the others.

    Raises `JobError`: "undeclared-dataset" for one that the recipe does not name, "schema-mismatch" when a
    column is missing or has another type.
    """
    return _here().unwrap(path)


def private(table: pandas.DataFrame) -> PrivateTable:
    """Take a table of people, one row each, from which only differentially private values can be read.

    Of a person with several rows the first counts; a row without a person counts nowhere. A number that is
    missing or is no number leaves its row out of a mean or a model; a label that is missing, or that the
    recipe does not declare, leaves its row out of every group. None of them is an error.
    """
    return PrivateTable(table)


def emit_signed(fields: Mapping[str, Any]) -> None:
    """Hand in the result: every field that the recipe declares, each exactly as it was released. Works once.

    The custodian checks the fields against the output contract and the values it released, signs them, and
    lets them out on the next release slot. Raises `JobError` or `PrivacyError` with the code of the rule
    that is broken; any such refusal ends the run.
    """
    _here().emit(fields)


class PrivateTable:
    """A table of people for differentially private releases.

    The noise is added by the custodian, not here.
    """

    def __init__(self, table: pandas.DataFrame) -> None:
        self._table = table

    def count(self, field: str) -> Released:
        """People in each declared group, for a field of kind "count"."""
        return self._release("count", field)

    def mean(self, field: str) -> Released:
        """The clamped mean of the field's column in each declared group, for a field of kind "mean"."""
        return self._release("mean", field)

    def logistic(self, field: str) -> Released:
        """A logistic regression of the field's label on its features, for a field of kind "logistic"."""
        return self._release("logistic", field)

    def _release(self, kind: str, field: str) -> Released:
        return Released(field, _here().release(kind, field, self._table))


class Released:
    """One released value. Reading it costs no more ε: the noise is in it already."""

    def __init__(self, field: str, value: dict[str, Any]) -> None:
        self.field = field
        self.value = value

    def summary(self) -> dict[str, Any]:
        """``{field: value}``, to be joined with ``|`` and given to `emit_signed`."""
        return {self.field: self.value}


class _Session:
    """The conversation with the custodian."""

    def __init__(
        self,
        channel: Channel,
        *,
        unit: str,
        fields: Mapping[str, Mapping[str, list[str]]],
        groups: Mapping[str, list[str]],
    ) -> None:
        self._channel = channel
        self._unit = unit
        self._fields = fields
        self._groups = groups

    def unwrap(self, path: str) -> pandas.DataFrame:
        import pyarrow as pa

        from sealroom.runtime.conversion import to_frame

        frame = self._ask({"op": "unwrap", "path": path})
        if frame.descriptor is None:
            raise JobError(Code.REQUEST_MALFORMED, "the custodian sent no dataset")
        try:
            # Pages of the sealed memfd, read in place: the plaintext is never written anywhere.
            pages = mmap.mmap(frame.descriptor, frame.head["size"], prot=mmap.PROT_READ)
        finally:
            os.close(frame.descriptor)
        return to_frame(pa.ipc.open_stream(pa.py_buffer(pages)).read_all())

    def release(self, kind: str, field: str, table: pandas.DataFrame) -> dict[str, Any]:
        from sealroom.runtime.conversion import handed_over

        wanted = self._fields.get(field, {"numbers": [], "groups": []})
        groups = {name: self._groups[name] for name in wanted["groups"]}
        head, payload = handed_over(table, unit=self._unit, numbers=wanted["numbers"], groups=groups)
        request = {"op": "release", "kind": kind, "field": field, **head}
        value: dict[str, Any] = self._ask(request, payload).head["value"]
        return value

    def emit(self, fields: Mapping[str, Any]) -> None:
        import json

        try:
            encoded = json.dumps(fields, separators=(",", ":")).encode()
        except (TypeError, ValueError):
            encoded = b"null"  # the custodian refuses it, which ends the run as every wrong output does
        self._ask({"op": "emit"}, [memoryview(encoded)])

    def _ask(self, request: dict[str, Any], payload: list[memoryview] | None = None) -> Frame:
        self._channel.send(request, payload or [])
        reply = self._channel.receive(head_limit=SCRIPT_BYTES)
        if reply is None:
            raise JobError(Code.CHANNEL_CLOSED, "the custodian is gone")
        if not reply.head.get("ok"):
            raise JobError(Code.parse(str(reply.head.get("code"))), str(reply.head.get("message")))
        return reply


def _here() -> _Session:
    if _session is None:
        raise JobError(
            Code.NOT_IN_ENCLAVE,
            "unwrap, private and emit_signed work only in the analysis of a recipe, inside the enclave",
        )
    return _session


def main(descriptor: int) -> None:
    """Run as the sandboxed process: lock down, say so, receive the script, run it. Never returns.

    Every way out is one of two exit statuses. No text leaves, since a message could hold data (OU-03, OU-04).
    """
    status = 1
    try:
        # Made before the lock-down, since a socket object asks the kernel what it is.
        channel = Channel(socket.socket(fileno=descriptor))
        confinement = lock_down()
        # Nothing can be written anywhere. Libraries that only ask for a place (torch) go on with this one.
        tempfile.tempdir = os.environ["TORCHINDUCTOR_CACHE_DIR"] = "/"
        # Imported after the lock-down, while the custodian attests:
        # most of a small analysis's time goes here.
        import numpy as _numpy  # noqa: F401
        import pandas as _pandas  # noqa: F401
        import pyarrow

        from sealroom.runtime import conversion as _columns  # noqa: F401

        pyarrow.enable_signal_handlers(False)  # they need a pipe, and an analysis is not interrupted

        channel.send({"op": "ready", **asdict(confinement)})
        begin = channel.receive(head_limit=SCRIPT_BYTES)
        if begin is not None:
            _run(channel, begin.head)
            status = 0
    except BaseException:
        status = 1
    finally:
        os._exit(status)


def _run(channel: Channel, begin: dict[str, Any]) -> None:
    global _session
    _session = _Session(channel, unit=begin["unit"], fields=begin["fields"], groups=begin["groups"])
    exec(compile(begin["analysis"], "analysis.py", "exec"), {"__name__": "__main__"})
