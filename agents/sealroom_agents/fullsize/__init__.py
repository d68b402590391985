# SPDX-License-Identifier: Apache-2.0
"""Runs a study of the checkout on made-up data of its size, and measures it: what `make study` does.

`made_up` helps a study's `cohort.py` to write the owners' files; `whole` seals them and runs what an enclave
runs between the keys and the signature; `plain` computes the answers without privacy; `compare` puts both
beside each other. No chain and no gate takes part.
"""
