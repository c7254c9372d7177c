"""sluice_kit."""
