"""Receipts as readers see them: cheap looks at their bytes, and their shape in REST answers."""

from sluice_kit.receipts.bytes import identity_of, lane_mark, receipt_id_for, stands_on_lane
from sluice_kit.receipts.views import CoordinateView, EvidenceRefView, ReceiptList, ReceiptView, moment_text

__all__ = [
    "CoordinateView",
    "EvidenceRefView",
    "ReceiptList",
    "ReceiptView",
    "identity_of",
    "lane_mark",
    "moment_text",
    "receipt_id_for",
    "stands_on_lane",
]
