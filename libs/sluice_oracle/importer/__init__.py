"""The importer: a user's own Parquet or CSV as a world, by a small mapping file."""

from sluice_oracle.importer.importing import Imported, ImportRefused, import_world
from sluice_oracle.importer.mapping import Mapping, MappingError, load_mapping
from sluice_oracle.importer.sources import SourceError

__all__ = [
    "ImportRefused",
    "Imported",
    "Mapping",
    "MappingError",
    "SourceError",
    "import_world",
    "load_mapping",
]
