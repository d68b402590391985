# SPDX-License-Identifier: Apache-2.0
"""The files of a sealed folder: what `sealroom seal --as opaque` packs is read, and no other tar."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealroom.errors import SealError
from sealroom.members import SealedFiles, read_members
from sealroom_agents.owner.folder import listing, pack
from tests.formats.worked import flip

NAMES = ["a.dcm", "a/1.nii.gz", "a/b/Größe (cm).vcf", "z" * 100, "deep/" * 30 + "x", "été", "ﬁ", "empty"]


def packed(folder: Path) -> bytes:
    out = io.BytesIO()
    pack(listing(folder), out)
    return out.getvalue()


def tar(*entries: tuple[str, bytes], format: int = tarfile.PAX_FORMAT, **info: Any) -> bytes:
    """A tar of these files, with other facts of the first."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as archive:
        for number, (name, content) in enumerate(entries):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            if number == 0:
                for fact, value in info.items():
                    setattr(member, fact, value)
            archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


def refusal(data: bytes) -> str:
    with pytest.raises(SealError) as caught:
        read_members(memoryview(data))
    return caught.value.code


def test_a_folder_is_read_by_name_and_in_order(tmp_path: Path) -> None:
    for number, name in enumerate(NAMES):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(bytes([number]) * 700 * number)
    files = SealedFiles(memoryview(packed(tmp_path)))
    assert list(files) == sorted(NAMES, key=str.encode) and len(files) == len(NAMES)
    for number, name in enumerate(NAMES):
        assert files[name] == files.open(name).read() == bytes([number]) * 700 * number
        assert files.size(name) == 700 * number
    assert "nobody" not in files and repr(files) == f"<{len(NAMES)} sealed files>"
    with pytest.raises(TypeError):
        files["a.dcm"] = b""  # type: ignore[index]


def test_an_empty_folder_has_no_files(tmp_path: Path) -> None:
    assert len(SealedFiles(memoryview(packed(tmp_path)))) == 0


HOSTILE = {
    "a name that climbs (AR-01)": tar(("../a", b"x")),
    "a name that climbs later (AR-01)": tar(("a/../../b", b"x")),
    "an absolute name (AR-01)": tar(("/etc/passwd", b"x")),
    "a name of nothing": tar(("a//b", b"x")),
    "a dot": tar(("./a", b"x")),
    "a backslash": tar(("a\\b", b"x")),
    "a line break": tar(("a\nb", b"x")),
    "a name twice (AR-06)": tar(("a", b"x"), ("a", b"y")),
    "names out of order": tar(("b", b"x"), ("a", b"y")),
    "a long name": tar(("a/" * 600 + "b", b"x")),
    "a symbolic link (AR-02)": tar(("a", b""), type=tarfile.SYMTYPE, linkname="b"),
    "a hard link (AR-02)": tar(("a", b""), type=tarfile.LNKTYPE, linkname="b"),
    "a device (AR-02)": tar(("a", b""), type=tarfile.CHRTYPE),
    "a fifo (AR-02)": tar(("a", b""), type=tarfile.FIFOTYPE),
    "a sparse file (AR-02)": tar(("a", b""), type=tarfile.GNUTYPE_SPARSE),
    "GNU's format (AR-02)": tar(("a", b"x"), format=tarfile.GNU_FORMAT),
    "another fact in a pax header": tar(("é", b"x"), pax_headers={"comment": "x"}),
    "a size in a pax header": tar(("a", b"x"), pax_headers={"size": "9"}),
    "no end": tar(("a", b"x"))[:1024],
    "a cut file": tar(("a", b"x" * 600))[:1100],
    "more behind the end": tar(("a", b"x")) + b"x" * 512,
    "nothing": b"",
    "no tar": b"x" * 4096,
}


@pytest.mark.parametrize("case", HOSTILE)
def test_any_other_tar_is_refused(case: str) -> None:
    assert list(read_members(memoryview(tar(("a", b"x"), ("b", b"y"))))) == ["a", "b"]
    assert refusal(HOSTILE[case]) == "folder-malformed"


@given(data=st.data())
@settings(max_examples=200, deadline=None)
def test_one_bit_changed_is_refused_or_lies_in_a_file(data: st.DataObject) -> None:
    good = tar(("a", b"x" * 30), ("été/b", b"y" * 700))
    changed = flip(good, data.draw(st.integers(0, len(good) - 1)), data.draw(st.integers(0, 7)))
    try:
        found = read_members(memoryview(changed))
    except SealError as error:
        assert error.code == "folder-malformed"
    else:
        assert [member.size for member in found.values()] == [30, 700]
