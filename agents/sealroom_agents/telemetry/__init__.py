# SPDX-License-Identifier: Apache-2.0
"""What operators see of a process, and what goes on beside it: logs, metrics, conditions, periodic work."""
