"""Labels that travel, out of imported payments and what their columns say of them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from sluice_oracle.columns import LABEL_EVENT_SCHEMA, LABEL_SOURCE, LabelTraffic, label_event_keys


def labelled_rows(rows: pa.RecordBatch, traffic: LabelTraffic) -> npt.NDArray[np.int64]:
    """Numbers of the rows whose label travels, ascending; `is_fraud` has no nulls."""
    if traffic == "fraud":
        return np.flatnonzero(rows.column("is_fraud").to_numpy(zero_copy_only=False))
    return np.arange(rows.num_rows if traffic == "all" else 0, dtype=np.int64)


def label_events(rows: pa.RecordBatch, traffic: LabelTraffic) -> pa.RecordBatch:
    """LABEL_EVENT_SCHEMA rows of those `rows` (payment and label columns) whose label travels, in order."""
    chosen = rows.take(pa.array(labelled_rows(rows, traffic)))
    keys = label_event_keys(chosen.column("row_key"))
    made = {
        "ts_utc": chosen.column("observed_time"),
        "row_key": keys,
        "label_id": keys,
        "label": pc.if_else(chosen.column("is_fraud"), "FRAUD", "LEGIT"),
        "source": pa.repeat(LABEL_SOURCE, chosen.num_rows),
    }
    names = LABEL_EVENT_SCHEMA.names
    columns = [made[name] if name in made else chosen.column(name) for name in names]
    return pa.RecordBatch.from_arrays(columns, names)
