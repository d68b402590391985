# SPDX-License-Identifier: Apache-2.0
"""One study from sealing to revocation on this machine: what `make demo` runs.

`story` tells it, `room` sets it up, `owners` act in it, `stack` keeps its processes, `screen` prints.
The demo has no privilege of its own: it drives the same commands, scripts and REST calls that owners,
researchers and operators use.
"""
