# SPDX-License-Identifier: Apache-2.0
"""What a statement says of the noise. It follows from the recipe alone: the enclave states it, and a verifier
computes it again."""

from __future__ import annotations

from sealroom.envelope.statement import StatementMechanism
from sealroom.recipe.contract import OutputContract


def mechanisms(output: OutputContract, *, rows: int = 1) -> tuple[StatementMechanism, ...]:
    """The noise on each part of each field, for people of at most so many rows."""
    stated = []
    for field in output.fields:
        noise = field.noise(rows)
        for name, part in field.parts(rows).items():
            stated.append(
                StatementMechanism(
                    field=field.name,
                    kind=field.kind.name,
                    part=name,
                    law=field.cost.law,
                    scale=repr(float(noise[name].scale)),
                    grid_bits=noise[name].bits,
                    length=part.length,
                    draws=part.draws,
                    rate=part.rate,
                    l1=part.l1,
                    l2_squared=part.l2_squared,
                    cost=field.cost.amount,
                    share=str(part.share),
                )
            )
    return tuple(stated)
