# SPDX-License-Identifier: Apache-2.0
"""What an operator does to the database that runner, watcher and console share."""
