# SPDX-License-Identifier: Apache-2.0
"""Mutation tests of the contracts: `make mutate`."""
