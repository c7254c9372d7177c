"""Decision log: one tamper-evident record of every admitted payment, by reference."""
