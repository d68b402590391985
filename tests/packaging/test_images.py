# SPDX-License-Identifier: Apache-2.0
"""The Dockerfiles keep what makes an image the same twice, and a builder, where one is, makes it so."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest

from sealroom_agents.oci_image import read_image
from tests.packaging.test_dependencies import ROOT

DOCKERFILES = [ROOT / "enclave/Dockerfile", ROOT / "agents/deploy/Dockerfile"]
NUMBERS = re.compile(r"\d+:\d+")
ZEROS = "0" * 64


def steps(path: Path) -> Iterator[tuple[str, str]]:
    """Each instruction with its argument, over continued lines and without comments."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    for step in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        if step.strip():
            word, _, rest = step.partition(" ")
            yield word, rest.strip()


@pytest.mark.parametrize("path", DOCKERFILES, ids=["enclave", "agents"])
def test_a_dockerfile_takes_nothing_that_may_be_another_thing_tomorrow(path: Path) -> None:
    found = list(steps(path))
    assert re.search(r"^# *(syntax|escape) *=", path.read_text(), re.M) is None  # a frontend by its tag
    assert [rest for word, rest in found if word == "FROM"] == ["scratch AS wheels", "${BASE}"]
    (base,) = (rest for word, rest in found if word == "ARG" and rest.startswith("BASE="))
    assert re.fullmatch(r"BASE=[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}", base) and ZEROS not in base
    assert {word for word, _ in found} <= {
        "ARG", "FROM", "COPY", "RUN", "USER", "WORKDIR", "ENTRYPOINT"
    }  # fmt: skip
    for word, rest in found:
        if word == "COPY":
            assert re.fullmatch(r"(enclave|agents)/\S+ /opt/\S+", rest), rest
    ran = " ".join(rest for word, rest in found if word == "RUN")
    assert not re.search(r"\b(apt|apt-get|curl|wget|git|useradd|adduser|date)\b|https?:", ran)
    (install,) = re.findall(r"pip install (.*?) && ", ran)
    assert set(install.split()) == {
        "--no-cache-dir", "--no-compile", "--require-hashes", "--no-deps", "--only-binary", ":all:",
        "-r", "/opt/requirements.lock",
    }  # fmt: skip
    assert len(re.findall(r"\bpython -B -m pip ", ran)) == ran.count("-m pip ") == 2
    assert ("ARG", "SOURCE_DATE_EPOCH=0") in found


@pytest.mark.parametrize("path", DOCKERFILES, ids=["enclave", "agents"])
def test_an_image_says_by_number_who_it_runs_as(path: Path) -> None:
    """Only the custodian is root, since the guest agent's socket is; a recipe leaves it no capability."""
    (user,) = (rest for word, rest in steps(path) if word == "USER")
    assert NUMBERS.fullmatch(user)
    assert (user == "0:0") == (path == ROOT / "enclave/Dockerfile")
    (entry,) = (json.loads(rest) for word, rest in steps(path) if word == "ENTRYPOINT")
    assert entry[:4] == ["python", "-I", "-B", "-m"]


def test_nothing_that_people_start_from_names_a_digest_of_zeros() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "agents", "docs", "enclave", "README.md", "scripts"],
        cwd=ROOT, capture_output=True, check=True, text=True,
    ).stdout.split("\0")  # fmt: skip
    found = [
        name
        for name in listed
        if name.endswith((".md", ".yaml", ".yml", ".py", ".json", ".toml"))
        and (ROOT / name).is_file()
        and re.search(rf"sha256:{ZEROS}", (ROOT / name).read_text())
    ]
    assert found == []


def script() -> ModuleType:
    """`.ci/images` as a module."""
    loader = SourceFileLoader("ci_images", str(ROOT / ".ci" / "images"))
    spec = importlib.util.spec_from_loader("ci_images", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["ci_images"] = module
    loader.exec_module(module)
    return module


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, which works in a folder of its own."""
    found = script()
    monkeypatch.setattr(found, "OUT", tmp_path / "images")
    monkeypatch.setattr(found, "CONTEXT", tmp_path / "images" / "context")
    return found


def test_an_image_holds_what_git_has_with_its_modes_whatever_the_umask(images: ModuleType) -> None:
    seen = []
    for mask in (0o022, 0o077):
        before = os.umask(mask)
        try:
            images.fill_context()
        finally:
            os.umask(before)
        seen.append(
            {
                str(path.relative_to(images.CONTEXT)): oct(path.stat().st_mode)
                for path in images.CONTEXT.rglob("*")
            }
        )
    assert seen[0] == seen[1]
    files = {name for name in seen[0] if (images.CONTEXT / name).is_file()}
    assert {"enclave/Dockerfile", "enclave/sealroom/__main__.py", f"{images.BUILT}/manifest.json"} <= files
    assert not [name for name in files if name.endswith((".pyc", "release.json", ".key", ".token", ".db"))]
    for dockerfile in DOCKERFILES:
        for word, rest in steps(dockerfile):
            if word == "COPY":
                assert (images.CONTEXT / rest.split()[0]).exists()


@pytest.mark.parametrize("name", ["enclave", "agents"])
def test_a_bill_of_materials_names_the_image_below_and_each_package(name: str) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / ".ci/sbom", name], capture_output=True, check=True, text=True
    )
    told = json.loads(done.stdout)
    below, *packages = told["components"]
    folder = {"enclave": "enclave", "agents": "agents/deploy"}[name]
    assert below["type"] == "container"
    assert f"@sha256:{below['hashes'][0]['content']}" in (ROOT / folder / "Dockerfile").read_text()
    locked = re.findall(r"^([\w.-]+)==", (ROOT / folder / "requirements.lock").read_text(), re.M)
    assert sorted(each["name"] for each in packages) == sorted(locked)
    assert all(each["externalReferences"][0]["hashes"] for each in packages)


BUILDAH = pytest.mark.skipif(
    shutil.which("buildah") is None or os.geteuid() != 0,
    reason="buildah is not installed, or this is not root",
)


def base_folder(folder: Path) -> None:
    """A root with this Python, pip, a shell and `install`: what the Dockerfiles ask of their base."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    library = Path(sysconfig.get_paths()["stdlib"])
    target = folder / "usr/local/lib/python3.11"
    shutil.copytree(
        library, target, symlinks=True,
        ignore=shutil.ignore_patterns("site-packages", "__pycache__", "test", "tests", "idlelib", "*.a"),
    )  # fmt: skip
    (target / "site-packages").mkdir()
    (wheel,) = (library / "ensurepip" / "_bundled").glob("pip-*.whl")
    with zipfile.ZipFile(wheel) as bundle:
        bundle.extractall(target / "site-packages")
    programs = {
        "usr/local/bin/python": Path(sys.base_prefix) / "bin" / version,
        "bin/sh": Path("/bin/sh").resolve(),
        "bin/install": Path(shutil.which("install") or ""),
    }
    objects = [*programs.values(), *target.rglob("*.so")]
    told = subprocess.run(["ldd", *objects], capture_output=True, text=True).stdout
    for library in {Path(found) for found in re.findall(r"(/\S+) \(0x", told)}:
        # Python's own lies beside it; the others where the loader looks.
        inside = folder / str(library).removeprefix("/")
        if str(library).startswith(sys.base_prefix):
            inside = folder / "usr/lib" / library.name
        inside.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(library.resolve(), inside)
    for name, program in programs.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(program, folder / name)
    for name in ("tmp", "etc", "proc", "sys", "dev", "run"):
        (folder / name).mkdir(exist_ok=True)
    (folder / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\n")
    (folder / "etc/group").write_text("root:x:0:\n")


def tiny_wheel(folder: Path) -> str:
    """A wheel of one module, with a program; returns its line of a lock."""
    files = {
        "tiny.py": b"def main():\n    print('tiny')\n",
        "tiny-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n",
        "tiny-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "tiny-1.0.dist-info/entry_points.txt": b"[console_scripts]\ntiny = tiny:main\n",
    }
    rows = [
        f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip('=')},"
        f"{len(data)}"
        for name, data in files.items()
    ]
    record = "tiny-1.0.dist-info/RECORD"
    files[record] = "\n".join([*rows, f"{record},,", ""]).encode()
    folder.mkdir(parents=True)
    wheel = folder / "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as bundle:
        for name, data in files.items():
            bundle.writestr(name, data)
    return f"tiny==1.0 --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"


@BUILDAH
@pytest.mark.slow
@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the image has Python 3.11")
@pytest.mark.parametrize("name", ["enclave", "agents"])
def test_an_image_is_built_to_one_digest_twice_and_starts_as_its_user(
    name: str, images: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Our files and the steps of our Dockerfile, upon a base with this Python and with one small wheel."""
    store = tmp_path / "storage.conf"
    store.write_text(
        f'[storage]\ndriver = "vfs"\ngraphroot = "{tmp_path}/graph"\nrunroot = "{tmp_path}/run"\n'
    )
    monkeypatch.setenv("CONTAINERS_STORAGE_CONF", str(store))
    monkeypatch.delenv("STORAGE_DRIVER", raising=False)
    below = tmp_path / "below"
    base_folder(below / "root")
    (below / "Dockerfile").write_text(
        "FROM scratch\nCOPY root /\nENV PATH=/usr/local/bin:/bin LANG=C.UTF-8\n"
    )
    subprocess.run(
        ["buildah", "bud", "--quiet", "--timestamp", "1", "--tag", "localhost/below:1", below],
        check=True, capture_output=True, timeout=900,
    )  # fmt: skip
    line = tiny_wheel(images.OUT / "wheels" / name)
    builder, built = images.builder("buildah", "chroot"), []
    for n in range(2):
        images.fill_context()
        lock = images.CONTEXT / images.FOLDERS[name] / "requirements.lock"
        lock.write_text(line)
        for path in images.CONTEXT.rglob("*"):
            os.utime(path, (n * 86_400, n * 86_400))
        builder.build(name, "localhost/below:1", 1_790_000_000, tmp_path / f"{name}-{n}")
        built.append(read_image(tmp_path / f"{name}-{n}"))
    assert built[0] == built[1]
    assert built[0].user == ("0:0" if name == "enclave" else "10001:10001")
    assert built[0].created == "2026-09-21T14:13:20Z"
    assert built[0].platform == "linux/amd64"

    manifest = json.loads((tmp_path / f"{name}-0/blobs/sha256" / built[0].digest[7:]).read_bytes())
    layer = tmp_path / f"{name}-0/blobs/sha256" / manifest["layers"][-1]["digest"][7:]
    listed = subprocess.run(
        ["tar", "--list", "--verbose", "--numeric-owner", "--utc", "--full-time", "-zf", layer],
        check=True, capture_output=True, text=True,
    ).stdout.splitlines()  # fmt: skip
    assert {line.split()[3] for line in listed} == {"2026-09-21"}
    names = {line.split()[5] for line in listed}
    packages = "usr/local/lib/python3.11/site-packages"
    assert f"{packages}/tiny.py" in names and f"{packages}/.wh.pip" in names
    assert "opt/sealroom/sealroom/__main__.py" in names
    assert not [each for each in names if each.endswith(".pyc") or "requirements.txt" in each]
    assert not [each for each in names if each.startswith(("tmp/", "root/", "var/", "wheels/"))]
