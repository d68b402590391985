# SPDX-License-Identifier: Apache-2.0
"""The gate: holds the root key alone, and releases data keys to attested enclaves only.

policy      the decision, pure                     service   what happens at each message
root        the gate's keys and its own proof      sessions  nonces, leases, revocations seen
heartbeats  what the watcher tells                 opening   a run's booking, until it is final
wraps       opening the owners' wraps              refusals  from errors to stable codes
audit       hash-chained log                       http      the same over HTTP
webhook     answers to dstack's KMS                batch     receipts anchored together
command     `sealroom gate`
"""
