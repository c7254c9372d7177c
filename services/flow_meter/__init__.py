"""The flow meter: counts what was admitted, per run and event minute."""
