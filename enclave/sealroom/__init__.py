# SPDX-License-Identifier: Apache-2.0
"""What a recipe's analysis imports, and everything else that is measured or runs on owners' machines.

An analysis is a short script inside a recipe. All owners read it before they approve it, and an attested
enclave then runs exactly those bytes, in a process without network, without files to write and without
keys::

    import pandas as pd

    from sealroom import emit_signed, private, unwrap

    people = pd.concat([unwrap("hospital-A/cohort-A.tar"), unwrap("hospital-B/cohort-B.tar")])
    people["male"] = people.sex == "M"

    table = private(people)
    counts = table.count("people")
    model = table.logistic("risk_of_death")

    emit_signed(counts.summary() | model.summary())

``unwrap(path)``
    A sealed dataset that the recipe declares, as a pandas DataFrame with the declared columns, decrypted in
    memory. Dtypes follow from the declared types, never from what is in a column: int64 is ``Int64``, bool
    ``boolean`` (missing is ``NA`` in both), float64 ``float64`` and string ``str`` (missing is NaN, and
    equal to nothing).

``private(table)``
    The table to release from: one row a person, named by the column that the recipe calls the privacy unit.
    Of several rows the first is kept; a row without a person, or of an id that no unwrapped table has,
    counts nowhere. A missing number leaves its
    row out of a mean or a model; a label that is missing or not declared leaves it out of every group. The
    label of a whole number is its digits, that of a truth value ``true`` or ``false``.

    It has ``count(field)``, ``mean(field)`` and ``logistic(field)``; each takes the name of a field which the
    recipe's output contract declares, and finds everything else there: columns, groups, bounds, ε. The noise
    is drawn outside of this process, by the custodian, and never twice for one field. What comes back may be
    looked at freely: it is private already. ``.summary()`` gives it as ``{field: value}``.

``emit_signed(fields)``
    The one way out, once: all declared fields, each with exactly the value that was released. It is signed
    there.

``emit_block(numbers)``
    Instead of the two above in a study whose guarantee is ``by-blocks``. The script runs once for each block
    of people, each time by itself; ``unwrap`` gives the rows of that block's people, and ``emit_block`` takes
    one number for each declared field; ``emit_signed`` does the same there. The result has the mean over the
    blocks, with noise.

Make each new column from its own row alone. The guarantee is per row handed over; a script that lets one
person's data change another person's row breaks it, and owners must not approve such a script. Sort with
``kind="stable"``, so that others do not decide the order of a person's rows; fill what is missing before
``astype(int)`` or ``numpy.where``, which raise on ``NA`` and would let one missing value end the run.

Owners at home, and tools, open a dataset with its data key::

    with sealroom.open_sealed(path, dek=..., header_digest=..., index_digest=..., key_commitment=...) as file:
        file.read(100); file.schema; file.to_arrow(["age"]); file.scan(); file.to_duckdb()

A request that breaks a rule raises an error with a stable `code` and ends the run. No text that a script
prints or raises leaves the enclave.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sealroom.runtime.job import emit_block, emit_signed, private, unwrap
    from sealroom.sealed import open_sealed

__all__ = ["emit_block", "emit_signed", "open_sealed", "private", "unwrap"]
__version__ = "0.5.0"


def __getattr__(name: str) -> Any:
    # Late, so that `import sealroom` stays light for owners who only seal and verify.
    if name == "open_sealed":
        from sealroom import sealed

        return sealed.open_sealed
    if name in __all__:
        from sealroom.runtime import job

        return getattr(job, name)
    raise AttributeError(f"module 'sealroom' has no attribute {name!r}")
