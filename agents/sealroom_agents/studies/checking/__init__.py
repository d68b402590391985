# SPDX-License-Identifier: Apache-2.0
"""What `sealroom study check` looks at, one module a part of a study."""
