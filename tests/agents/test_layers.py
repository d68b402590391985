# SPDX-License-Identifier: Apache-2.0
"""A torch module becomes the layers of a study, or is refused by the name of the operator."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest
from tests.agents.shell import shell
from torch import nn

from sealroom.errors import RecipeError
from sealroom_agents.studies.layers import layers_of, traced

IMAGES = """
import torch
from torch import nn
from torch.nn import functional


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.shape = nn.Unflatten(1, (1, 8, 8))
        self.conv = nn.Conv2d(1, 6, 3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.last = nn.Linear(96, 3)

    def forward(self, x):
        x = self.pool(functional.relu(self.conv(self.shape(x))))
        return self.last(torch.flatten(x, 1).tanh())


def build():
    print("a word on stdout is no answer")
    return Net()
"""


def test_a_module_of_ones_own_becomes_the_list(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(IMAGES)
    done = shell("sealroom layers model.py 2>/dev/null", tmp_path)
    assert done.returncode == 0
    assert done.stdout.strip() == (
        'layers: [{"unflatten": [1, 8, 8]}, '
        '{"conv2d": {"channels": 6, "kernel": 3, "padding": 1, "stride": 1}}, '
        '"relu", {"max_pool2d": 2}, "flatten", "tanh", {"linear": 3}]'
    )


def test_layers_of_torch_become_ours() -> None:
    whole = nn.Sequential(
        nn.Linear(4, 8), nn.GELU(), nn.Identity(), nn.Sequential(nn.Linear(8, 8), nn.SiLU()), nn.Linear(8, 1)
    )
    assert traced(whole) == {
        "layers": [{"linear": 8}, "gelu", {"linear": 8}, "silu", {"linear": 1}], "inputs": 4, "outputs": 1,
        "takes": [4, 0, 8, 0, 8],
    }  # fmt: skip


class Skipping(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(4, 4)

    def forward(self, x):  # type: ignore[no-untyped-def]
        return self.one(x) + x


@pytest.mark.parametrize(
    ("module", "says"),
    [
        (nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.Linear(4, 1)), "Dropout"),
        (nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)), "BatchNorm1d"),
        (nn.Sequential(nn.Linear(4, 2), nn.Softmax(1)), "Softmax"),
        (nn.Sequential(nn.Linear(4, 4), nn.GELU(approximate="tanh"), nn.Linear(4, 1)), "GELU"),
        (nn.Sequential(nn.Linear(4, 1, bias=False)), "Linear"),
        (nn.Sequential(nn.Conv2d(1, 1, 2, groups=1, dilation=2), nn.Flatten(), nn.Linear(4, 1)), "Conv2d"),
        (nn.Sequential(nn.LSTM(4, 4)), "LSTM"),
        (Skipping(), "add"),
        (nn.Sequential(nn.ReLU()), "no linear layer"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_an_operator_that_no_recipe_has_is_refused_by_its_name(module: nn.Module, says: str) -> None:
    with pytest.raises(RecipeError, match=says) as caught:
        traced(module)
    assert caught.value.code == "recipe-field"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x = 1", "the file has no function build"),
        ("def build(): return 1", "returns no torch.nn.Module"),
        ("import torch\ndef build(): return torch.nn.Linear(4000, 1)", "more than 2047"),
        ("raise SystemExit(3)", "gave no module"),
        (
            "from torch import nn\n"
            "def build(): return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(5, 1))",
            "layer 3: the module's linear takes 5 numbers, and gets 8",
        ),
        (
            "from torch import nn\n"
            "def build(): return nn.Sequential(nn.Unflatten(1, (1, 4, 4)), nn.Conv2d(3, 2, 3), nn.Flatten(),"
            " nn.Linear(8, 1))",
            "layer 2: the module's conv2d takes 3 channels, and gets 1",
        ),
    ],
)
def test_a_file_that_gives_no_module_is_refused(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(text)
    with pytest.raises(RecipeError, match=says):
        layers_of(tmp_path / "model.py")


def test_the_file_reaches_no_network_where_the_kernel_allows_that(tmp_path: Path) -> None:
    """A namespace of its own has no way even to this machine's other ports."""
    if subprocess.run(["unshare", "--user", "--net", "true"], capture_output=True, check=False).returncode:
        pytest.skip("no namespaces here")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        (tmp_path / "model.py").write_text(
            "import socket, torch\n"
            "def build():\n"
            "    one = socket.socket()\n"
            f"    failed = one.connect_ex({listening.getsockname()!r})\n"
            "    return torch.nn.Linear(1, 7 if failed else 1)\n"
        )
        assert layers_of(tmp_path / "model.py") == [{"linear": 7}]
