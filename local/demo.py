"""The demo: the whole pipeline on real servers, an attack caught while it happens, and every count checked."""

from __future__ import annotations

import json
import secrets
import shutil
import signal
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from string import ascii_uppercase
from types import FrameType
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from local import demo_kept
from local.demo_console import console_variables, start_console
from local.demo_play import Sent, burst, play, publish_burst, publish_card_number
from local.demo_processes import DemoError, Role, run_command
from local.demo_report import FLAGGED, Burst, Findings, problems, summary
from local.demo_watch import Answer, Watch
from local.keeper import Keeper
from local.producer import Publisher
from local.stack import Stack
from local.traffic import ScenarioEvent, scenario

TRANSACTIONS: Final = 540_000
CARDS: Final = 1_000
SEED: Final = 7
PLAY_S: Final = 40.0
BURST: Final = 50_000
_DAY_MS: Final = 86_400_000
_BURST_CARDS: Final = 14_000
_ANSWERED_S: Final = 60.0
_INDEXED_S: Final = 90.0
_POLL_S: Final = 0.2
_WIDTH: Final = 100
_RULES: Final = Path(__file__).resolve().parents[1] / "rules"


def run_demo(*, keep: bool = False) -> None:
    """Run the demo and print what it shows.

    Args:
        keep: leave servers and roles running at the end, and print where they are.

    Raises:
        DemoError: something did not add up, or a command failed.
        LocalStackError: a server cannot be had.
    """
    console = _console()
    root = demo_kept.home()
    root.mkdir(parents=True, exist_ok=True)
    if keep and demo_kept.is_running():
        demo_kept.print_addresses(console)
        return
    with ExitStack() as cleanup:
        cleanup.enter_context(_terminated_like_interrupted())
        if keep:
            folder = demo_kept.fresh_folder()
        else:
            folder = Path(tempfile.mkdtemp(prefix="demo-", dir=root))
            cleanup.callback(shutil.rmtree, folder, ignore_errors=True)
        _Demo(console, folder, cleanup).run(keep=keep)


def stop_kept() -> None:
    """Stop what `run_demo(keep=True)` left running, and remove its data."""
    stopped = demo_kept.stop()
    _console().print(f"Stopped: {', '.join(stopped)}." if stopped else "Nothing was running.")


class _Demo:
    """One run, in its folder."""

    def __init__(self, console: Console, folder: Path, cleanup: ExitStack) -> None:
        self._console = console
        self._folder = folder
        self._cleanup = cleanup
        self._running = cleanup.enter_context(ExitStack())  # what is started here and may be kept
        self._begun_s = time.monotonic()
        self._attacks: dict[int, int] = {}
        self._caught: set[str] = set()

    def run(self, *, keep: bool) -> None:
        stack = self._start_servers()
        variables = {
            **stack.env(),
            "FRAUD_MODEL": str(self._folder / "model"),
            # The example rules of the checkout; an installed package has none.
            "FRAUD_RULES": str(_RULES) if _RULES.is_dir() else "",
            "FRAUD_PAN_KEY": secrets.token_hex(32),
            **(console_variables(self._folder) if keep else {}),
        }
        self._train(variables)
        keeper = Keeper()
        self._running.callback(keeper.close)
        roles = self._start_roles(keeper, variables)
        try:
            found = self._play(variables)
        except BaseException:
            self._console.print(f"[dim]logs of the roles: {', '.join(str(role.log) for role in roles)}[/dim]")
            raise
        self._console.print()
        self._console.print(summary(found))
        wrong = problems(found)
        if wrong:
            raise DemoError("the demo does not add up:\n  " + "\n  ".join(wrong[:20]))
        self._console.print(
            "[green]Every count adds up: nothing lost, every transaction answered and indexed once.[/green]"
        )
        if keep:
            self._step("Starting the review console")
            console, login = start_console(keeper, variables, self._folder)
            demo_kept.keep(stack, keeper, [*roles, console], variables, login)
            self._running.pop_all()
            demo_kept.print_addresses(self._console)
        else:
            self._console.print(
                f"[dim]Stopping everything ... (demo took {time.monotonic() - self._begun_s:.0f} s)[/dim]"
            )

    def _start_servers(self) -> Stack:
        self._step("Starting Kafka, Redis and OpenSearch (the first time, they are downloaded)")
        stack = Stack(self._folder / "servers")
        self._running.callback(stack.stop)
        stack.start(lambda line: self._console.print(f"  {line}", markup=False, highlight=False))
        return stack

    def _train(self, variables: dict[str, str]) -> None:
        self._command(variables, "setup")
        self._step(f"Making a history of {TRANSACTIONS:,} transactions, five months of {CARDS:,} cards")
        size = ("--transactions", str(TRANSACTIONS), "--cards", str(CARDS))
        self._command(variables, "generate", *size, "--seed", "1", "--out", "history")
        self._step("Training a model on it; this is what it catches in weeks that it has not seen")
        self._command(variables, "train", "--history", "history", "--out", "model", show=True)

    def _start_roles(self, keeper: Keeper, variables: dict[str, str]) -> list[Role]:
        self._step("Starting the roles: `fraudstream score` and `fraudstream index`")
        roles = [Role(name, keeper, variables, self._folder) for name in ("score", "index")]
        for role in roles:
            role.wait_ready()
            self._say(f"{role.name}: ready, health at {role.url}/health")
        return roles

    def _play(self, variables: dict[str, str]) -> Findings:
        kafka = {"bootstrap.servers": variables["FRAUD_KAFKA_BOOTSTRAP"]}
        start_ms = time.time_ns() // 1_000_000 - _DAY_MS - 60_000
        script = scenario(start_ms, SEED, span_ms=_DAY_MS)
        self._step(f"Playing a day of {len(script):,} transactions in {PLAY_S:.0f} seconds, five attacks among them")
        self._say(f"{'card':<6}{'what it is':<18}{'amount':>8}  {'outcome':<7} score why")
        by_id = {planned.event.transaction["transaction_id"]: planned for planned in script}
        publisher, sent = Publisher(kafka, "transactions"), Sent()
        watch = Watch(kafka, lambda answer: self._tell(by_id.get(answer.transaction_id), answer, sent))
        self._cleanup.callback(watch.close)
        with self._bar(len(script)) as (bar, task):
            play(
                script,
                publisher,
                sent,
                seconds=PLAY_S,
                progress=lambda done: bar.update(task, completed=done, answered=len(watch.answers)),
            )
        publish_card_number(publisher, sent, datetime.now(UTC).isoformat())
        watch.wait_for(sent.total, _ANSWERED_S)
        burst_part = self._burst(publisher, sent, watch, start_ms)
        watch.check()
        indexed = self._wait_indexed(variables["FRAUD_OPENSEARCH_URL"], len(watch.answers))
        return Findings.of(script, sent, watch, indexed, burst_part)

    def _burst(self, publisher: Publisher, sent: Sent, watch: Watch, start_ms: int) -> Burst:
        self._step(f"A burst: {BURST:,} transactions at full speed")
        records = burst(BURST, start_ms, _DAY_MS, _BURST_CARDS)
        begun_s = time.monotonic()
        publish_burst(records, publisher, sent)
        watch.wait_for(sent.total, _ANSWERED_S)
        ids = frozenset(transaction_id for transaction_id, _, _ in records)
        received_s = [watch.answers[one].received_s for one in ids if one in watch.answers]
        seconds = max(received_s, default=time.monotonic()) - begun_s
        self._say(f"{len(received_s):,} outcomes in {seconds:.1f} s")
        return Burst(ids, seconds)

    def _wait_indexed(self, url: str, wanted: int) -> int:
        """Count documents until they are as many as wanted, or no more come."""
        self._say("waiting for the last documents in OpenSearch")
        deadline_s = time.monotonic() + _INDEXED_S
        while (count := _count_documents(url)) != wanted and time.monotonic() < deadline_s:
            time.sleep(_POLL_S)
        return count

    def _tell(self, planned: ScenarioEvent | None, answer: Answer, sent: Sent) -> None:
        """A line about an outcome that belongs to the story, and one more where an attack is caught."""
        if planned is None or planned.part == "background":
            return
        transaction, label, outcome = planned.event.transaction, planned.event.label, answer.fraud.outcome
        # Letters in the order in which the attacks begin.
        number = None if label.attack_id is None else self._attacks.setdefault(label.attack_id, len(self._attacks))
        attack = "" if number is None else f"attack {ascii_uppercase[number]}"
        what = f"{attack}, no. {label.attack_position}" if attack else "one-off purchase"
        colour = {"approve": "green", "review": "yellow"}.get(outcome, "red")
        why = answer.fraud.reasons[0].text if answer.fraud.reasons else ""
        self._console.print(
            f"  {transaction['card_id'][-4:]}  {what:<16}  {transaction['amount']:>8}  "
            f"[{colour}]{outcome:<7}[/{colour}] {answer.fraud.score:>5} [dim]{why}[/dim]",
            highlight=False,
            no_wrap=True,
            overflow="ellipsis",
        )
        if attack and outcome in FLAGGED and attack not in self._caught:
            self._caught.add(attack)
            took_ms = (answer.received_s - sent.at_s[answer.transaction_id]) * 1000
            where = f"{attack} caught at its transaction {label.attack_position}, {took_ms:.0f} ms after it was sent"
            self._console.print(f"  [bold red]--->  {where}[/bold red]", highlight=False)

    def _command(self, variables: dict[str, str], *words: str, show: bool = False) -> None:
        self._console.file.flush()
        run_command(list(words), variables, self._folder, show=show, columns=self._console.width)

    @contextmanager
    def _bar(self, total: int) -> Iterator[tuple[Progress, TaskID]]:
        columns = (
            TextColumn("  published"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[answered]} answered"),
        )
        with Progress(*columns, console=self._console, transient=True) as bar:
            yield bar, bar.add_task("play", total=total, answered=0)

    def _step(self, title: str) -> None:
        self._console.print(
            f"[bold cyan]{time.monotonic() - self._begun_s:4.0f} s  {title}[/bold cyan]", highlight=False
        )

    def _say(self, line: str) -> None:
        self._console.print(f"  {line}", highlight=False, markup=False)


def _count_documents(url: str) -> int:
    try:
        with urllib.request.urlopen(f"{url}/processed_transactions/_refresh", data=b"", timeout=30):  # noqa: S310
            pass
        with urllib.request.urlopen(f"{url}/processed_transactions/_count", timeout=30) as answer:  # noqa: S310
            return int(json.load(answer)["count"])
    except urllib.error.HTTPError as error:
        if error.code == 404:  # no document yet, so no index
            return 0
        raise DemoError(f"OpenSearch does not count its documents: {error}") from error


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """Let SIGTERM unwind the stack as Ctrl-C does, so that nothing is left running."""

    def end(number: int, _frame: FrameType | None) -> None:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=_WIDTH)
