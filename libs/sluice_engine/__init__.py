"""sluice_engine."""
