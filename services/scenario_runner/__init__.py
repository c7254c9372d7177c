"""Scenario Runner: the sole authority on which runs are ready, with the evidence for it."""
