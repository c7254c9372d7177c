"""An independent check of the event bus: reads the topics back with confluent-kafka and counts.

It shares no code with the services or their kit, only the contracts.
"""

from sluice_checker.bus_reader import CheckerError
from sluice_checker.checking import CheckSettings, check
from sluice_checker.connection import CheckerWiring, read_wiring
from sluice_checker.evidence import EvidenceSource, FolderEvidence, S3Evidence
from sluice_checker.report import CheckReport, Fault, Problem, table

__all__ = [
    "CheckReport",
    "CheckSettings",
    "CheckerError",
    "CheckerWiring",
    "EvidenceSource",
    "Fault",
    "FolderEvidence",
    "Problem",
    "S3Evidence",
    "check",
    "read_wiring",
    "table",
]
