"""sluice_bench."""
