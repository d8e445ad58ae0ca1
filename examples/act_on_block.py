"""Act on blocked transactions by their Kafka headers alone: no value is decoded."""

import os

from confluent_kafka import Consumer

settings = {"group.id": "act-on-block", "auto.offset.reset": "earliest", "enable.auto.offset.store": False}
consumer = Consumer({"bootstrap.servers": os.environ.get("FRAUD_KAFKA_BOOTSTRAP", "localhost:9092"), **settings})
consumer.subscribe([os.environ.get("FRAUD_TOPIC_PREFIX", "") + "processed_transactions"])
while True:
    if (record := consumer.poll(1.0)) is None or record.error():
        continue
    headers = dict(record.headers() or [])
    if headers.get("outcome") == b"block":
        print("hold the goods:", headers["transaction_id"].decode(), "score", int(headers["score"]), flush=True)
    consumer.store_offsets(record)  # done: a crash before this line brings the record again
