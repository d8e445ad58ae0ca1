"""The peers: what each is called, and how its process is started."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec
import xgboost as xgb

from bench.lab import ROOT, BenchError, Lab, Running
from bench.peers.environment import pinned, python_of
from local.keeper import Keeper
from scoring.manifest import MODEL_FILE
from scoring.model import Model
from sinks.topics import PROCESSED, TRANSACTIONS

_SNAPSHOT_S: Final = "1"
_INIT_TIMEOUT_S: Final = 30
_PROGRAMS: Final = "bench.peers.programs"


class Peer(msgspec.Struct, frozen=True):
    """One program, one way of running it.

    Attributes:
        name: short, in names of topics and files.
        label: for people.
        environment: whose packages it needs, a file of `requirements/`.
        package: the framework, as pinned there.
        command: what follows the interpreter.
        saves: whether its state is saved in a folder, which has to be made first.
        pace: about how many events it takes in a second, so that runs last some seconds each.
    """

    name: str
    label: str
    environment: str
    package: str
    command: tuple[str, ...]
    pace: int
    saves: bool = False

    @property
    def version(self) -> str:
        """Of the framework, as pinned."""
        return pinned(self.environment, self.package)


_FLOW: Final = ("-m", "bytewax.run", f"{_PROGRAMS}.bytewax_flow:flow")
PEERS: Final = (
    Peer(
        "faust", "Faust agent, Redis sorted sets", "faust", "faust-streaming",
        ("-m", f"{_PROGRAMS}.faust_agent", "worker", "-l", "warn"), 600,
    ),
    Peer("quix", "Quix Streams, RocksDB state", "quix", "quixstreams", ("-m", f"{_PROGRAMS}.quix_app"), 2_000),
    Peer("bytewax", "Bytewax, state in memory", "bytewax", "bytewax", _FLOW, 15_000),
    Peer(
        "bytewax-saved", "Bytewax, state saved each second", "bytewax", "bytewax", (*_FLOW, "-s", _SNAPSHOT_S), 10_000,
        saves=True,
    ),
)  # fmt: skip


def interpreters(peers: Iterable[Peer], say: Callable[[str], None]) -> dict[str, Path]:
    """The interpreter of each environment that some peers need, made where it is missing; raises BenchError."""
    return {name: python_of(name, say) for name in sorted({peer.environment for peer in peers})}


class Peers:
    """Starts peers; as a context, what it started ends with the block, or with this process.

    Args:
        lab: its Kafka and Redis are theirs too, and its model.
        pythons: from `interpreters`.
    """

    def __init__(self, lab: Lab, pythons: dict[str, Path]) -> None:
        self._lab, self._pythons = lab, pythons
        self._folder = lab.folder / "peers"
        self._keeper: Keeper | None = None

    def __enter__(self) -> Self:
        self._folder.mkdir()
        booster = xgb.Booster(model_file=str(self._lab.model / MODEL_FILE))
        booster.save_model(self._folder / "model.json")
        thresholds = Model.load(self._lab.model).thresholds
        (self._folder / "thresholds.json").write_bytes(msgspec.json.encode(thresholds))
        self._keeper = Keeper()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._keeper is not None:
            self._keeper.close()

    def start(self, peer: Peer, prefix: str) -> Running:
        """Start a peer on the topics of a prefix, or start it again."""
        assert self._keeper is not None
        sink, python = f"{prefix}{PROCESSED}", self._pythons[peer.environment]
        variables = {
            "PEER_BROKER": self._lab.kafka["bootstrap.servers"], "PEER_REDIS": self._lab.redis_url,
            "PEER_SOURCE": f"{prefix}{TRANSACTIONS}", "PEER_SINK": sink, "PEER_GROUP": f"{prefix}peer",
            "PEER_FOLDER": str(self._folder),
        }  # fmt: skip
        command = [*peer.command, *self._saved(peer, python, prefix)]
        words = ["env", *(f"{name}={value}" for name, value in variables.items()), str(python), *command]
        log = self._folder / f"{prefix}peer.log"
        return Running(self._keeper.spawn(words, log, ROOT), log, lambda _: True, sink)

    def _saved(self, peer: Peer, python: Path, prefix: str) -> list[str]:
        """Options that name the folder of a saved state, made at the first start."""
        if not peer.saves:
            return []
        folder = self._folder / f"{prefix}saved"
        if not folder.exists():
            folder.mkdir()
            command = [str(python), "-m", "bytewax.recovery", str(folder), "1"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=_INIT_TIMEOUT_S, check=False)  # noqa: S603 - ours
            if done.returncode:
                raise BenchError(f"Bytewax did not make its recovery partitions:\n{done.stderr}")
        return ["-r", str(folder), "-b", "0"]
