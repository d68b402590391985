# SPDX-License-Identifier: Apache-2.0
"""The watcher: follows the chain's state, ends the runs of what was revoked, and keeps the gate awake."""
