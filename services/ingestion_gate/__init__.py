"""The Ingestion Gate: the one place where records become facts."""
