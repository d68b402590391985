# SPDX-License-Identifier: Apache-2.0
"""Made-up deliveries to eight makers: 12 million of 90,000 suppliers, of whom a third serves several makers.

Deliveries a supplier are heavy-tailed; lead times lognormal by trade and region; lateness, rejects and size
of a supplier hang together; one delivery in 40 is still under way, and trade or region are missing at times::

    python enclave/studies/supply-chain-risk/cohort.py --out files/ --scale 0.01
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from sealroom_agents.fullsize.made_up import (
    PIECE,
    Integers,
    Size,
    column,
    happens,
    main,
    normal,
    one_of,
)

PEOPLE = 90_000
DELIVERIES = 12_000_000
MAKERS = {
    f"maker-{letter}": share for letter, share in zip("ABCDEFGH", (18, 11, 16, 12, 9, 15, 11, 8), strict=True)
}
TRADES = {
    "castings": 14,
    "electronics": 24,
    "chemicals": 13,
    "textiles": 11,
    "packaging": 20,
    "machining": 18,
}
LEAD = {"castings": 45, "electronics": 70, "chemicals": 21, "textiles": 35, "packaging": 12, "machining": 28}
"""Usual days from order to delivery."""
REGIONS = {"americas": 31, "europe": 36, "asia": 33}
FAR = {"americas": 1.0, "europe": 1.05, "asia": 1.35}
START = int(np.datetime64("2025-01-01").astype(int))


def is_of(suppliers: Integers, maker: str) -> np.ndarray:
    """Who delivers to this maker: everybody to a first one, some to further ones, a few to nearly all."""
    here = one_of(suppliers, "first maker", MAKERS) == maker
    for number, share in ((2, 0.3), (3, 0.12)):
        here |= happens(suppliers, f"more {number}", share) & (
            one_of(suppliers, f"maker {number}", MAKERS) == maker
        )
    return here | (happens(suppliers, "hub", 0.02) & happens(suppliers, f"hub {maker}", 0.8))


def deliveries(maker: str, size: Size) -> Iterator[pa.Table]:
    suppliers = np.concatenate([every[is_of(every, maker)] for every in size.people(PEOPLE)])
    names = np.array([f"5299{number:014d}" for number in suppliers.tolist()])
    trade, region = one_of(suppliers, "trade", TRADES), one_of(suppliers, "region", REGIONS)
    usual = np.select([trade == name for name in LEAD], list(LEAD.values()))
    lead = usual * np.select([region == name for name in FAR], list(FAR.values()))
    care = normal(suppliers, "care")
    rejects = np.exp(-7.6 - 0.8 * care + 0.9 * normal(suppliers, "rejects"))
    ends = np.cumsum(np.exp(1.1 * normal(suppliers, f"busy {maker}") + 0.2 * care))
    total = size.of(DELIVERIES * MAKERS[maker] // 100)
    for number, first in enumerate(range(0, total, PIECE)):
        rows = min(PIECE, total - first)
        dice = np.random.Generator(np.random.PCG64([size.seed, zlib.crc32(maker.encode()), number]))
        who = np.minimum(np.searchsorted(ends, dice.random(rows) * ends[-1]), len(suppliers) - 1)
        ordered = START + ((first + np.arange(rows)) * (365 / total)).astype(np.int64)
        due = ordered + np.maximum(1, np.round(lead[who])).astype(np.int64)
        late = np.where(
            dice.random(rows) < 0.22 - 0.06 * care[who], np.exp(1.2 + dice.standard_normal(rows)), 0
        )
        early = np.round(2 * dice.random(rows))
        delivered = due + np.round(late - early * (late == 0)).astype(np.int64)
        quantity = np.clip(np.exp(4.5 + 1.4 * dice.standard_normal(rows)), 1, 1e6).astype(np.int64)
        rejected = np.minimum(dice.poisson(np.minimum(quantity * rejects[who], 1e5)), quantity)
        price = np.exp(1.5 + 0.6 * dice.standard_normal(rows))
        chance = dice.random(rows)
        yield pa.table(
            {
                "supplier": pa.array(names[who]),
                "ordered": _day(ordered),
                "due": _day(due),
                "delivered": _day(delivered, chance < 0.025),
                "trade": column(trade[who], pa.string(), (chance > 0.5) & (chance < 0.515)),
                "region": column(region[who], pa.string(), (chance > 0.6) & (chance < 0.61)),
                "quantity": column(quantity, pa.int32()),
                "rejected": column(rejected, pa.int32(), (chance > 0.7) & (chance < 0.72)),
                "value": column(np.clip(quantity * price, 1, 1e8), pa.decimal128(14, 2)),
            }
        )


def _day(days: Integers, unknown: np.ndarray | None = None) -> pa.Array:
    return column(days.astype("int32"), pa.int32(), unknown).cast(pa.date32())


DATASETS = {f"{maker}/deliveries": (lambda size, maker=maker: deliveries(maker, size)) for maker in MAKERS}

if __name__ == "__main__":
    main(DATASETS, "Write the deliveries to eight makers.")
