"""``python -m sluice_contracts_codegen [REPOSITORY]``: write what is stale, record missing examples."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from sluice_contracts_codegen.generate import write
from sluice_contracts_codegen.model import load_contracts
from sluice_contracts_codegen.repository import REPOSITORY
from sluice_contracts_codegen.shapes import ContractSourceError

_RECORD = "--record"


def main(arguments: list[str]) -> int:
    """Write stale files, then record examples in a process of its own, which imports the fresh codec."""
    named = [argument for argument in arguments if argument != _RECORD]
    repository = Path(named[0]).resolve() if named else REPOSITORY
    try:
        if _RECORD in arguments:
            return _record(repository)
        for path in write(repository):
            sys.stdout.write(f"wrote {path}\n")
    except ContractSourceError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.flush()
    again = [sys.executable, "-m", "sluice_contracts_codegen", _RECORD, str(repository)]
    return subprocess.run(again, check=False).returncode


def _record(repository: Path) -> int:
    from sluice_contracts_codegen.recording import record_examples  # noqa: PLC0415 - needs the fresh codec

    for path in record_examples(load_contracts(repository / "contracts")):
        sys.stdout.write(f"recorded {path.relative_to(repository)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
