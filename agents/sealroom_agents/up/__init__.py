# SPDX-License-Identifier: Apache-2.0
"""`sealroom up`: the processes of a `sealroom.toml`, under one supervisor.

* `plan`: which processes the file asks for, in the order in which they start.
* `children`: starts, watches, restarts and drains them.
* `report`: one log of all of them, for people or as JSON.
"""
