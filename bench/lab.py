"""Servers, topics and processes of a run, in a folder that is gone afterwards."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import psutil
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]  # it re-exports them

from bench.cards import PARTITIONS, Cards, Sent
from bench.reader import READY
from bench.relay import ASSIGNED
from features.offline import build_table
from local import process as processes
from local.generator import generate
from local.keeper import Keeper
from local.ports import HOST, free_port
from local.stack import Stack
from scoring.training import train
from sinks.topics import PROCESSED, TRANSACTIONS, ensure_topics

ROOT: Final = Path(__file__).resolve().parent.parent
RULES: Final = ROOT / "bench" / "rules"
_READY_S: Final = 60.0
_ANSWER_S: Final = 10.0
_POLL_S: Final = 0.05
_GRACE_MS: Final = 86_400_000


class BenchError(RuntimeError):
    """A benchmark that did not do what it measures."""


class Running:
    """A process that is measured, or that measures.

    Attributes:
        sink: topic that it answers on, empty where it answers on none.
    """

    def __init__(self, pid: int, log: Path, is_ready: Callable[[str], bool], sink: str = "", port: int = 0) -> None:
        self.process, self._log, self._is_ready, self.sink = psutil.Process(pid), log, is_ready, sink
        self._port = port

    def cpu_s(self) -> float:
        """CPU seconds so far, user and system."""
        times = self.process.cpu_times()
        return times.user + times.system

    def metrics(self) -> dict[str, float]:
        """What a role counts: a sample's name, with its labels as they are written, and its value."""
        return parsed_metrics(_answer(self._port, "/metrics"))

    def wait(self, done: Callable[[], bool], what: str, timeout_s: float = _READY_S) -> None:
        """Ask until the answer is yes; raises BenchError when it takes too long or the process is gone."""
        deadline_s = time.monotonic() + timeout_s
        while not done():
            if time.monotonic() > deadline_s or not processes.is_alive(self.process):
                raise BenchError(f"{what} did not happen; {self.said()}")
            time.sleep(_POLL_S)

    def said(self) -> str:
        """Whether it lives, and the end of its log."""
        state = "runs" if processes.is_alive(self.process) else "has ended"
        return f"{self._log.stem} {state} and said:\n{processes.tail(self._log)}"

    def wait_ready(self) -> None:
        """Wait until records flow through it."""
        self.wait(lambda: self._is_ready(self.log()), "a start")

    def log(self) -> str:
        """All that it wrote so far."""
        return self._log.read_text()

    def stop(self) -> None:
        """End it in good order."""
        processes.stop([self.process])


class Lab:
    """Kafka, Redis and a model; as a context, all of it ends with the block, or with this process.

    Attributes:
        folder: of this run.
        model: its folder.
        rules: whether workers have rules.
    """

    def __init__(self, progress: Callable[[str], None]) -> None:
        (ROOT / ".stack").mkdir(exist_ok=True)
        self.folder = Path(tempfile.mkdtemp(prefix="bench-", dir=ROOT / ".stack"))
        self.model = self.folder / "model"
        self._stack = Stack(self.folder / "servers", services=("kafka", "redis"))
        self.rules = False
        self._progress = progress
        self._keeper: Keeper | None = None
        self._search: Stack | None = None
        self._admin: AdminClient | None = None

    def __enter__(self) -> Self:
        try:
            self._stack.start(self._progress)
            self._keeper = Keeper()
            self._progress("training the model")
            generate(60_000, 120, 7, self.folder / "history")
            build_table(self.folder / "history", self.folder / "table.parquet")
            train(self.folder / "table.parquet", self.model, seed=7)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        self._admin = None
        if self._keeper is not None:
            self._keeper.close()
        self._stack.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def kafka(self) -> dict[str, str]:
        """How librdkafka reaches the broker."""
        return {"bootstrap.servers": self._stack.env()["FRAUD_KAFKA_BOOTSTRAP"]}

    @property
    def redis_url(self) -> str:
        """Where Redis is."""
        return self._stack.env()["FRAUD_REDIS_URL"]

    def server_cpu_s(self, name: str) -> float:
        """CPU seconds of a server so far."""
        process = self._stack.servers[name].process
        assert process is not None
        times = process.cpu_times()
        return times.user + times.system

    @contextmanager
    def opensearch(self) -> Iterator[str]:
        """An OpenSearch while the block runs; gives its URL."""
        with Stack(self.folder / "search", services=("opensearch",)) as stack:
            self._search = stack
            yield stack.env()["FRAUD_OPENSEARCH_URL"]

    def search_cpu_s(self) -> float:
        """CPU seconds of OpenSearch so far."""
        assert self._search is not None
        process = self._search.servers["opensearch"].process
        assert process is not None
        times = process.cpu_times()
        return times.user + times.system

    def make_topics(self, prefix: str) -> None:
        """The topics of a run: those of the contract for the worker, and others for the relay to answer on."""
        for one in (prefix, f"{prefix}relay-"):
            ensure_topics(self.kafka, prefix=one, partitions=PARTITIONS, replication_factor=1, grace_ms=_GRACE_MS)

    def publish(self, prefix: str, cards: Cards, records: list[Sent]) -> None:
        """Publish records to their homes; confirmed on return."""
        settings = {"enable.idempotence": True, "log_level": 3, "queue.buffering.max.messages": len(records) + 1}
        producer = Producer({**self.kafka, **settings})
        for number, sent in enumerate(records):
            producer.produce(f"{prefix}{TRANSACTIONS}", sent.value, cards.names[sent.card], cards.homes[sent.card])
            if number % 1000 == 0:
                producer.poll(0)
        if producer.flush(_READY_S):
            raise BenchError("Kafka did not take the records")

    def written(self, topic: str) -> int:
        """Records in a topic."""
        if self._admin is None:
            self._admin = AdminClient({**self.kafka, "log_level": 0})
        ends = {TopicPartition(topic, p): OffsetSpec.latest() for p in range(PARTITIONS)}  # type: ignore[no-untyped-call]  # it has no types
        answers = self._admin.list_offsets(ends, request_timeout=_ANSWER_S)
        return sum(answer.result(_ANSWER_S).offset for answer in answers.values())

    def start(self, kind: str, prefix: str) -> Running:
        """Start a "score" or a "relay" on the topics of a prefix."""
        return self.score(prefix) if kind == "score" else self._relay(prefix)

    def score(self, prefix: str, *, number: int = 0, accounted: bool = False) -> Running:
        """Start a `score` role on the topics of a prefix.

        Args:
            prefix: of topics, group and keys.
            number: tells several on one prefix apart.
            accounted: tell CPU time by stage and name the threads (`bench/accounted.py`).
        """
        module = ["-P", str(ROOT / "bench" / "accounted.py")] if accounted else ["-m", "fraudstream"]
        rules = {"FRAUD_RULES": str(RULES)} if self.rules else {}
        return self._role("score", prefix, rules, module, f"{prefix}{PROCESSED}", number)

    def index(self, prefix: str, opensearch_url: str, index_prefix: str) -> Running:
        """Start an `index` role on the topics of a prefix, with indices and a group of its own."""
        variables = {
            "FRAUD_OPENSEARCH_URL": opensearch_url, "FRAUD_INDEX_PREFIX": index_prefix,
            "FRAUD_GROUP_PREFIX": f"{index_prefix}g",
        }  # fmt: skip
        return self._role("index", prefix, variables, ["-m", "fraudstream"])

    def _role(
        self, role: str, prefix: str, more: dict[str, str], module: list[str], sink: str = "", number: int = 0
    ) -> Running:
        port = free_port()
        variables = {
            **self._stack.env(), "FRAUD_TOPIC_PREFIX": prefix, "FRAUD_GROUP_PREFIX": f"{prefix}g",
            "FRAUD_KEY_PREFIX": prefix, "FRAUD_MODEL": str(self.model), "FRAUD_HTTP_PORT": str(port), **more,
        }  # fmt: skip
        words = ["env", *(f"{k}={v}" for k, v in variables.items()), sys.executable, *module, role]
        return self._spawn(words, f"{prefix}{role}{number}.log", self.folder, lambda _: _healthy(port), sink, port)

    def _relay(self, prefix: str) -> Running:
        sink = f"{prefix}relay-{PROCESSED}"
        words = [sys.executable, "-m", "bench.relay", self._bootstrap, f"{prefix}{TRANSACTIONS}", sink]
        return self._spawn([*words, f"{prefix}relay"], f"{prefix}relay.log", ROOT, lambda log: ASSIGNED in log, sink)

    def reader(self, topic: str, prefix: str, count: int, out: Path) -> Running:
        """Start the reader of a topic."""
        words = [sys.executable, "-m", "bench.reader", self._bootstrap, topic, prefix, str(count), str(out)]
        return self._spawn(words, f"{topic}-reader.log", ROOT, lambda log: READY in log)

    def _spawn(
        self, command: list[str], log: str, folder: Path, is_ready: Callable[[str], bool], sink: str = "", port: int = 0
    ) -> Running:
        assert self._keeper is not None
        path = self.folder / log
        return Running(self._keeper.spawn(command, path, folder), path, is_ready, sink, port)

    @property
    def _bootstrap(self) -> str:
        return self.kafka["bootstrap.servers"]


def parsed_metrics(text: str) -> dict[str, float]:
    r"""Samples of the text that Prometheus scrapes.

    >>> parsed_metrics('# TYPE a counter\na_total{stage="read"} 2.0\nb 1e3\n')
    {'a_total{stage="read"}': 2.0, 'b': 1000.0}
    """
    lines = [line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


def _healthy(port: int) -> bool:
    try:
        _answer(port, "/health")
    except OSError:
        return False
    return True


def _answer(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://{HOST}:{port}{path}", timeout=_ANSWER_S) as answer:
        return str(answer.read(), "utf-8")
