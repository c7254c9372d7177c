"""An outside consumer: admitted payments with the stock Confluent deserializer; nothing of ours is imported.

Needs `confluent-kafka[avro,schemaregistry]`, and a registry that `sluice contracts publish` has filled.
Run it beside `sluice up`:  python examples/consume_payments.py --wiring .sluice/wiring.yaml --count 10
"""

import argparse
import os
import time

from confluent_kafka import Consumer, KafkaException
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext
from example_wiring import kafka_settings, wiring_file

PRINCIPAL = "example_consumer"  # may read traffic.payment and audit.receipt; may write nothing
TOPIC = "traffic.payment"

options = argparse.ArgumentParser(description=__doc__)
options.add_argument("--wiring", default=".sluice/wiring.yaml")
options.add_argument("--registry", default=os.environ.get("SCHEMA_REGISTRY_URL"), help="else from the wiring")
options.add_argument("--group", default=f"{PRINCIPAL}-1", help="must start with our name: access control")
options.add_argument("--count", type=int, default=0, help="stop after so many; 0: go on for ever")
options.add_argument("--seconds", type=float, default=0, help="stop after so long; 0: go on for ever")
given = options.parse_args()

registry = given.registry or (wiring_file(given.wiring).get("registry") or {}).get("url")
if not registry:
    raise SystemExit("no schema registry: give --registry, or a wiring file that names one")
# The writer's schema comes from the registry by the id in each record.
deserialize = AvroDeserializer(SchemaRegistryClient({"url": registry}))

consumer = Consumer(
    kafka_settings(given.wiring, PRINCIPAL)
    | {
        "group.id": given.group,
        "isolation.level": "read_committed",  # a fact that is not committed is no fact
        "auto.offset.reset": "earliest",  # a new group begins at the first payment
        "enable.auto.commit": False,  # positions are committed below, after the work
    }
)
consumer.subscribe([TOPIC])
deadline = time.monotonic() + given.seconds if given.seconds else float("inf")
seen = 0
try:
    while time.monotonic() < deadline and (not given.count or seen < given.count):
        message = consumer.poll(0.5)
        if message is None:
            continue
        if message.error():
            raise KafkaException(message.error())
        payment = deserialize(message.value(), SerializationContext(TOPIC, MessageField.VALUE))
        paid = payment["payload"]
        amount = f"{paid['amount_minor'] / 100:.2f} {paid['currency']}"
        place = f"{message.partition()}@{message.offset()}"
        print(f"{place}  {payment['ts_utc']:%Y-%m-%d %H:%M:%S}  {paid['customer_id']}  {amount}", flush=True)
        seen += 1
        consumer.commit(message=message, asynchronous=True)
except KeyboardInterrupt:
    pass
finally:
    consumer.close()
