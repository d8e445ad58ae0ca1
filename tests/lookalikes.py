"""Small made-up data sets in the shapes of well-known public ones: the same columns and formats, none of their rows."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

CATEGORIES = ("grocery_pos", "gas_transport", "travel", "shopping_net")
START = datetime(2019, 1, 1, tzinfo=UTC)


def _stream(rows: int, cards: int, days: int, seed: int) -> list[dict]:
    """Purchases in order of time; now and then a card is attacked: a few large ones in quick succession."""
    rng = random.Random(seed)
    made = []
    while len(made) < rows:
        card, at = rng.randrange(cards), START + timedelta(seconds=rng.randrange(days * 86_400))
        if rng.random() < 0.01:
            for step in range(rng.randint(3, 6)):
                moment = at + timedelta(seconds=step * rng.randint(30, 120))
                made.append({"card": card, "at": moment, "amount": round(rng.uniform(200, 900), 2), "fraud": 1})
        else:
            made.append({"card": card, "at": at, "amount": round(rng.lognormvariate(3, 1) + 0.01, 2), "fraud": 0})
    return sorted(made[:rows], key=lambda row: row["at"])


def european(path: Path, rows: int = 6_000, seed: int = 1) -> Path:
    """Anonymised: seconds since the first row, components V1 to V28, no card, no id; two days; some amounts of 0."""
    rng = np.random.default_rng(seed)
    fraud = rng.random(rows) < 0.01
    frame = {"Time": np.sort(rng.integers(0, 172_800, rows)).astype(float)}
    for number in range(1, 29):
        frame[f"V{number}"] = rng.normal(size=rows) + (2.0 * fraud if number <= 4 else 0)
    amount = np.where(rng.random(rows) < 0.01, 0.0, np.round(rng.lognormal(3, 1, rows) + 0.01, 2))
    pl.DataFrame({**frame, "Amount": amount, "Class": fraud.astype(int)}).write_csv(path)
    return path


EUROPEAN = """
event_time: {column: Time, since: "2013-09-01T00:00:00Z", unit: seconds}
card_id: {row: true, prefix: card-}
amount: Amount
currency: EUR
label: Class
inputs: ["V*"]
split: 0.8
"""


def simulated(folder: Path, rows: int = 6_000, seed: int = 2) -> Path:
    """People, merchants and places; the train and the test part are files of their own; ids look like card numbers."""
    rng = random.Random(seed)
    made = []
    for number, row in enumerate(_stream(rows, 60, 200, seed)):
        lat, long = rng.uniform(30, 45), rng.uniform(-120, -80)
        made.append(
            {
                "": number,
                "trans_date_trans_time": row["at"].strftime("%Y-%m-%d %H:%M:%S"),
                "cc_num": 4_000_000_000_000_000 + row["card"] * 7_919,
                "merchant": f"fraud_Shop {rng.randrange(40)}, Inc",
                "category": "shopping_net" if row["fraud"] and rng.random() < 0.7 else rng.choice(CATEGORIES),
                "amt": row["amount"],
                "gender": rng.choice("FM"),
                "state": rng.choice(["NY", "TX", "CA"]),
                "zip": 10_000 + row["card"],
                "lat": round(lat, 4),
                "long": round(long, 4),
                "city_pop": rng.randrange(100, 1_000_000),
                "dob": f"{1940 + row['card']}-05-17",
                "trans_num": f"{seed:02d}{number:030x}",
                "unix_time": int(row["at"].timestamp()),
                "merch_lat": round(lat + rng.uniform(-1, 1), 4),
                "merch_long": round(long + rng.uniform(-1, 1), 4),
                "is_fraud": row["fraud"],
            }
        )
    folder.mkdir()
    cut = int(len(made) * 0.7)
    pl.DataFrame(made[:cut]).write_csv(folder / "fraudTrain.csv")
    pl.DataFrame(made[cut:]).write_csv(folder / "fraudTest.csv")
    return folder


SIMULATED = """
transaction_id: trans_num
event_time: {column: trans_date_trans_time, format: "%Y-%m-%d %H:%M:%S"}
card_id: cc_num
simulated_cards: true
amount: amt
currency: USD
merchant_id: merchant
merchant_category: category
country: {constant: US}
label: is_fraud
inputs:
  - {column: category, type: categorical}
  - {column: dob, type: age_years, name: age}
  - {columns: [lat, long, merch_lat, merch_long], type: distance_km, name: distance}
  - city_pop
groups: [gender, state]
split: {files: {train: fraudTrain.csv, test: fraudTest.csv}}
"""


def synthetic(path: Path, rows: int = 6_000, seed: int = 3) -> Path:
    """Users with several cards, the date in four columns, amounts with a dollar sign, refunds, labels of words."""
    rng = random.Random(seed)
    made = []
    for row in _stream(rows, 60, 200, seed):
        at, amount = row["at"], row["amount"]
        refund = not row["fraud"] and rng.random() < 0.03
        made.append(
            {
                "User": row["card"] // 3,
                "Card": row["card"] % 3,
                "Year": at.year,
                "Month": at.month,
                "Day": at.day,
                "Time": at.strftime("%H:%M"),
                "Amount": f"${'-' if refund else ''}{amount:.2f}",
                "Use Chip": rng.choice(["Swipe Transaction", "Chip Transaction", "Online Transaction"]),
                "Merchant Name": rng.randrange(-(2**62), 2**62),
                "Merchant City": rng.choice(["La Verne", "Rome", "ONLINE"]),
                "Zip": rng.choice(["91750.0", ""]),
                "MCC": rng.choice([5411, 5300, 4829]),
                "Errors?": rng.choice(["", "", "", "Insufficient Balance"]),
                "Is Fraud?": "Yes" if row["fraud"] else "No",
            }
        )
    pl.DataFrame(made).sort("User", "Card", maintain_order=True).write_csv(path)
    return path


SYNTHETIC = """
card_id: {columns: [User, Card]}
event_time: {columns: [Year, Month, Day, Time], format: "%Y %m %d %H:%M", time_zone: America/New_York}
amount: {column: Amount, negative: absolute}
currency: USD
merchant_id: Merchant Name
merchant_category: MCC
channel: Use Chip
label: {column: "Is Fraud?", fraud: ["Yes"], ordinary: ["No"]}
inputs:
  - {column: Use Chip, type: categorical}
  - {column: "Errors?", type: categorical, name: errors}
"""


def handbook(folder: Path, rows: int = 6_000, seed: int = 4) -> Path:
    """Days as files of their own, plain names in capitals."""
    folder.mkdir()
    rng = random.Random(seed)
    frame = pl.DataFrame(
        [
            {
                "TRANSACTION_ID": number,
                "TX_DATETIME": row["at"].replace(tzinfo=None),
                "CUSTOMER_ID": row["card"],
                "TERMINAL_ID": rng.randrange(100),
                "TX_AMOUNT": row["amount"],
                "TX_FRAUD": row["fraud"],
            }
            for number, row in enumerate(_stream(rows, 60, 60, seed))
        ]
    )
    for (day,), part in frame.group_by(pl.col("TX_DATETIME").dt.date(), maintain_order=True):
        part.write_parquet(folder / f"{day}.parquet")
    return folder


HANDBOOK = """
transaction_id: TRANSACTION_ID
card_id: CUSTOMER_ID
event_time: TX_DATETIME
amount: TX_AMOUNT
currency: EUR
merchant_id: TERMINAL_ID
label: TX_FRAUD
split: 2019-02-05..2019-02-12
"""
