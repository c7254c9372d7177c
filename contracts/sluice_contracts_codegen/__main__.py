"""``python -m sluice_contracts_codegen``: write every generated file that is stale."""

from __future__ import annotations

import sys
from pathlib import Path

from sluice_contracts_codegen.generate import write
from sluice_contracts_codegen.shapes import ContractSourceError


def main() -> int:
    """Write stale files of the repository that this package lies in; 1 when a source is wrong."""
    repository = Path(__file__).resolve().parents[2]
    try:
        changed = write(repository)
    except ContractSourceError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    for path in changed:
        sys.stdout.write(f"wrote {path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
