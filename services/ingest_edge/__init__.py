"""The ingest edge: HTTP for outside publishers; it writes one lane and answers with the gate's receipts."""
