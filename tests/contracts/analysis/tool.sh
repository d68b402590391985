# SPDX-License-Identifier: Apache-2.0
# Read by `prove` and `slither`. Each tool has a Python environment of its own: its pins and Ape's do not meet.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)
export PATH=$root/.venv/bin:$PATH PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1

tool() { # name, version; prints the folder of its commands
  local home=$root/.build/$1-$2
  if [[ ! -f $home/ready ]]; then
    rm -rf "$home"
    printf 'installing %s %s\n' "$1" "$2" >&2
    "$root/.venv/bin/python" -m venv "$home" >&2
    "$home/bin/pip" install -qq "$1==$2" >&2
    touch "$home/ready"
  fi
  printf '%s/bin\n' "$home"
}
