# SPDX-License-Identifier: Apache-2.0
"""What a sealed file would be restored to, opened part by part and written nowhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, cast

from sealroom.codes import Code
from sealroom.keys import Secret
from sealroom_agents.owner.findings import Finding
from sealroom_agents.owner.to_pipe import to_pipe


class _Against:
    """A place to write to that keeps nothing, and compares with the bytes of a file."""

    def __init__(self, stream: BinaryIO | None) -> None:
        self._stream = stream
        self.size = 0
        """Bytes written."""
        self.differs: int | None = None
        """The first byte that is another one in the file, or that it does not have."""

    def write(self, data: memoryview) -> int:
        if self._stream is not None and self.differs is None:
            known = self._stream.read(len(data))
            if known != data:
                # A file that ends too early differs where it ends.
                pairs = enumerate(zip(data, known, strict=False))
                self.differs = self.size + next((n for n, (a, b) in pairs if a != b), len(known))
        self.size += len(data)
        return len(data)

    def flush(self) -> None:
        """What the file has behind all that was written differs too."""
        if self._stream is not None and self.differs is None and self._stream.read(1):
            self.differs = self.size


def restored(
    sealed: Path,
    key: Secret,
    *,
    against: Path | None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Finding | None, float]:
    """Open all of a sealed file, as `sealroom unseal` does, and hold it `against` a file.

    Returns the finding about that, and the seconds that it took. Raises as `to_pipe`, and `OSError`.
    """
    begun = time.monotonic()
    if against is None:
        to_pipe(sealed, cast(BinaryIO, _Against(None)), dek=key, progress=progress)
        return None, time.monotonic() - begun
    with against.open("rb") as stream:
        target = _Against(stream)
        to_pipe(sealed, cast(BinaryIO, target), dek=key, progress=progress)
    took = time.monotonic() - begun
    if target.differs is None:
        return Finding("against", True, f"{against} has the same {target.size:,} bytes"), took
    said = f"{against} differs from byte {target.differs:,} on; {target.size:,} bytes were sealed"
    return Finding("against", False, said, Code.RESTORE_DIFFERS), took
