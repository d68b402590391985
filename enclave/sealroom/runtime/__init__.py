# SPDX-License-Identifier: Apache-2.0
"""One run inside the enclave: two processes, and what stands between them.

`run` is the order of things; `guest_agent` and `gate_client` reach the guest agent and the gate;
`datasets` holds what was released, under the `lease`. `custodian` answers the analysis, which `sandbox` and
`seccomp` confine; `job` is what runs inside, `channel` the one socket between the two. `recipe.result` checks
what may leave.
"""
