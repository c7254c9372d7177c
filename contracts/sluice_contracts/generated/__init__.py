"""Generated code; see docs/contracts.md."""
