"""Where the repository is that this package lies in."""

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
