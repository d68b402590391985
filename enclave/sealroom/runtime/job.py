# SPDX-License-Identifier: Apache-2.0
"""The analysis' side of the sandbox: what `unwrap`, `private`, `emit_signed` and `emit_block` do there.

These names put requests to the custodian over the one inherited socket. Nothing here is trusted: the
custodian checks every request again, and holds the keys, the noise and the signer, none of which this
process ever has.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sealroom.codes import Code
from sealroom.errors import JobError
from sealroom.runtime.channel import SCRIPT_BYTES, Channel, Frame
from sealroom.runtime.confine import Walls, seal
from sealroom.runtime.syscalls import Phase

if TYPE_CHECKING:
    import pandas

    from sealroom.members import SealedFiles

SCRIPT = "analysis.py"

_session: _Session | None = None


def unwrap(path: str) -> Any:
    """Open one sealed dataset, named "owner/dataset.tar", decrypted in memory.

    A table is a pandas DataFrame. Its columns are those that the recipe declares; their dtypes follow from
    the declared types alone, never from what is in them: int64 is `Int64`, bool `boolean`, float64 `float64`,
    string `str`, date `datetime64`, a category `category`; all types: `enclave/spec/column-types.md`. What is
    missing is `pandas.NA` in whole numbers and truth values, and NaN, NaT or None in the others.
    In a study by blocks the rows are those of the people of one block.

    A dataset of the kind `files` is a mapping from a file's name to its bytes, in the order of the names;
    `open(name)` gives it as a file object (`sealroom.members.SealedFiles`).

    Raises `JobError`: "undeclared-dataset" for one that the recipe does not name, "schema-mismatch" when a
    column is missing or has another type.
    """
    return _here().unwrap(path)


def private(table: pandas.DataFrame) -> PrivateTable:
    """Take a table of people, one row each, from which only differentially private values can be read.

    Of a person with several rows the first counts. A row without a person counts nowhere, nor does one of an
    id that is in none of the tables unwrapped before; a recipe that declares files alone has no such ids, and
    the script's own count. A number that is missing or is no number leaves its row out of a mean or a model;
    a label that is missing, or that the recipe does not declare, leaves its row out of every group. None of
    them is an error.
    """
    return PrivateTable(table)


def emit_signed(fields: Mapping[str, Any]) -> None:
    """Hand in the result: every field that the recipe declares, each exactly as it was released. Works once.
    In a study by blocks it takes this block's number of each field, as `emit_block` does.

    The custodian checks the fields against the output contract and the values it released, signs them, and
    lets them out at the instant that the recipe declares. Raises `JobError` or `PrivacyError` with the code
    of the rule that is broken; any such refusal ends the run.
    """
    _here().emit(fields)


def emit_block(numbers: Mapping[str, float]) -> None:
    """Hand in this block's number of each field that the recipe declares. Works once, in a study by blocks.

    The custodian holds each number to its bounds. What is no number, or is not handed in, counts as the
    middle of them; so does everything of a block that raises, or does not end in its time. A block has no
    threads beside those of its libraries, and starting one fails.
    """
    _here().emit_block(numbers)


class PrivateTable:
    """A table of people for differentially private releases.

    It has one method for each kind of field, named as the kind is in the recipe: `table.count("people")` is
    the field `people` of kind count. The noise is added by the custodian, not here.
    """

    def __init__(self, table: pandas.DataFrame) -> None:
        self._table = table

    def __getattr__(self, kind: str) -> Callable[[str], Released]:
        if kind.startswith("_"):
            raise AttributeError(kind)
        return lambda field: Released(field, _here().release(kind, field, self._table))


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
        fields: Mapping[str, Mapping[str, list[Any]]],
        groups: Mapping[str, list[str]],
        block: bool = False,
    ) -> None:
        """`block`: the script sees one block of people."""
        self._channel = channel
        self._block = block
        self._unit = unit
        self._fields = fields
        self._groups = groups

    def unwrap(self, path: str) -> pandas.DataFrame | SealedFiles:
        import pyarrow as pa

        from sealroom.members import SealedFiles
        from sealroom.runtime.conversion import to_frame

        frame = self._ask({"op": "unwrap", "path": path})
        if frame.descriptor is None:
            raise JobError(Code.REQUEST_MALFORMED, "the custodian sent no dataset")
        try:
            # Pages of the sealed memfd, read in place: the plaintext is never written anywhere.
            pages = mmap.mmap(frame.descriptor, frame.head["size"], prot=mmap.PROT_READ)
        finally:
            os.close(frame.descriptor)
        if frame.head["kind"] == "files":
            return SealedFiles(memoryview(pages))
        return to_frame(pa.ipc.open_stream(pa.py_buffer(pages)).read_all())

    def release(self, kind: str, field: str, table: pandas.DataFrame) -> dict[str, Any]:
        from sealroom.runtime.conversion import handed_over

        wanted = self._fields.get(field, {"numbers": [], "groups": [], "vectors": []})
        groups = {name: self._groups[name] for name in wanted["groups"]}
        head, payload = handed_over(
            table, unit=self._unit, numbers=wanted["numbers"], groups=groups, vectors=wanted["vectors"]
        )
        request = {"op": "release", "kind": kind, "field": field, **head}
        value: dict[str, Any] = self._ask(request, payload).head["value"]
        return value

    def emit(self, fields: Mapping[str, Any]) -> None:
        import json

        if self._block:
            self.emit_block(fields)
            return
        try:
            encoded = json.dumps(fields, separators=(",", ":")).encode()
        except (TypeError, ValueError):
            encoded = b"null"  # the custodian refuses it, which ends the run as every wrong output does
        self._ask({"op": "emit"}, [memoryview(encoded)])

    def emit_block(self, numbers: Mapping[str, float]) -> None:
        import json
        import math

        plain = {}
        for name, value in numbers.items():
            try:
                number = float(value)
            except (TypeError, ValueError, OverflowError):
                continue  # as a number that is missing
            if math.isfinite(number):
                plain[str(name)] = number
        self._ask({"op": "block"}, [memoryview(json.dumps(plain, separators=(",", ":")).encode())])

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
            "unwrap, private, emit_signed and emit_block work only in an analysis, inside the enclave",
        )
    return _session


def run(channel: Channel, walls: Walls) -> None:
    """The job's program: load the base; receive the script, load what it imports; run it."""
    # Nothing can be written anywhere. Libraries that only ask for a place (torch) go on with this one.
    tempfile.tempdir = os.environ["TORCHINDUCTOR_CACHE_DIR"] = "/"
    # While the custodian attests: most of a small analysis's time goes here.
    from sealroom import members as _members  # noqa: F401
    from sealroom.runtime import conversion as _conversion  # noqa: F401
    from sealroom.runtime.loading import load_base, load_for, load_for_block

    load_base()

    def load(begin: Mapping[str, Any]) -> Phase:
        block = bool(begin.get("block"))
        (load_for_block if block else load_for)(begin["analysis"])
        return Phase.BLOCK if block else Phase.SEALED

    run_script(channel, begun(channel, walls, load))


def begun(channel: Channel, walls: Walls, load: Callable[[Mapping[str, Any]], Phase]) -> dict[str, Any]:
    """Say that the job is ready, receive its task, let `load` prepare for it, and seal; gives the task once
    the custodian has seen the seal. `load` gives what the task may call."""
    channel.send({"op": "ready", "walls": asdict(walls)})
    begin = channel.receive(head_limit=SCRIPT_BYTES)
    if begin is None:
        raise JobError(Code.CHANNEL_CLOSED, "the custodian is gone")
    seal(load(begin.head))
    channel.send({"op": "sealed"})
    if channel.receive() is None:  # the custodian has seen the second filter, too
        raise JobError(Code.CHANNEL_CLOSED, "the custodian is gone")
    return begin.head


def run_script(channel: Channel, begin: dict[str, Any]) -> None:
    """Run the script that `begin` holds. What it raises goes on, once the custodian knows where it arose."""
    global _session
    _session = _Session(
        channel,
        unit=begin["unit"],
        fields=begin["fields"],
        groups=begin["groups"],
        block=begin.get("block") is True,
    )
    try:
        exec(compile(begin["analysis"], SCRIPT, "exec"), {"__name__": "__main__"})
    except BaseException as error:
        channel.send({"op": "failed"} | _where(error))
        raise


def _where(error: BaseException) -> dict[str, Any]:
    """The script's line that an exception comes from, and the exception's type: no text of it."""
    line, frame = None, error.__traceback__
    while frame is not None:
        if frame.tb_frame.f_code.co_filename == SCRIPT:
            line = frame.tb_lineno
        frame = frame.tb_next
    return {"line": line, "exception": type(error).__name__}
