"""An outside publisher: one payment onto its own lane, then wait for the gate's receipt.

Needs `sluice-contracts` and `confluent-kafka`; nothing of the platform.
Run it beside `sluice up`:  python examples/publish_payment.py --wiring .sluice/wiring.yaml
"""

import argparse
import sys
import time
import uuid

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from example_wiring import kafka_settings

from sluice_contracts import Decoded, decode
from sluice_contracts.records import PaymentPayloadV1, PaymentV1

PRINCIPAL = "partner_acme"  # who we are
LANE = f"ingress.{PRINCIPAL}"  # the only topic that we may write
NO_RUN = "0" * 64  # a publisher without a run of its own uses its tenant's standing run and empty pins

options = argparse.ArgumentParser(description=__doc__)
options.add_argument("--wiring", default=".sluice/wiring.yaml")
options.add_argument("--amount", type=int, default=1299, help="in minor units (cents)")
options.add_argument("--event-id", default=f"acme-{uuid.uuid4()}", help="one id and time again: a duplicate")
options.add_argument("--ts-utc", type=int, default=time.time_ns() // 1_000, help="when it was paid")
given = options.parse_args()

# 1. Build a typed record. Money is in minor units, time in microseconds since 1970 UTC.
payment = PaymentV1(
    event_id=given.event_id,
    ts_utc=given.ts_utc,
    manifest_fingerprint=NO_RUN,
    parameter_hash=NO_RUN,
    scenario_id="standing",
    run_id="standing",
    producer=PRINCIPAL,
    payload=PaymentPayloadV1(
        payment_id=f"P-{given.event_id}",
        customer_id="C-1042",
        terminal_id="T-7",
        amount_minor=given.amount,
        currency="EUR",
    ),
)

# 2. Where the receipts end before we send: ours comes behind.
settings = kafka_settings(given.wiring, PRINCIPAL)
receipts = Consumer(settings | {"group.id": f"{PRINCIPAL}-example", "isolation.level": "read_committed"})
numbers = receipts.list_topics("audit.receipt", timeout=10).topics["audit.receipt"].partitions
places = [TopicPartition("audit.receipt", number) for number in numbers]
for place in places:
    place.offset = receipts.get_watermark_offsets(place)[1]
receipts.assign(places)

# 3. Send. Idempotent and acknowledged by all replicas; the record key keeps one customer's events in order.
answers: list[KafkaError | None] = []
producer = Producer(settings | {"enable.idempotence": True})
producer.produce(LANE, payment.encode(), "C-1042", on_delivery=lambda error, _: answers.append(error))
producer.flush(15)
if answers != [None]:
    sys.exit(f"not sent: {answers or 'the broker does not answer'}")
print(f"sent {payment.event_id}")

# 4. The receipt says what became of it: ADMIT, DUPLICATE or QUARANTINE, and where the fact stands.
deadline = time.monotonic() + 30
while time.monotonic() < deadline:
    if (message := receipts.poll(0.5)) is None:
        continue
    if message.error():
        raise KafkaException(message.error())
    event = decode(message.value())
    if isinstance(event, Decoded) and event.fields["payload"]["subject_event_id"] == payment.event_id:
        said = event.fields["payload"]
        if said["decision"] == "QUARANTINE":
            sys.exit(f"QUARANTINE {said['reason_codes']} {said['detail']}")
        print(said["decision"], f"{said['eb_topic']}[{said['eb_partition']}]@{said['eb_offset']}")
        sys.exit()
sys.exit("no receipt within 30 s: is the gate running? (sluice status)")
