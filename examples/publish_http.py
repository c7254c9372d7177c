"""An outside publisher over HTTP: POST one payment, then retry it; the retry shows the first receipt.

Needs the standard library alone.
Run it beside `sluice up`:  python examples/publish_http.py --wiring .sluice/wiring.yaml
"""

import argparse
import json
import os
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from typing import Any

from example_wiring import secret, wiring_file

options = argparse.ArgumentParser(description=__doc__)
options.add_argument("--wiring", default=".sluice/wiring.yaml")
options.add_argument(
    "--url", default=os.environ.get("SLUICE_EDGE_URL"), help="else found in the state folder"
)
options.add_argument("--key", default=f"acme-{uuid.uuid4()}", help="idempotency key; the same one is a retry")
options.add_argument("--amount", type=int, default=1299, help="in minor units (cents)")
given = options.parse_args()

# The edge of a local stack says where it listens; anywhere else its address is yours to know.
edge = Path(str(wiring_file(given.wiring).get("state_dir", "")), "ingest_edge", "endpoint.json")
url = given.url or json.loads(edge.read_text())["url"]
token = os.environ.get("SLUICE_EDGE_TOKEN") or secret(given.wiring, "token_partner_acme")

# Only what the publisher knows: without a run it is the tenant's standing run, and the id comes from the key.
payment: dict[str, Any] = {
    "event_type": "payment",
    "ts_utc": time.time_ns() // 1_000,  # microseconds since 1970 UTC, or an ISO 8601 text
    "payload": {
        "payment_id": "P-1",
        "customer_id": "C-1042",
        "terminal_id": "T-7",
        "amount_minor": given.amount,
        "currency": "EUR",
    },
}


def publish() -> dict[str, Any]:
    """POST the payment; the answer holds its receipt. 202 says: taken, ask at links.receipt later."""
    request = urllib.request.Request(  # noqa: S310 - the address is given by whoever runs this
        f"{url}/v1/events",
        json.dumps(payment).encode(),
        {
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/json",
            "Idempotency-Key": given.key,
            "Prefer": "wait=10",
        },
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310
            return dict(json.load(response))
    except urllib.error.HTTPError as error:  # a problem document (RFC 9457) says what is wrong
        raise SystemExit(f"HTTP {error.code}: {error.read().decode()}") from error


first = publish()
print(first["result"], first["event_id"], json.dumps(first["receipt"]["event_bus"]))

# The network may lose an answer, so publishers retry: the same key is the same event, admitted once.
again = publish()
print(again["result"], again["event_id"], json.dumps(again["receipt"]["event_bus"]))
if again["receipt"]["event_bus"] != first["receipt"]["event_bus"]:
    raise SystemExit("a retry must show the first receipt")
