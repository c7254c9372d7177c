"""sluice_oracle."""
