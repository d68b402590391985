# SPDX-License-Identifier: Apache-2.0
"""What a job loads before it is sealed: a module that is missing then is missing for the script."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.enclave.inside import inside
from tests.patience import PATIENCE_S

FIRST = ("numpy", "pandas", "pyarrow", "opendp")
PACKAGES = (*FIRST, "scipy", "sklearn")

NOT_LOADED = {
    # works on files, terminals, tests or the network, of which there are none
    "numpy.distutils", "numpy.distutils.cpuinfo", "glob", "http.client", "urllib.error", "urllib.request",
    "pandas.io.clipboard", "pandas.io.sas.sas7bdat", "pandas.io.sas.sas_xport", "sqlite3",
    # needs a package that the image has not
    "pandas.core._numba.extensions", "pandas.core._numba.kernels", "pandas.core.arrays.sparse.scipy_sparse",
    "pandas.io.formats.excel", "pandas.io.formats.style", "pandas.plotting._matplotlib",
    "opendp.extras.polars.contingency_table",
    "multiprocessing", "scipy.io._fast_matrix_market._fmm_core", "sklearn.utils._testing",
    # arrays of torch, which an estimator takes only where a process says so in SCIPY_ARRAY_API
    *(
        f"{package}.array_api_compat.{name}"
        for package in ("scipy._lib", "sklearn.externals")
        for name in ("cupy", "dask", "dask.array", "torch", "torch._aliases")
    ),
}  # fmt: skip

STRANGE = {"tests", "testing", "f2py", "distutils", "_pyinstaller", "conftest", "typing"}
"""Parts of a package that no analysis runs."""


def late_imports(package: str) -> Iterator[str]:
    """Modules that a function of the package imports when it runs."""
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.submodule_search_locations is not None
    root = Path(spec.submodule_search_locations[0])
    for path in root.rglob("*.py"):
        names = [package, *path.relative_to(root).with_suffix("").parts]
        if STRANGE.isdisjoint(names):
            for function in ast.walk(ast.parse(path.read_bytes())):
                if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                    yield from imported(function, names)


def imported(function: ast.AST, names: list[str]) -> Iterator[str]:
    for node in ast.walk(function):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = names[: -node.level] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield module
            yield from (f"{module}.{each.name}" for each in node.names)


def exists(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError, AttributeError):
        return False


@pytest.mark.parametrize("package", PACKAGES)
def test_what_a_library_imports_late_is_loaded_early(package: str) -> None:
    """A new version of a library that imports more fails here, not in a study."""
    load = (
        "import sys\nfrom sealroom.runtime import loading\nloading.load_base()\n"
        f"loading.load_for('import {package}')\nprint(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", load], capture_output=True, text=True, timeout=PATIENCE_S, check=True
    )
    loaded = set(done.stdout.split())
    # what pandas and OpenDP do by SciPy or scikit-learn is for scripts that import these
    ours = {*(FIRST if package in FIRST else PACKAGES), *sys.stdlib_module_names}
    missing = {
        name
        for name in set(late_imports(package)) - loaded
        if name.partition(".")[0] in ours and exists(name) and not name.startswith("ctypes.")
    }
    assert missing - NOT_LOADED == set()


def test_a_module_that_no_import_names_is_missing_for_the_script() -> None:
    """And the script can go on without it, as without any module that is not installed."""
    script = (
        "import importlib\ntry:\n    importlib.import_module('wa' + 've')\n"
        "except ModuleNotFoundError as error:\n    tell(error.name)\n"
    )
    assert inside(script) == "wave"


def test_every_time_zone_is_there_once_no_file_opens() -> None:
    """For both of Python's classes, and for pandas, which computes with the one in Python."""
    script = (
        "import datetime, zoneinfo\nimport pandas as pd\nfrom zoneinfo import _zoneinfo\n"
        "summer = pd.Timestamp('2020-07-01', tz='Asia/Tokyo').tz_convert('America/New_York')\n"
        "found = [str(summer)]\n"
        "for kind in zoneinfo.ZoneInfo, _zoneinfo.ZoneInfo:\n"
        "    found.append(str(datetime.datetime(2020, 7, 1, tzinfo=kind('Europe/Zurich'))))\n"
        "    try:\n        kind('No/Where')\n"
        "    except zoneinfo.ZoneInfoNotFoundError:\n        found.append('none')\n"
        "tell(found)\n"
    )
    zurich = "2020-07-01 00:00:00+02:00"
    assert inside(script) == ["2020-06-30 11:00:00-04:00", zurich, "none", zurich, "none"]


def test_reading_the_imports_runs_nothing_of_the_script() -> None:
    script = "import sys\nif len(sys.modules) > 1:\n    import wave\nx = 1 / 0\n"
    load = f"import sys\nfrom sealroom.runtime import loading\nloading.load_for({script!r})\n"
    done = subprocess.run(
        [sys.executable, "-c", load + "print('wave' in sys.modules)"],
        capture_output=True, text=True, timeout=PATIENCE_S, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "True"


@pytest.mark.parametrize("script", ["def f(:\n", "x" * 10 + "(" * 5000, "import wave\0"])
def test_a_script_that_is_no_python_loads_nothing_and_raises_nothing(script: str) -> None:
    load = f"from sealroom.runtime import loading\nloading.load_for({script!r})\n"
    subprocess.run([sys.executable, "-c", load], capture_output=True, timeout=PATIENCE_S, check=True)


RESIDENT = """
import ctypes, mmap, sys
from sealroom.runtime.loading import load_base, read_code
load_base()
pages = read_code()
libc = ctypes.CDLL(None)
there = absent = 0
for line in open("/proc/self/maps"):
    span, rights, _, _, inode, *name = line.split()
    if inode != "0" and rights[0] == "r" and ".so" in name[0]:
        begin, end = (int(each, 16) for each in span.split("-"))
        of = (ctypes.c_ubyte * ((end - begin) // mmap.PAGESIZE))()
        assert libc.mincore(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), of) == 0
        there += sum(each & 1 for each in of)
        absent += sum(not each & 1 for each in of)
print(pages, there, absent)
"""


def test_all_code_that_is_mapped_is_in_memory_before_a_block_begins() -> None:
    """DP-23: which pages of a library are there could be what an earlier block looked at."""
    done = subprocess.run(
        [sys.executable, "-c", RESIDENT], capture_output=True, text=True, timeout=PATIENCE_S, check=True
    )
    pages, there, absent = map(int, done.stdout.split())
    assert pages >= there > 10_000 and absent == 0
