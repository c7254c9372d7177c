"""sluice_checker."""
