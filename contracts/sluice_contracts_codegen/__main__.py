"""``python -m sluice_contracts_codegen``: write every stale generated file, record missing examples."""

from __future__ import annotations

import subprocess
import sys

from sluice_contracts_codegen.generate import write
from sluice_contracts_codegen.model import load_contracts
from sluice_contracts_codegen.repository import REPOSITORY
from sluice_contracts_codegen.shapes import ContractSourceError


def main(arguments: list[str]) -> int:
    """Write stale files, then record examples in a process of its own, which imports the fresh codec."""
    if arguments == ["--record"]:
        from sluice_contracts_codegen.recording import record_examples  # noqa: PLC0415 - needs the fresh codec

        for path in record_examples(load_contracts(REPOSITORY / "contracts")):
            sys.stdout.write(f"recorded {path.relative_to(REPOSITORY)}\n")
        return 0
    try:
        changed = write(REPOSITORY)
    except ContractSourceError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    for path in changed:
        sys.stdout.write(f"wrote {path}\n")
    sys.stdout.flush()
    return subprocess.run(
        [sys.executable, "-m", "sluice_contracts_codegen", "--record"], check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
