# SPDX-License-Identifier: Apache-2.0
"""`sealroom doctor`: what is wrong, or soon will be, and what to do.

* `findings`: one thing that was looked at, and how it is.
* `nodes`: each RPC endpoint, and whether they agree.
* `gates`: gate, watcher and console as they tell of themselves, and what owners adopted.
* `machine`: files, disk, database, versions.
* `command`: all of them.

It reads, and changes nothing.
"""
