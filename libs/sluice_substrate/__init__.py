"""sluice_substrate."""
