"""Ordering rows for a segment: by prefix, then by key where prefixes tie, then oldest first."""

from __future__ import annotations

import numpy as np

from sluice_kit.index.layout import RowLayout, Rows, Words


def segment_order(layout: RowLayout, rows: Rows, *, unique: bool) -> tuple[Rows, Words]:
    """Rows (given oldest first) in segment order, and their prefixes; `unique` keeps a key's newest.

    Everything heavy here runs without the interpreter lock; callers bound the time by bounding `len(rows)`.
    """
    words = layout.key_words(rows)
    prefixes = np.ascontiguousarray(words[:, 0])
    order = np.argsort(prefixes, kind="stable")
    ascending = prefixes[order]
    if bool((ascending[1:] == ascending[:-1]).any()):
        order = np.lexsort((words[:, 1], prefixes))
        if unique:
            ordered = words[order]
            repeated = np.zeros(len(order), dtype=np.bool_)
            repeated[:-1] = (ordered[1:] == ordered[:-1]).all(axis=1)
            order = order[~repeated]
        ascending = prefixes[order]
    # taken as bytes: numpy moves structured items one by one, rows of bytes by memcpy
    taken = layout.as_bytes(rows).take(order, axis=0)
    return taken.reshape(-1).view(layout.dtype), ascending
