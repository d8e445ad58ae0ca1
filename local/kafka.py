"""A Kafka broker of one node (KRaft)."""

from __future__ import annotations

import base64
import subprocess
import uuid
from pathlib import Path
from typing import ClassVar

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from local.errors import LocalStackError, PortTakenError
from local.jars import class_path
from local.java import java_command
from local.ports import HOST, free_port
from local.server import Progress, Server

COORDINATES = ("org.apache.kafka:kafka_2.13:4.3.1", "org.slf4j:slf4j-simple:1.7.36")

_ASK_TIMEOUT_S = 2.0
_FORMAT_TIMEOUT_S = 60.0
_LOGGING = (
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSZ",
)


class Kafka(Server):
    """A Kafka broker and controller in one process, data kept in its folder."""

    name: ClassVar[str] = "kafka"
    variable: ClassVar[str] = "FRAUD_KAFKA_BOOTSTRAP"
    start_timeout_s: ClassVar[float] = 90.0

    _jars: list[Path]
    _cluster_id: str

    @property
    def address(self) -> str:
        """Bootstrap server, host:port."""
        return f"{HOST}:{self.port}"

    def prepare(self, progress: Progress) -> None:
        """Get the jars."""
        self._jars = class_path(self._cache, self.name, COORDINATES, progress, self._cancelled)

    def configure(self) -> None:
        """Write the properties; on the first start format the data folder."""
        data = self.directory / "data"
        properties = self._properties(data)
        (self.directory / "server.properties").write_text("".join(f"{key}={properties[key]}\n" for key in properties))
        if not (data / "meta.properties").exists():
            self._format()
        self._cluster_id = _cluster_id(data / "meta.properties")

    def command(self) -> list[str]:
        """Return the command of the broker."""
        properties = str(self.directory / "server.properties")
        return java_command(self.directory, self._jars, "kafka.Kafka", properties, options=_LOGGING)

    def answers(self) -> bool:
        """Ask for the topics: the broker is ready when it lists itself."""
        client = AdminClient({"bootstrap.servers": self.address, "log_level": 0, "socket.timeout.ms": 2000})
        try:
            metadata = client.list_topics(timeout=_ASK_TIMEOUT_S)
        except KafkaException:
            return False
        answered: object = metadata.cluster_id  # its own annotation says None
        if answered != self._cluster_id:
            raise PortTakenError(f"kafka cannot have port {self.port}: another broker answers there")
        return bool(metadata.brokers)

    def _properties(self, data: Path) -> dict[str, str | int]:
        controller_port = free_port()
        return {
            "process.roles": "broker,controller",
            "node.id": 1,
            "listeners": f"PLAINTEXT://{HOST}:{self.port},CONTROLLER://{HOST}:{controller_port}",
            "advertised.listeners": f"PLAINTEXT://{HOST}:{self.port}",
            "controller.listener.names": "CONTROLLER",
            # Not `--standalone`, which writes the controller's port into the data: here it may change at every start.
            "controller.quorum.voters": f"1@{HOST}:{controller_port}",
            "log.dirs": str(data),
            "auto.create.topics.enable": "false",
            "num.partitions": 4,
            "offsets.topic.num.partitions": 4,
            "offsets.topic.replication.factor": 1,
            "transaction.state.log.num.partitions": 4,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "share.coordinator.state.topic.num.partitions": 4,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            "group.initial.rebalance.delay.ms": 0,
            "group.min.session.timeout.ms": 1000,
            "log.cleaner.dedupe.buffer.size": 16 * 1024 * 1024,
            # A killed broker may register again only when its last life has timed out; the default makes that 9 s.
            "broker.session.timeout.ms": 3000,
            "broker.heartbeat.interval.ms": 500,
        }

    def _format(self) -> None:
        # Joined to its option below: one id in 64 begins with a dash and would be taken for another option.
        cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        properties = str(self.directory / "server.properties")
        arguments = ("format", f"--cluster-id={cluster_id}", "-c", properties)
        command = java_command(self.directory, self._jars, "kafka.tools.StorageTool", *arguments, options=_LOGGING)
        with self.log.open("ab") as log:
            try:
                result = subprocess.run(  # noqa: S603 - no foreign input in it
                    command, stdout=log, stderr=log, timeout=_FORMAT_TIMEOUT_S, check=False
                )
            except (OSError, subprocess.TimeoutExpired) as error:
                raise LocalStackError(f"kafka: cannot format {self.directory}: {error}") from error
        if result.returncode != 0:
            raise self.failure("could not format its data folder")


def _cluster_id(meta_properties: Path) -> str:
    lines = meta_properties.read_text().splitlines()
    return next(line.partition("=")[2] for line in lines if line.startswith("cluster.id="))
