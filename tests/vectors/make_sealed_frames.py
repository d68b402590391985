# SPDX-License-Identifier: Apache-2.0
"""What must not be read as the archive: other members, other blocks, other ends (AR-01 to AR-04)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tests.vectors.make_sealed_archive import BLOCK, LARGE, PART, build, tar_header
from tests.vectors.make_sealed_case import Case, at, flip, order, renamed


def archives() -> Iterator[Case]:
    def case(name: str, comment: str, **steps: Any) -> Case:
        return Case("archive_" + name, "header archive-malformed", comment, steps)

    def cut(name: str, comment: str, change: Callable[[bytes], bytes], **steps: Any) -> Case:
        return Case("archive_" + name, "header archive-truncated", comment, {"tar": change, **steps})

    def frame(name: str, comment: str, member: str = "wrap.json", /, **fields: bytes) -> Case:
        return case(name, comment, frames={member: fields})

    yield cut("empty", "no byte at all", lambda tar: b"")
    yield cut("cut_in_first_block", "cut within the first tar header (CE-05)", lambda tar: tar[:100])
    yield cut("cut_in_header", "cut within header.json (CE-05)", lambda tar: tar[: BLOCK + 100])
    yield cut(
        "cut_in_padding", "cut within the padding of header.json (CE-05)", lambda tar: tar[: 3 * BLOCK - 1]
    )
    yield cut("cut_before_wrap", "ends after header.json (CE-05)", lambda tar: tar[: 3 * BLOCK])
    yield cut(
        "cut_before_part",
        "ends after the first part (CE-05)",
        lambda tar: tar[: tar.index(b"parts/00001")],
        plain=LARGE,
    )
    yield cut(
        "cut_in_part",
        "cut within the last part (CE-05)",
        lambda tar: tar[: tar.index(b"parts/00001") + BLOCK + 60],
        plain=LARGE,
    )
    yield cut(
        "cut_in_index",
        "cut within index.json (CE-05)",
        lambda tar: tar[: tar.index(b"index.json") + BLOCK + 10],
    )
    yield cut("no_end", "no zero blocks at the end (CE-05)", lambda tar: tar[: -2 * BLOCK])
    yield cut("half_an_end", "one zero block at the end (CE-05)", lambda tar: tar[:-BLOCK])
    yield cut("a_byte_short", "the last byte is missing (CE-05)", lambda tar: tar[:-1])
    yield case("a_byte_longer", "one byte after the end", tar=lambda tar: tar + b"\0")
    yield case("longer", "a third zero block", tar=lambda tar: tar + bytes(BLOCK))
    yield case("twice", "a second archive after the first (AR-06)", tar=lambda tar: tar + tar)
    yield case("end_not_zero", "a bit in the last block", tar=flip(-1))
    yield case("zeros_before", "a zero block before the first member", tar=lambda tar: bytes(BLOCK) + tar)
    yield case("not_a_tar", "a ZIP file's first bytes", tar=lambda tar: b"PK\3\4" + tar[4:])

    yield case("order", "wrap.json before header.json", members=order(1, 0, 2, 3))
    yield case("no_wrap", "wrap.json is missing", members=order(0, 2, 3))
    yield case("header_twice", "two members of one name (AR-06)", members=order(0, 0, 1, 2, 3))
    yield case("index_twice", "two members of one name (AR-06)", members=order(0, 1, 2, 3, 3))
    yield case(
        "member_more", "a member that nobody asked for", members=lambda all: [*all, ("more.json", b"{}")]
    )
    yield case(
        "part_missing", "the second of two parts is missing (CE-06)", members=order(0, 1, 2, 4), plain=LARGE
    )
    yield case(
        "part_more",
        "a part after the last (CE-06)",
        members=lambda all: [*all[:3], ("parts/00001", all[2][1]), all[3]],
    )
    yield case(
        "parts_renamed",
        "the second part is stored before the first (CE-06)",
        members=order(0, 1, 3, 2, 4),
        plain=LARGE,
    )
    yield case(
        "part_cut_at_chunk",
        "a part that ends where a chunk does (CE-05)",
        after_listing=at(0, lambda part: part[: 56 + PART + 16]),
        plain=LARGE,
    )
    yield case(
        "part_without_chunks",
        "nothing but salt and commitment (CE-05)",
        after_listing=at(0, lambda part: part[:56]),
    )
    yield case(
        "part_longer", "a byte after the last chunk (CE-06)", after_listing=at(0, lambda part: part + b"\0")
    )

    for name, path in {
        "climbs": "../wrap.json",
        "absolute": "/wrap.json",
        "dot": "./wrap.json",
        "drive": "C:\\wrap.json",
        "unc": "\\\\host\\wrap.json",
        "upper_case": "WRAP.JSON",
        "folder": "wrap.json/",
        "only_dot": ".",
    }.items():
        yield case(f"name_{name}", f"a member called {path} (AR-01)", **renamed(1, path))
    yield frame("name_after_nul", "a second name behind a zero byte (AR-01)", name=b"wrap.json\0../../x")
    yield frame("name_prefix", "the ustar prefix moves the member elsewhere (AR-01)", prefix=b"..")
    yield case("part_number", "parts/0 instead of parts/00000 (AR-01)", **renamed(2, "parts/0"))

    for name, kind in {
        "nul_type": b"\0",
        "hard_link": b"1",
        "symbolic_link": b"2",
        "character_device": b"3",
        "block_device": b"4",
        "folder": b"5",
        "fifo": b"6",
        "contiguous": b"7",
        "gnu_long_link": b"K",
        "gnu_long_name": b"L",
        "gnu_sparse": b"S",
        "pax": b"x",
        "pax_global": b"g",
    }.items():
        link = {"linkname": b"/etc/passwd"} if kind in (b"1", b"2") else {}
        yield frame(
            name,
            f"wrap.json has the type {kind.decode()!r} (AR-02)".replace("'\\x00'", "zero"),
            typeflag=kind,
            **link,
        )
    yield case("pax_before", "a pax header renames the next member (AR-02)", tar=_with_pax)
    yield frame("gnu_magic", "GNU's magic instead of ustar's (AR-02)", magic=b"ustar ", version=b" \0")
    yield frame("old_magic", "no magic, as before POSIX (AR-02)", magic=b"", version=b"")
    yield frame("link_name", "a regular file with the target of a link (AR-02)", linkname=b"x")
    yield frame("rest_not_zero", "a byte behind the last field (AR-02)", rest=b"x")
    yield frame("mode", "a file that all may read", mode=b"0000644\0")
    yield frame("owner", "a file of another user", uid=b"0001750\0")
    yield frame("owner_name", "a user by name", uname=b"root")
    yield frame("time", "a file with a time", mtime=b"14000000000\0")
    yield frame("device_number", "zeros as text where zero bytes must be", devmajor=b"0000000\0")
    yield frame("checksum", "a wrong checksum", chksum=b"000000\0 ")
    yield frame("checksum_form", "the right checksum in another form", chksum=_other_checksum())
    yield frame("padding", "padding that is not zero", padding=_padding_of_wrap())

    yield frame("size_negative", "a size below zero (AR-03)", size=b"-0000000010\0")
    yield frame("size_base_256", "a size in GNU's binary form (AR-03)", size=b"\x80" + bytes(10) + b"\x10")
    yield frame("size_with_space", "a size that ends in a space (AR-03)", size=b"0000000010 \0")
    yield frame("size_not_octal", "a size with an eight (AR-03)", size=b"00000000018\0")
    yield frame("size_without_nul", "a size of twelve digits (AR-03)", size=b"000000000010")
    yield frame("size_zero", "a size of zero before a part (AR-03)", "parts/00000", size=b"00000000000\0")
    yield frame(
        "size_10_gib", "a header that claims 10 GiB (AR-04)", "header.json", size=b"%011o\0" % (10 << 30)
    )
    yield frame(
        "size_of_header",
        "header.json of 1 MiB and a byte (AR-04)",
        "header.json",
        size=b"%011o\0" % ((1 << 20) + 1),
    )
    yield frame("size_of_wrap", "wrap.json of 16 KiB and a byte (AR-04)", size=b"%011o\0" % (16384 + 1))
    yield frame(
        "size_of_index",
        "index.json of 8 MiB and a byte (AR-04)",
        "index.json",
        size=b"%011o\0" % ((8 << 20) + 1),
    )
    yield frame(
        "size_of_part",
        "a part of another size than the header makes it (AR-04)",
        "parts/00000",
        size=b"%011o\0" % 373,
    )


def _with_pax(tar: bytes) -> bytes:
    place = tar.index(b"wrap.json")
    record = b"18 path=other.json\n"
    record = record.replace(b"18", str(len(record)).encode())
    return (
        tar[:place] + tar_header("pax", len(record), typeflag=b"x") + record.ljust(BLOCK, b"\0") + tar[place:]
    )


def _other_checksum() -> bytes:
    _, body = build()
    place = body.index(b"wrap.json") + 148
    return b" " + body[place + 1 : place + 6] + b"\0 "


def _padding_of_wrap() -> bytes:
    _, body = build()
    place = body.index(b"wrap.json")
    size = int(body[place + 124 : place + 135], 8)
    return b"\1".rjust(-size % BLOCK, b"\0")
