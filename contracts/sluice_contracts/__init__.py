"""sluice_contracts."""
