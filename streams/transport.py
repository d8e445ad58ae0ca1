"""The Faust app of a role: one topic, delivered in batches, with nothing of Faust's that the role does not use."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar

import faust
from faust.transport import base
from faust.transport.drivers import aiokafka

from streams.delivery import FAUST_LOG, Assigned, BatchConsumer, Progressed, unused


class _NoProducer(base.Producer):
    """Faust starts a producer beside every consumer; ours is `sinks.publisher`, so this one connects to nothing."""

    logger = FAUST_LOG

    async def flush(self) -> None:
        """Nothing is ever buffered."""

    def key_partition(self, topic: str, key: bytes) -> Any:  # noqa: ANN401 - faust's signature
        return unused("key_partition")(topic, key)


class _Transport(aiokafka.Transport):
    Consumer: ClassVar[type[BatchConsumer]] = BatchConsumer
    Producer: ClassVar[type[_NoProducer]] = _NoProducer


class BatchApp(faust.App):
    """A Faust app whose one topic is delivered in batches.

    Args:
        name: the consumer group.
        topic: the topic.
        config: librdkafka settings of the consumer.
        on_assigned: called with partition -> committed offset before records of an assignment flow.
        on_failure: called on the loop with an error that cannot heal.
        on_stopped: called once the last batch is done and the group is left.
        on_progress: called every few seconds, in the poll thread.
    """

    logger = FAUST_LOG

    def __init__(
        self,
        name: str,
        *,
        topic: str,
        config: Mapping[str, str | int | bool],
        on_assigned: Assigned,
        on_failure: Callable[[BaseException], None],
        on_stopped: Callable[[], Awaitable[None]],
        on_progress: Progressed,
    ) -> None:
        super().__init__(
            name,
            broker="kafka://unused",
            store="memory://",
            web_enabled=False,
            topic_disable_leader=True,
            topic_allow_declare=False,
            table_standby_replicas=0,
            broker_commit_every=10**9,
            stream_wait_empty=True,
        )
        self.batch_topic = self.topic(
            topic, value_type=bytes, value_serializer="raw", key_type=bytes, key_serializer="raw"
        )
        self._consumer_class = type(
            "RoleConsumer",
            (BatchConsumer,),
            {
                "config": {**config, "group.id": name, "auto.offset.reset": "earliest"},
                "topic": topic,
                "assigned_hook": staticmethod(on_assigned),
                "failed_hook": staticmethod(on_failure),
                "stopped_hook": staticmethod(on_stopped),
                "progress_hook": staticmethod(on_progress),
            },
        )

    def _create_directories(self) -> None:
        """Faust would make a data folder in the working directory; nothing of ours is kept on disk."""

    def _new_transport(self) -> _Transport:
        transport = _Transport(self.conf.broker_consumer, self)
        transport.Consumer = self._consumer_class  # type: ignore[misc]  # Faust reads the class from the instance
        return transport
