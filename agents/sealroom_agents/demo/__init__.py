# SPDX-License-Identifier: Apache-2.0
"""One study from sealing to revocation on this machine: what `make demo` runs.

`story` tells it, in a room that `sealroom_agents.local` sets up as for anybody else; `stage` is what it
takes place on, `commands` runs commands there, `screen` prints.
The demo has no privilege of its own: it drives the same commands, scripts, desk and REST calls that owners,
researchers and operators use.
"""
