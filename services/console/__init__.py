"""The console: what flows, what was decided and why, and what was refused, for people with a browser."""
