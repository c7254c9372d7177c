"""Carries out what decisions ask for, once each, and says what came of it."""
