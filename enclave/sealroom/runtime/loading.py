# SPDX-License-Identifier: Apache-2.0
"""What a job loads before it is sealed: once a script runs, no module and no file can be opened any more.

Three sources, all read by measured code:

* the base: NumPy, pandas and Arrow, with what they import late (`LATE`), codecs and time zones;
* the script's own `import` statements, wherever they stand in it, found in its syntax tree and never run;
* names that the script reads from a module (`numpy.random.default_rng`), since some modules import their
  parts when these are first read.

A module that none of the three finds, say one whose name the script computes, is missing for the script:
its import raises `ModuleNotFoundError`. A simulated run goes the same way, so that shows before an approval.
"""

from __future__ import annotations

import ast
import contextlib
import ctypes
import importlib
import io
import mmap
import os
import sys
import warnings
import zoneinfo
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

_SCIPY = (
    "scipy.linalg._matfuncs_inv_ssq", "scipy.optimize.elementwise", "scipy.sparse._spfuncs",
    "scipy._lib.cobyqa", "scipy._lib.pyprima.common.infos", "scipy._lib.pyprima.common.message",
)  # fmt: skip

LATE: dict[str, tuple[str, ...]] = {
    "concurrent.futures": ("concurrent.futures.thread",),
    "datetime": ("_strptime",),
    "numpy": (
        "numpy._core._dtype_ctypes", "numpy._core._internal", "numpy._core._methods", "numpy.char",
        "numpy.ctypeslib", "numpy.fft", "numpy.lib.recfunctions", "numpy.ma.mrecords", "numpy.matlib",
        "numpy.polynomial", "numpy.random", "numpy.rec", "numpy.strings", "tempfile",
    ),
    "pandas": (
        "pandas.core.arrays.arrow._arrow_utils", "pandas.core.arrays.arrow.extension_types",
        "pandas.core.interchange.dataframe", "pandas.core.methods.describe", "pandas.core.methods.select",
        "pandas.core.methods.to_dict", "pandas.core.reshape.reshape", "pandas.io.formats.csvs",
        "pandas.io.formats.html", "pandas.io.formats.string", "pandas.io.formats.xml", "pyarrow.parquet",
        "xml.dom.minidom", "xml.etree.ElementTree",
    ),
    "pyarrow": (
        "pyarrow.acero", "pyarrow.compute", "pyarrow.csv", "pyarrow.dataset", "pyarrow.feather", "pyarrow.fs",
        "pyarrow.interchange", "pyarrow.json", "pyarrow.pandas_compat", "pyarrow.parquet",
        "pyarrow.vendored.docscrape",
    ),
    "cryptography": ("cryptography.hazmat.backends.openssl.backend",),
    "opendp": ("opendp._data", "opendp.extras.numpy.canonical", "opendp.prelude"),
    "scipy": _SCIPY,
    "sklearn": (*_SCIPY, "scipy.cluster.hierarchy", "sklearn.utils._pprint"),
    "torch": (
        "torch._dynamo", "torch._functorch.apis", "torch.fft", "torch.func", "torch.linalg",
        "torch.optim.lr_scheduler", "torch.special", "torch.utils.checkpoint", "torch.utils.data",
        "torch.utils.serialization.config",
    ),
}  # fmt: skip
"""What a module imports only when one of its functions first runs: loaded along with it. A test reads the
sources of NumPy, pandas, Arrow, SciPy and scikit-learn and fails on a late import that is missing here."""

_CODECS = (
    "ascii", "cp1252", "idna", "iso8859_1", "iso8859_15", "latin_1", "punycode", "raw_unicode_escape",
    "unicode_escape", "utf_16", "utf_16_be", "utf_16_le", "utf_32", "utf_7", "utf_8_sig",
)  # fmt: skip

_MOST_NAMES = 512
"""Names of `__all__` read of one module."""


def load_base() -> None:
    """Load what every analysis has. Raises `ImportError` where the image lacks one of these."""
    for name in ("datetime", "numpy", "pandas", "pyarrow"):
        _load(name)
    for codec in _CODECS:
        importlib.import_module(f"encodings.{codec}")
    import pyarrow
    import pyarrow.compute

    pyarrow.enable_signal_handlers(False)  # they need a pipe, and an analysis is not interrupted
    instant = pyarrow.array([0], pyarrow.timestamp("s"))
    for key in _hold_zones():
        with contextlib.suppress(OSError, ValueError):
            pyarrow.compute.assume_timezone(instant, key)  # Arrow keeps zones of its own


def _hold_zones() -> set[str]:
    """Keep every time zone's file in memory, where `zoneinfo` looks once no file opens; returns the names.

    None is parsed before a script asks for it: all of them would be a fifth of a job's start.
    """
    importlib.import_module("zoneinfo._zoneinfo")  # whose transitions pandas can read
    places = importlib.import_module("zoneinfo._tzpath")
    common: Any = importlib.import_module("zoneinfo._common")
    files: dict[str, bytes] = {}
    for key in zoneinfo.available_timezones():
        with contextlib.suppress(OSError, ValueError):
            place = places.find_tzfile(key)
            with open(place, "rb") if place else common.load_tzdata(key) as file:
                files[key] = file.read()

    def from_memory(key: str) -> io.BytesIO:
        if key not in files:
            raise zoneinfo.ZoneInfoNotFoundError(f"No time zone found with key {key}")
        return io.BytesIO(files[key])

    common.load_tzdata = from_memory
    zoneinfo.reset_tzpath(())  # where neither class finds a file, it calls `load_tzdata`
    return set(files)


def load_for(script: str) -> None:
    """Load what a script imports, without running a line of it.

    What cannot be loaded is left to the script: its own `import` fails there, and it may go on without.
    """
    try:
        tree = ast.parse(script)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return  # running it will say so
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        aliases: dict[str, ModuleType] = {}
        for name, parts, alias in _imports(tree):
            module = _try_to_load(name, parts)
            if module is not None and alias is not None:
                aliases[alias] = sys.modules[alias] if alias == name.partition(".")[0] else module
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute):
                _read(node, aliases)


def load_for_block(script: str) -> None:
    """Load what a script imports that runs on one block of people. Libraries start their threads now, as few
    as they can do with, since a block starts none; and all code that is mapped is read, since which of its
    pages are in memory could be an earlier block's doing, and take longer or not.
    """
    os.environ["OMP_NUM_THREADS"] = "1"
    load_for(script)
    import pyarrow.csv

    pyarrow.set_cpu_count(1)
    pyarrow.set_io_thread_count(1)
    columns = {str(number): [number] for number in range(8)}
    pyarrow.table(columns).to_pandas(use_threads=True)
    pyarrow.csv.read_csv(pyarrow.py_buffer(b"a,b\n1,2\n"))
    read_code()


def read_code() -> int:
    """Read a byte of every page of the program and its libraries; returns how many pages that are."""
    import numpy

    pages = 0
    for address, size in _segments():
        begin = address - address % mmap.PAGESIZE
        memory = (ctypes.c_ubyte * (address + size - begin)).from_address(begin)
        touched = numpy.frombuffer(memoryview(memory).cast("B"), numpy.uint8)[:: mmap.PAGESIZE]
        touched.max()
        pages += len(touched)
    return pages


class _ProgramHeader(ctypes.Structure):
    """`Elf64_Phdr`."""

    _fields_ = (
        ("type", ctypes.c_uint32), ("flags", ctypes.c_uint32), ("offset", ctypes.c_uint64),
        ("address", ctypes.c_uint64), ("physical", ctypes.c_uint64), ("file_size", ctypes.c_uint64),
        ("size", ctypes.c_uint64), ("alignment", ctypes.c_uint64),
    )  # fmt: skip


class _Object(ctypes.Structure):
    """The first members of `struct dl_phdr_info`."""

    _fields_ = (
        ("base", ctypes.c_uint64), ("name", ctypes.c_char_p), ("headers", ctypes.POINTER(_ProgramHeader)),
        ("count", ctypes.c_uint16),
    )  # fmt: skip


_LOADED, _READABLE = 1, 4
"""PT_LOAD and PF_R."""


def _segments() -> list[tuple[int, int]]:
    """Address and size of each readable segment of the program and its libraries (dl_iterate_phdr)."""
    found: list[tuple[int, int]] = []

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(_Object), ctypes.c_size_t, ctypes.c_void_p)
    def each(pointer: Any, size: int, data: None) -> int:
        one = pointer.contents
        headers = (one.headers[place] for place in range(one.count))
        found.extend(
            (one.base + header.address, header.size)
            for header in headers
            if header.type == _LOADED and header.flags & _READABLE
        )
        return 0

    ctypes.CDLL(None).dl_iterate_phdr(each, None)
    return found


def _imports(tree: ast.Module) -> Iterator[tuple[str, tuple[str, ...], str | None]]:
    """Each imported module, the names taken out of it, and the name that stands for it in the script."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for each in node.names:
                yield each.name, (), each.asname or each.name.partition(".")[0]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module is not None:
            yield node.module, tuple(each.name for each in node.names), None
            for each in node.names:
                yield f"{node.module}.{each.name}", (), each.asname or each.name


def _try_to_load(name: str, parts: tuple[str, ...]) -> ModuleType | None:
    """Load a module and read these names of it; None where there is no such module."""
    try:
        _load(name)
        for part in parts:
            getattr(sys.modules[name], part, None)
    except Exception:  # whatever a module of the image raises when it is loaded, the script's import tells it
        return None
    return sys.modules[name]


def _load(name: str) -> None:
    """Import a module with what belongs to it and comes late."""
    top = name.partition(".")[0]
    module = importlib.import_module(name)
    for late in LATE.get(name, ()):
        importlib.import_module(late)
    for part in list(getattr(module, "__all__", ()))[:_MOST_NAMES]:
        with contextlib.suppress(Exception):
            getattr(module, part)
    if top != name:
        _load(top)
    elif name in _WARM_UP and name not in _warm:
        _warm.add(name)
        _WARM_UP[name]()


def _warm_up_torch() -> None:
    """One step of training on made-up numbers, after which torch imports nothing more.

    oneDNN is off: it makes machine code for each shape, which no sealed job may. torch then takes its own
    convolutions.
    """
    import torch

    torch.backends.mkldnn.enabled = False
    torch.set_num_threads(torch.get_num_threads())  # its threads start now
    with torch.random.fork_rng(devices=[]):
        net = torch.nn.Sequential(torch.nn.Conv1d(1, 2, 2), torch.nn.Flatten(), torch.nn.Linear(6, 1))
        optimizer = torch.optim.AdamW(net.parameters())
        net(torch.zeros(2, 1, 4)).sum().backward()
        optimizer.step()
        repr(torch.zeros(2))


def _warm_up_sklearn() -> None:
    """Have scikit-learn find the thread pools of the libraries that are mapped: it reads that in `/proc`."""
    from sklearn.cluster import KMeans

    KMeans(1, n_init=1).fit([[0.0], [1.0]])


_WARM_UP: dict[str, Callable[[], None]] = {"sklearn": _warm_up_sklearn, "torch": _warm_up_torch}
"""What to run once a library is loaded: it reads and starts then what it would when it first computes."""

_warm: set[str] = set()


def _read(node: ast.Attribute, aliases: dict[str, ModuleType]) -> None:
    """Read `module.name.name` as the script will, as long as each is a module."""
    names = [node.attr]
    inner = node.value
    while isinstance(inner, ast.Attribute):
        names.append(inner.attr)
        inner = inner.value
    found: object = aliases.get(inner.id) if isinstance(inner, ast.Name) else None
    while isinstance(found, ModuleType) and names:
        with contextlib.suppress(Exception):
            found = getattr(found, names.pop())
            continue
        return
