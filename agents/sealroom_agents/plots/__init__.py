# SPDX-License-Identifier: Apache-2.0
"""Pictures of a result, with the interval of every number: `chart` says what is drawn, `svg` draws it."""
