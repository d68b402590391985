# SPDX-License-Identifier: Apache-2.0
"""The runner: takes runs, starts enclaves through a backend, anchors receipts, publishes envelopes.

It decides nothing. The gate decides who gets keys, the ledger decides whose receipt counts.
"""
