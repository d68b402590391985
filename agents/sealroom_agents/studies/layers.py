# SPDX-License-Identifier: Apache-2.0
"""From a torch module to the list of layers that a recipe has.

The researcher's file runs in a process of its own, without data, with an empty environment and limits of
time and memory, and where Linux lets it, without a network. It is the researcher's own code on the
researcher's own machine: what comes out of it is a list that `sealroom.training.graph` judges as if a person
had written it, and owners read that list alone. Nothing is unpickled, and no weight is taken.

The module is traced for one sample (torch.fx), and every operator that is not in the list is refused by its
name, with what to write instead.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import math
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

from sealroom.codes import Code
from sealroom.errors import FormatError, RecipeError
from sealroom.training.graph import HINTS, Graph

SECONDS = 600
"""To end in, on whatever machine: importing torch alone takes a minute on a busy one."""
CPU_SECONDS = 120
MEMORY_BYTES = 8 * 2**30
ANSWER_BYTES = 64 * 1024
_NEW_USER, _NEW_NETWORK = 0x10000000, 0x40000000
"""Namespaces of Linux."""

_NAMES = {
    "ReLU": "relu", "Tanh": "tanh", "Sigmoid": "sigmoid", "GELU": "gelu", "SiLU": "silu", "relu": "relu",
    "tanh": "tanh", "sigmoid": "sigmoid", "gelu": "gelu", "silu": "silu", "relu_": "relu", "tanh_": "tanh",
    "sigmoid_": "sigmoid",
}  # fmt: skip
_REMEDIES = {
    "Dropout": HINTS["dropout"], "dropout": HINTS["dropout"], "BatchNorm1d": HINTS["batch_norm"],
    "BatchNorm2d": HINTS["batch_norm"], "batch_norm": HINTS["batch_norm"], "Softmax": HINTS["softmax"],
    "softmax": HINTS["softmax"], "LogSoftmax": HINTS["log_softmax"], "log_softmax": HINTS["log_softmax"],
}  # fmt: skip


def layers_of(path: Path) -> list[Any]:
    """The layers of the module that `build()` in this file returns.

    Raises `RecipeError` ("recipe-field") for a file that does not give a module, and for each operator that
    no recipe has.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-m", __name__, str(path.resolve())],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS, env={}, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise _refused(f"{path.name} did not end within {SECONDS} seconds", None) from None
    try:
        answer = json.loads(done.stdout[:ANSWER_BYTES].decode().splitlines()[-1])
        if "refused" in answer:
            raise _refused(str(answer["refused"]), answer["hint"])
        layers, inputs, outputs = answer["layers"], int(answer["inputs"]), int(answer["outputs"])
        takes = [int(each) for each in answer["takes"]]
    except (ValueError, IndexError, KeyError, TypeError, FormatError):
        said = done.stderr[-2000:].decode(errors="replace").strip().splitlines()
        raise _refused(f"{path.name} gave no module: {said[-1] if said else 'it ended'}", _BUILD) from None
    graph = Graph.read(layers, inputs=inputs, outputs=outputs)
    _check_fit(graph, takes)
    return graph.plain()


def _check_fit(graph: Graph, takes: list[int]) -> None:
    """Refuse layers of which one takes another number than it gets: torch finds that only when it computes,
    and a recipe's layer says what it gives alone."""
    for number, (layer, taken) in enumerate(zip(graph.layers, takes, strict=True), 1):
        if taken and taken != layer.before[0]:
            what = "numbers" if layer.name == "linear" else "channels"
            raise _refused(
                f"layer {number}: the module's {layer.name} takes {taken} {what}, and gets {layer.before[0]}",
                f"let it take {layer.before[0]}, or let what comes before it give {taken}",
            )


_BUILD = "write def build(): return torch.nn.Sequential(…)"


def _refused(message: str, hint: str | None) -> RecipeError:
    return RecipeError(Code.RECIPE_FIELD, message, hint)


# --- in the process apart --------------------------------------------------------------------------------


def traced(module: Any) -> dict[str, Any]:
    """The layers of a module, its inputs and its outputs, and what each layer with weights takes, else 0."""
    import torch.fx

    if type(module).__module__.startswith("torch.nn.modules") and not isinstance(module, torch.nn.Sequential):
        module = torch.nn.Sequential(module)  # one layer is not traced into
    steps: list[Any] = []
    before = None
    for node in torch.fx.symbolic_trace(module).graph.nodes:
        if node.op == "placeholder":
            if before is not None:
                raise _refused("the module has more than one input", "let it take one tensor")
        elif node.op == "output":
            if node.args[0] is not before:
                raise _refused("the module gives something else than its last layer", None)
            continue
        else:
            tensors = [each for each in node.all_input_nodes]
            name, step = _step(node, module)
            if tensors != [before]:
                raise _refused(
                    f"{name} takes something else than what the layer before it gives",
                    "layers follow each other: no branches, no sums of branches",
                )
            steps.extend(step)
        before = node
    inputs, outputs = _ends(steps)
    takes = [taken if isinstance(each, dict) and "unflatten" not in each else 0 for each, taken, _ in steps]
    return {"layers": [each for each, _, _ in steps], "inputs": inputs, "outputs": outputs, "takes": takes}


def _ends(steps: list[Any]) -> tuple[int, int]:
    known = [(before, after) for _, before, after in steps if after]
    if not known:
        raise _refused("the module has no linear layer", None)
    return known[0][0], known[-1][1]


def _step(node: Any, module: Any) -> tuple[str, list[Any]]:
    """Its name, and the layer that it is, with its inputs and outputs if it says them."""
    if node.op == "call_module":
        called = module.get_submodule(node.target)
        name = type(called).__name__
        return name, _of_module(name, called)
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
    plain = len(node.args) == 1 and not {
        key for key, value in node.kwargs.items() if key != "inplace" and value
    }
    if name in _NAMES and plain:
        return name, [(_NAMES[name], 0, 0)]
    if name == "flatten" and (node.args[1:] or tuple(node.kwargs.values())) == (1,):
        return name, [("flatten", 0, 0)]
    raise _unknown(name)


def _of_module(name: str, called: Any) -> list[Any]:
    if name == "Identity":
        return []
    if name in _NAMES and getattr(called, "approximate", "none") == "none":
        return [(_NAMES[name], 0, 0)]
    if name == "Linear" and called.bias is not None:
        return [({"linear": called.out_features}, called.in_features, called.out_features)]
    if name == "Flatten" and (called.start_dim, called.end_dim) == (1, -1):
        return [("flatten", 0, 0)]
    if name == "Unflatten" and called.dim == 1 and len(called.unflattened_size) == 3:
        sizes = [int(each) for each in called.unflattened_size]
        return [({"unflatten": sizes}, math.prod(sizes), math.prod(sizes))]
    if name == "Conv2d":
        return [(_conv2d(called), called.in_channels, 0)]
    if name in ("AvgPool2d", "MaxPool2d"):
        kernel, stride = _one(called.kernel_size), _one(called.stride or called.kernel_size)
        usual = kernel == stride and _one(called.padding) == 0 and not called.ceil_mode
        if (
            usual
            and _one(getattr(called, "dilation", 1)) == 1
            and getattr(called, "divisor_override", None) is None
        ):
            return [({"avg_pool2d" if name == "AvgPool2d" else "max_pool2d": kernel}, 0, 0)]
    raise _unknown(name)


def _conv2d(called: Any) -> Any:
    usual = called.groups == 1 and _one(called.dilation) == 1 and called.bias is not None
    if not usual or called.padding_mode != "zeros" or isinstance(called.padding, str):
        raise _unknown("Conv2d")
    return {
        "conv2d": {
            "channels": called.out_channels, "kernel": _one(called.kernel_size),
            "padding": _one(called.padding), "stride": _one(called.stride),
        }
    }  # fmt: skip


def _one(value: Any) -> int:
    """The same number in both directions, or a refusal."""
    pair = value if isinstance(value, tuple) else (value, value)
    if len(set(pair)) != 1:
        raise _refused("a layer has one size by height and another by width", "write squares")
    return int(pair[0])


def _unknown(name: str) -> RecipeError:
    remedy = _REMEDIES.get(name, "write layers of the list, with the options that torch has by default")
    return _refused(f"the operator {name}, as it is written, is none that a recipe has", remedy)


def _main(path: str) -> None:
    import importlib.util

    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).unshare(_NEW_USER | _NEW_NETWORK)
    import torch  # only now: a process of several threads gets no namespace

    spec = importlib.util.spec_from_file_location("model", path)
    if spec is None or spec.loader is None:
        raise _refused("it is no file of Python", "name it model.py")
    file = importlib.util.module_from_spec(spec)
    with contextlib.redirect_stdout(sys.stderr):
        spec.loader.exec_module(file)
        if not callable(getattr(file, "build", None)):
            raise _refused("the file has no function build", _BUILD)
        module = file.build()
        if not isinstance(module, torch.nn.Module):
            raise _refused("build() returns no torch.nn.Module", _BUILD)
        answer = traced(module)
    print(json.dumps(answer))


if __name__ == "__main__":
    try:
        _main(sys.argv[1])
    except RecipeError as error:
        print(json.dumps({"refused": error.message, "hint": error.hint}))
