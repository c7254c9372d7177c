"""Turns ``contracts/`` (schemas, shapes, topics) into code, documents and deployment values.

Not part of the ``sluice-contracts`` distribution: it needs the repository.
"""
