"""A new generation of the outcomes' indices: built beside the one that is read, and put in its place in one step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from opensearchpy import NotFoundError, OpenSearch, RequestError

from features.errors import IndexingError
from sinks.daily import outcome_indices
from sinks.documents import INDEX_ALIAS
from sinks.index_template import OUTCOMES, VERSION
from sinks.opensearch import mapped_errors

_STATE_INDEX: Final = "fraudstream_reindex"
_STATE_ID: Final = "state"
_NOT_INDEXED: Final = {"mappings": {"dynamic": False}, "settings": {"auto_expand_replicas": "0-1"}}
_LONG_S: Final = 3600


class Plan(msgspec.Struct, frozen=True):
    """What is being built, as it is kept in the cluster.

    Attributes:
        generation: number of the new indices.
        began_ms: when, epoch milliseconds.
        indices: concrete index that is read now -> the new one.
        daily: the new one -> its name of the contract.
        positions: partition -> offset up to which the topic is in the new indices.
    """

    generation: int
    began_ms: int
    indices: dict[str, str]
    daily: dict[str, str]
    positions: dict[int, int]

    def target(self, daily_name: str) -> str | None:
        """The new index of a name of the contract; None where that is not being built."""
        return next((new for new, name in self.daily.items() if name == daily_name), None)


class Generations:
    """Knows and changes the generations of one index prefix. Errors are those of `mapped_errors`.

    Args:
        client: with a long timeout: copying takes as long as it takes.
        index_prefix: put before every index name.
    """

    def __init__(self, client: OpenSearch, index_prefix: str) -> None:
        self._client, self._prefix = client, index_prefix
        self._state = f"{index_prefix}{_STATE_INDEX}"

    def load(self) -> Plan | None:
        """The plan that was begun and not ended; None where there is none."""
        with mapped_errors():
            try:
                stored = self._client.get(index=self._state, id=_STATE_ID)
            except NotFoundError:
                return None
        return msgspec.convert(stored["_source"], Plan, strict=False, str_keys=True)

    def plan(self, positions: Mapping[int, int], now_ms: int) -> Plan:
        """Begin a generation of every index that is read now; nothing is written but the plan."""
        found = outcome_indices(self._client, self._prefix)
        number = max((one.generation for one in found), default=1) + 1
        read = [one for one in found if one.is_read]
        made = Plan(
            number,
            now_ms,
            {one.name: one.of_generation(number) for one in read},
            {one.of_generation(number): one.daily_name for one in read},
            dict(positions),
        )
        self.save(made)
        return made

    def save(self, plan: Plan) -> None:
        """Keep the plan: after this, an interruption goes on from here."""
        with mapped_errors():
            if not self._client.indices.exists(index=self._state):
                self._make(self._state, _NOT_INDEXED)
            body = msgspec.to_builtins(plan, str_keys=True)
            self._client.index(index=self._state, id=_STATE_ID, body=body)

    def make(self, plan: Plan) -> None:
        """Make the new indices that are missing; no reader sees them."""
        body = {"mappings": OUTCOMES.mappings(VERSION), "settings": OUTCOMES.settings()}
        with mapped_errors():
            for new in plan.daily:
                self._make(new, body)

    def _make(self, name: str, body: dict[str, Any]) -> None:
        try:
            self._client.indices.create(index=name, body=body)
        except RequestError as exc:
            if exc.error != "resource_already_exists_exception":
                raise

    def copy_rest(self, plan: Plan) -> int:
        """Copy documents that the topic no longer had from the indices that are read; returns how many."""
        copied = 0
        for old, new in plan.indices.items():
            body = {
                "conflicts": "proceed",
                "source": {"index": old},
                "dest": {"index": new, "op_type": "create"},
            }
            with mapped_errors():
                answer = self._client.reindex(body=body, params={"refresh": "true"}, request_timeout=_LONG_S)
            if failures := answer.get("failures"):
                raise IndexingError(
                    f"{len(failures)} documents of {old} cannot be copied; the first: {_cause(failures)}"
                )
            copied += int(answer.get("created", 0))
        return copied

    def freeze(self, plan: Plan, *, frozen: bool) -> None:
        """Hold writers of the indices that are read up, or let them go on: they wait and try again."""
        with mapped_errors():
            for old in plan.indices:
                self._client.indices.put_settings(
                    index=old, body={"index.blocks.write": frozen or None}, params={"ignore_unavailable": "true"}
                )

    def check(self, plan: Plan) -> None:
        """Refuse to go on where a new index has fewer documents than the one it replaces.

        Raises:
            IndexingError: names the index.
        """
        for old, new in plan.indices.items():
            with mapped_errors():
                self._client.indices.refresh(index=f"{old},{new}")
                had, has = (int(self._client.count(index=name)["count"]) for name in (old, new))
            if has < had:
                raise IndexingError(
                    f"{new} has {has} documents, but {old} has {had}: nothing was replaced; run it again"
                )

    def show(self, plan: Plan) -> None:
        """Let readers see the new indices in the place of the others: in one step, and nothing is deleted yet."""
        alias = f"{self._prefix}{INDEX_ALIAS}"
        actions: list[dict[str, Any]] = []
        for old, new in plan.indices.items():
            actions += [{"remove": {"index": old, "alias": alias}}, {"add": {"index": new, "alias": alias}}]
        with mapped_errors():
            self._client.indices.update_aliases(body={"actions": actions})

    def finish(self, plan: Plan) -> None:
        """Delete the indices that are read no more, and let writers find the new ones under their names; repeatable."""
        there = {one.name for one in outcome_indices(self._client, self._prefix)}
        actions: list[dict[str, Any]] = []
        for old, new in plan.indices.items():
            if old in there:
                actions += [{"remove_index": {"index": old}}, {"add": {"index": new, "alias": plan.daily[new]}}]
        with mapped_errors():
            if actions:
                self._client.indices.update_aliases(body={"actions": actions})
        self.forget()

    def is_shown(self, plan: Plan) -> bool:
        """Whether the new indices are the ones that are read."""
        read = {one.name for one in outcome_indices(self._client, self._prefix) if one.is_read}
        return bool(plan.daily) and read.issuperset(plan.daily)

    def forget(self) -> None:
        """The plan is done."""
        with mapped_errors():
            self._client.indices.delete(index=self._state, params={"ignore_unavailable": "true"})

    def abandon(self, plan: Plan) -> None:
        """Delete what was built, and let writers go on; what is read stays as it is."""
        if self.is_shown(plan):  # too late: what is read now is what was built
            self.finish(plan)
            return
        self.freeze(plan, frozen=False)
        with mapped_errors():
            for new in plan.daily:
                self._client.indices.delete(index=new, params={"ignore_unavailable": "true"})
        self.forget()


def _cause(failures: list[dict[str, Any]]) -> str:
    cause = failures[0].get("cause", {})
    return str(cause.get("type", "unknown"))
