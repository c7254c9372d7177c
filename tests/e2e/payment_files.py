"""Files of payments as users have them, made from a seed."""

import csv
import random
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

SHOP_MAPPING = """
revision: shop-1
scenario_id: shop
primary_key: {template: "S{NO:08}"}
ts_utc: {column: WHEN, format: "%d.%m.%Y %H:%M:%S", timezone: Europe/Berlin}
amount_minor: {column: PRICE, scale: 100}
columns:
  payment_id: {template: "S{NO:08}"}
  customer_id: {template: "C{CUSTOMER}"}
  terminal_id: {column: TILL}
  currency: {constant: CHF}
  channel: {column: HOW, values: {"1": pos, "2": ecom}}
csv: {delimiter: ";"}
"""


def write_handbook_rows(path: Path, rows: int) -> None:
    """Parquet in the handbook's columns, in time order, some payments in the same second."""
    draw = random.Random(5)
    first = datetime(2018, 4, 1)  # noqa: DTZ001 - the column carries no zone
    times = sorted(first + timedelta(seconds=draw.randrange(86_400)) for _ in range(rows))
    fraud = [int(draw.random() < 0.01) for _ in range(rows)]
    pq.write_table(
        pa.table(
            {
                "TRANSACTION_ID": pa.array(range(rows), pa.int32()),
                "TX_DATETIME": pa.array(times, pa.timestamp("ms")),
                "CUSTOMER_ID": pa.array([draw.randrange(500) for _ in range(rows)], pa.int32()),
                "TERMINAL_ID": pa.array([draw.randrange(900) for _ in range(rows)], pa.int32()),
                "TX_AMOUNT": pa.array([round(draw.uniform(0, 300), 2) for _ in range(rows)], pa.float64()),
                "TX_FRAUD": pa.array(fraud, pa.int8()),
                "TX_FRAUD_SCENARIO": pa.array([2 * value for value in fraud], pa.int8()),
            }
        ),
        path,
    )


def write_shop_rows(path: Path, rows: int, *, without_price: int) -> None:
    """CSV as a till exports it: in no order, local times, some rows whose price is missing."""
    draw = random.Random(6)
    first = datetime(2024, 6, 1, 8)  # noqa: DTZ001 - local time
    lines = [
        [
            str(number),
            (first + timedelta(seconds=37 * number)).strftime("%d.%m.%Y %H:%M:%S"),
            "n/a" if number < without_price else f"{draw.uniform(0.5, 90):.2f}",
            str(draw.randrange(300)),
            f"T{draw.randrange(12)}",
            draw.choice("12"),
        ]
        for number in range(rows)
    ]
    draw.shuffle(lines)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=";")
        writer.writerow(["NO", "WHEN", "PRICE", "CUSTOMER", "TILL", "HOW"])
        writer.writerows(lines)
