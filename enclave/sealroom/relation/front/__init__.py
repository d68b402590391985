# SPDX-License-Identifier: Apache-2.0
"""The front end: DuckDB's own parser gives a query's tree; this walks it and asks the calculus for rules.

It is trusted with nothing. It makes no term, no relation and no SQL; what it misreads changes the answer,
never the guarantee. `queries` reads SELECT, `sources` FROM, `expressions` what stands in both; all of them
read nodes by `nodes`.
"""

from sealroom.relation.front.names import as_written
from sealroom.relation.front.nodes import Node, plain_tree
from sealroom.relation.front.queries import Front, Result

__all__ = ["Front", "Node", "Result", "as_written", "plain_tree"]
