"""sluice_cli."""
