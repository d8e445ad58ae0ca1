"""The other consumer: notes when each outcome can be read.

A process of its own, so that nothing of the generator's delays it: `python -m bench.reader <bootstrap> <topic>
<prefix> <count> <file>` writes the moment of arrival of each id `<prefix><number>`, nanoseconds of the system's
monotonic clock, 0 where it never came; ends when all came, or at SIGTERM.
"""

from __future__ import annotations

import re
import signal
import sys
from pathlib import Path
from time import monotonic_ns
from typing import Final

import numpy as np
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from bench.cards import PARTITIONS

READY: Final = "reading"
"""Written to the output once every partition is read to its end."""
_POLL_S: Final = 0.1


def read(bootstrap: str, topic: str, prefix: str, count: int, out: Path) -> None:
    """Read until all have come."""
    going = True

    def stop(*_: object) -> None:
        nonlocal going
        going = False

    signal.signal(signal.SIGTERM, stop)
    wanted = re.compile(rb'"transaction_id":"' + re.escape(prefix).encode() + rb'(\d+)"')
    arrived = np.zeros(count, np.int64)
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"{prefix}reader",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 100,
        }
    )
    consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in range(PARTITIONS)])
    sys.stdout.write(f"{READY}\n")
    sys.stdout.flush()
    left = count
    while going and left:
        message = consumer.poll(_POLL_S)
        now_ns = monotonic_ns()
        if message is None or message.error() is not None:
            continue
        found = wanted.search(message.value() or b"")
        if found is not None and not arrived[number := int(found[1])]:
            arrived[number] = now_ns
            left -= 1
    np.save(out, arrived)
    consumer.close()


if __name__ == "__main__":
    read(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), Path(sys.argv[5]))
