# SPDX-License-Identifier: Apache-2.0
"""Writes the descriptors for one deployment: its chain and addresses in place of the placeholder.

python contracts/clear-signing/fill.py deployment.json FOLDER
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")


def filled(descriptor: dict[str, Any], deployment: dict[str, Any]) -> dict[str, Any]:
    """The descriptor, bound to the deployment's contract of that name. The rest stays as it is."""
    name = descriptor["metadata"]["contractName"].lower()
    chain, address = deployment.get("chainId"), deployment.get(name)
    if not isinstance(chain, int) or isinstance(chain, bool) or chain < 1:
        raise ValueError("the deployment has no chainId")
    if not isinstance(address, str) or not ADDRESS.fullmatch(address) or int(address, 16) == 0:
        raise ValueError(f"the deployment has no address of the {name}")
    where = {"deployments": [{"chainId": chain, "address": address}]}
    context = {
        key: {**value, **where} if key in ("contract", "eip712") else value
        for key, value in descriptor["context"].items()
    }
    return {**descriptor, "context": context}


def main(arguments: list[str]) -> int:
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    source, folder = (Path(argument) for argument in arguments)
    if folder.resolve() == HERE.resolve():
        print("name another folder: the placeholders here stay", file=sys.stderr)
        return 2
    try:
        deployment = json.loads(source.read_text())
        made = {
            path.name: filled(json.loads(path.read_text()), deployment)
            for path in sorted(HERE.glob("*.json"))
        }
    except (OSError, ValueError) as error:
        print(f"{source}: {error}", file=sys.stderr)
        return 1
    folder.mkdir(parents=True, exist_ok=True)
    for name, descriptor in made.items():
        (folder / name).write_text(json.dumps(descriptor, indent=2, ensure_ascii=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
