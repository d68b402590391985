# SPDX-License-Identifier: Apache-2.0
"""Made-up transactions of six banks: 78 million of 1.6 million customers, many of them at several banks.

How much a customer does, and amounts, are lognormal; rows lie in the order of time, as banks keep them. One
customer in 150 launders: by cash deposits just below 10,000 at several banks, by passing on within days what
came in, or by sending it offshore and to crypto exchanges. Three in five of them were reported and confirmed,
and some others reported without a finding. Country and channel are missing at times::

    python enclave/studies/cross-bank-fraud/cohort.py --out files/ --scale 0.01
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from sealroom_agents.fullsize.made_up import (
    PIECE,
    Floats,
    Integers,
    Size,
    column,
    happens,
    main,
    normal,
    one_of,
    uniform,
)

PEOPLE = 1_600_000
TRANSACTIONS = 78_000_000
BANKS = {"bank-A": 24, "bank-B": 18, "bank-C": 19, "bank-D": 12, "bank-E": 15, "bank-F": 12}
LAUNDERING = 1 / 150
CHANNELS = np.array(["card", "transfer", "cash", "wire", "crypto"])
COUNTRIES = np.array(["home", "near", "far", "offshore"])
START = int(np.datetime64("2025-01-01", "us").astype(np.int64))
YEAR = 365 * 86_400_000_000


def is_at(customers: Integers, bank: str) -> np.ndarray:
    """Who banks here: everybody has a first bank, a fifth a second one, and most launderers several."""
    here = one_of(customers, "first bank", BANKS) == bank
    more = np.where(laundering(customers) > 0, 0.6, 0.26)
    for number in (2, 3):
        here |= happens(customers, f"more {number}", more ** (number - 1)) & (
            one_of(customers, f"bank {number}", BANKS) == bank
        )
    return here


def laundering(customers: Integers) -> Integers:
    """How a customer launders: 0 not at all, 1 by deposits below the limit, 2 by passing on, 3 offshore."""
    how = 1 + (3 * uniform(customers, "how")).astype(np.int64)
    return np.where(happens(customers, "launders", LAUNDERING), np.minimum(how, 3), 0)


def weight(customers: Integers) -> Floats:
    """How much a customer does, in proportion."""
    return np.exp(0.7 * normal(customers, "busy"))


def transactions(bank: str, size: Size) -> Iterator[pa.Table]:
    customers = np.concatenate([every[is_at(every, bank)] for every in size.people(PEOPLE)])
    how, wealth = laundering(customers), np.exp(0.8 * normal(customers, "wealth"))
    boldness = 0.3 * uniform(customers, "boldness") ** 1.5  # the share of transactions that launders
    new_payees = np.clip(0.1 * np.exp(0.7 * normal(customers, "payees")), 0, 0.8)
    abroad = np.clip(0.01 * np.exp(1.3 * normal(customers, "abroad")), 0, 0.9)
    ends = np.cumsum(weight(customers))
    total = size.of(TRANSACTIONS * BANKS[bank] // 100)
    for number, first in enumerate(range(0, total, PIECE)):
        rows = min(PIECE, total - first)
        dice = np.random.Generator(np.random.PCG64([size.seed, zlib.crc32(bank.encode()), number]))
        who = np.searchsorted(ends, dice.random(rows, dtype=np.float32).astype(np.float64) * ends[-1])
        who = np.minimum(who, len(customers) - 1)
        kind, chance = how[who], dice.random(rows, dtype=np.float32)
        suspicious = (kind > 0) & (dice.random(rows, dtype=np.float32) < boldness[who])
        amount = wealth[who] * np.exp(3.6 + 1.5 * dice.standard_normal(rows, dtype=np.float32))
        incoming = dice.random(rows, dtype=np.float32) < 0.12
        amount = np.where(incoming, amount * 9, amount)
        channel = np.searchsorted([0.62, 0.86, 0.95, 0.985], chance)
        country = np.searchsorted([0.9, 0.965, 0.993], 1 - (1 - chance[::-1]) * (1 - abroad[who]))
        new = dice.random(rows, dtype=np.float32) < new_payees[who]
        deposits = suspicious & (kind == 1)
        channel[deposits], incoming[deposits] = 2, True
        amount = np.where(deposits, 8000 + 1990 * chance, amount)
        passing = suspicious & (kind == 2)
        amount = np.where(passing, wealth[who] * 1500, amount)
        incoming = np.where(passing, chance < 0.5, incoming)
        new = new | (passing & (chance > 0.3))
        leaving = suspicious & (kind == 3)
        country = np.where(leaving & (chance < 0.6), 3, country)
        channel = np.where(leaving & (chance > 0.4), 4, channel)
        ts = START + ((first + np.arange(rows)) * (YEAR / total)).astype(np.int64)
        no_channel, no_country = chance < 0.004, (chance > 0.5) & (chance < 0.53)
        yield pa.table(
            {
                "customer": column(customers[who], pa.int64()),
                "ts": column(ts, pa.int64()).cast(pa.timestamp("us")),
                "amount": column(np.clip(amount, 0.5, 5e7), pa.decimal128(12, 2)),
                "incoming": column(incoming, pa.bool_()),
                "channel": labels(channel, CHANNELS, no_channel),
                "country": labels(country, COUNTRIES, no_country),
                "new_payee": column(new, pa.bool_()),
            }
        )


def labels(places: np.ndarray, names: np.ndarray, unknown: np.ndarray) -> pa.Array:
    """Text by the place of its label."""
    found = pa.array(places.astype("int8"), mask=unknown)
    return pa.DictionaryArray.from_arrays(found, pa.array(names.tolist())).cast(pa.string())


def reports(bank: str, size: Size) -> Iterator[pa.Table]:
    for every in size.people(PEOPLE):
        here = every[is_at(every, bank)]
        launders = laundering(here) > 0
        found = launders & happens(here, "confirmed", 0.6) & happens(here, f"by {bank}", 0.8)
        reported = found | happens(here, f"reported by {bank}", np.where(launders, 0.2, 0.004))
        day = START // 86_400_000_000 + (365 * uniform(here, "day of report")).astype(np.int64)
        yield pa.table(
            {
                "customer": column(here[reported], pa.int64()),
                "day": column(day[reported].astype("int32"), pa.int32()).cast(pa.date32()),
                "confirmed": column(found[reported], pa.bool_()),
            }
        )


DATASETS = {
    f"{bank}/{name}": (lambda size, bank=bank, pieces=pieces: pieces(bank, size))
    for bank in BANKS
    for name, pieces in (("tx", transactions), ("reports", reports))
}

if __name__ == "__main__":
    main(DATASETS, "Write the transactions and reports of six banks.")
