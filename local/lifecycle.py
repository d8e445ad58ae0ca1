"""`make lifecycle`: a model grows old, is found out, replaced by a better one, and every step of it is checked.

A new kind of attack begins in the middle of the reference's history. What follows is played end to end on real servers:
drift is raised, a new model is trained, shadows the old one, is shown to be better, promoted, and taken by the running
worker, and attacks are caught early again.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import time
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from local import demo_kept
from local.demo_processes import DemoError, Role, ask_command, run_command
from local.demo_watch import Watch
from local.keeper import Keeper
from local.lifecycle_traffic import DAY_MS, Caught, History, publish, publish_labels
from local.producer import Publisher
from local.stack import Stack

CARDS: Final = 700
TRANSACTIONS: Final = CARDS * 540
SEED: Final = 5
WARM_DAY, CALM_DAY, CHANGE_DAY, SHADOW_DAY, PROMOTION_DAY, LAST_DAY = 75, 82, 90, 106, 112, 117
_LABEL_DELAY_MS: Final = DAY_MS
_ANSWERED_S: Final = 180.0
_TAKEN_S: Final = 60.0
_POLL_S: Final = 0.2
_WIDTH: Final = 110
_CLEAR: Final = 0.05
_PLAN: Final = """\
# What `make lifecycle` plays in minutes takes weeks elsewhere.
gates:
  parity_transactions: 20000
  # Measured beside busy servers: room for noise.
  predict_cost_ratio: 2.0
retrain:
  maturity_days: 1
  gap_days: 1
  validation_days: 3
  test_days: 3
"""


def run_lifecycle() -> None:
    """Play it; raises DemoError where a step does not show what it must."""
    console = Console()
    console = console if console.is_terminal else Console(width=_WIDTH)
    root = demo_kept.home()
    root.mkdir(parents=True, exist_ok=True)
    with ExitStack() as cleanup:
        folder = Path(tempfile.mkdtemp(prefix="lifecycle-", dir=root))
        cleanup.callback(shutil.rmtree, folder, ignore_errors=True)
        _Play(console, folder, cleanup).run()


class _Play:
    """One run, in its folder."""

    def __init__(self, console: Console, folder: Path, cleanup: ExitStack) -> None:
        self._console, self._folder, self._cleanup = console, folder, cleanup
        self._begun_s = time.monotonic()
        self._sent = 0
        self._found: list[tuple[str, Caught]] = []

    def run(self) -> None:
        """All steps, each with its check."""
        self._start_servers()
        self._train_champion()
        self._start_roles()
        self._calm()
        self._change()
        self._retrain()
        self._compare()
        self._promote()
        self._after()
        self._roll_back()
        self._tell_the_story()

    def _start_servers(self) -> None:
        self._step("Starting Kafka, Redis and OpenSearch")
        stack = Stack(self._folder / "servers")
        self._cleanup.callback(stack.stop)
        stack.start(lambda line: self._console.print(f"  {line}", markup=False, highlight=False))
        (self._folder / "lifecycle.yaml").write_text(_PLAN, encoding="utf-8")
        self._variables = {
            **stack.env(),
            "FRAUD_MODEL": "models:/fraud@champion",
            "FRAUD_CHALLENGER": "models:/fraud@challenger",
            "FRAUD_REGISTRY_DIR": str(self._folder / "registry"),
            "FRAUD_LIFECYCLE": str(self._folder / "lifecycle.yaml"),
        }
        self._command("setup")

    def _train_champion(self) -> None:
        self._step(f"A history of {TRANSACTIONS:,} transactions; a new kind of attack begins on day {CHANGE_DAY}")
        size = ("--transactions", str(TRANSACTIONS), "--cards", str(CARDS), "--seed", str(SEED))
        self._command("generate", *size, "--change-on-day", str(CHANGE_DAY), "--out", "all")
        self._history = History(self._folder / "all")
        self._history.keep(0, CALM_DAY, self._folder / "past")
        self._step(f"Training the champion on days 0 to {CALM_DAY}, and registering it")
        self._command("train", "--history", "past", "--out", "model")
        made = self._ask("model", "register", "model", "--as", "champion", "--as", "challenger", "--json")
        self._champion = made["model"]
        self._check(set(made["aliases"]) == {"champion", "challenger"}, f"model 1 is {self._champion}, the champion")

    def _start_roles(self) -> None:
        self._step("Starting `fraudstream score` with FRAUD_MODEL=models:/fraud@champion")
        keeper = Keeper()
        self._cleanup.callback(keeper.close)
        self._role = Role("score", keeper, self._variables, self._folder)
        self._role.wait_ready()
        kafka = {"bootstrap.servers": self._variables["FRAUD_KAFKA_BOOTSTRAP"]}
        self._transactions, self._labels = Publisher(kafka, "transactions"), Publisher(kafka, "fraud_labels")
        self._watch = Watch(kafka, lambda _answer: None)
        self._cleanup.callback(self._watch.close)

    def _calm(self) -> None:
        self._step(f"Days {WARM_DAY} to {CHANGE_DAY}: what the champion knows")
        self._play(WARM_DAY, CALM_DAY)
        rows = self._play(CALM_DAY, CHANGE_DAY)
        self._note("before the change", CALM_DAY, CHANGE_DAY)
        seen = self._look(rows)
        self._check(not seen["alarms"], f"drift against training: no alarm in {seen['rows']:,} transactions")
        needed = self._ask("retrain", "--if-needed", "--look-rows", str(rows), "--json")
        self._check(needed["number"] is None, "no rule asks for a new model")

    def _change(self) -> None:
        self._step(f"Days {CHANGE_DAY} to {SHADOW_DAY}: the new attacks begin, chargebacks follow a day later")
        rows = self._rows = self._play(CHANGE_DAY, SHADOW_DAY)
        self._note("after the change", CHANGE_DAY, SHADOW_DAY)
        before, after = self._found[-2][1], self._found[-1][1]
        self._check(after.share < before.share - 0.2, "attacks are caught by their second transaction far less often")
        seen = self._look(rows, "--check", "--index", "--html", "drift.html", code=1)
        for alarm in seen["alarms"]:
            self._say(f"alarm: {alarm['kind']} of {alarm['subject']}: {alarm['told']}")
        blind = [alarm for alarm in seen["alarms"] if alarm["kind"] in {"psi", "ks", "surge"}]
        self._check(bool(blind), "drift is raised, from the traffic alone")
        self._check(any(a["kind"] == "recall" for a in seen["alarms"]), "and by the labels: recall has fallen")

    def _retrain(self) -> None:
        self._step("`fraudstream retrain --if-needed`")
        made = self._ask("retrain", "--if-needed", "--history", "past", "--look-rows", str(self._rows), "--json")
        self._challenger = made["model"]
        for reason in made["reasons"]:
            self._say(f"because of {reason}")
        self._check(made["number"] == 2 and not made["promoted"], f"model 2 is {self._challenger}, a challenger")
        self._wait("the running worker asks it beside the champion", lambda: self._changes("challenger") >= 1)

    def _compare(self) -> None:
        self._step(f"Days {SHADOW_DAY} to {PROMOTION_DAY}: both answer, the champion decides")
        rows = self._play(SHADOW_DAY, PROMOTION_DAY)
        self._note("in shadow", SHADOW_DAY, PROMOTION_DAY)
        found = self._ask(
            "model", "compare", "--outcomes", "topic", "--rows", str(rows), "--html", "shadow.html", "--json"
        )
        judged = found["judgement"]
        gain = judged["average_precision"]
        self._say(f"{found['rows']:,} answered by both, the same verdict in {found['agreement']:.2%}")
        for side in (judged["champion"], judged["challenger"]):
            second = side["recall_by_position"][1]
            self._say(f"{side['model']}: average precision {side['average_precision']:.3f}, 2nd caught {second:.0%}")
        told = f"the challenger is better by {gain['value']:+.3f} ({gain['low']:+.3f} to {gain['high']:+.3f})"
        self._check(gain["value"] > 0 and gain["p"] < _CLEAR and judged["p_frauds"] < _CLEAR, told)

    def _promote(self) -> None:
        self._step("`fraudstream model promote challenger`")
        decision = self._ask("model", "promote", "challenger", "--json")
        for gate in decision["gates"]:
            self._say(f"{'passed' if gate['passed'] else 'FAILED'}  {gate['name']}: {gate['told']}")
        self._check(decision["accepted"] and not decision["forced"], "promotion is accepted")
        self._wait("the running worker has taken it by hot change", lambda: self._model() == self._challenger)

    def _after(self) -> None:
        self._step(f"Days {PROMOTION_DAY} to {LAST_DAY}: the new champion decides")
        self._play(PROMOTION_DAY, LAST_DAY)
        self._note("after promotion", PROMOTION_DAY, LAST_DAY)
        before, after = self._found[1][1], self._found[-1][1]
        self._check(after.share > before.share + 0.2, "attacks are caught by their second transaction again")

    def _roll_back(self) -> None:
        self._step("`fraudstream model rollback`: the way back, if it had been wrong")
        self._command("model", "rollback", "--reason", "to show that it works")
        self._wait("the running worker decides by the old champion again", lambda: self._model() == self._champion)

    def _tell_the_story(self) -> None:
        table = Table(title="Caught by the second transaction of an attack", title_justify="left")
        for head in ("", "attacks", "caught by 2nd", "new kind", "caught by 2nd", "ordinary flagged"):
            table.add_column(head, justify="left" if not head else "right")
        for name, one in self._found:
            new = f"{one.new_by_second / one.new_attacks:.0%}" if one.new_attacks else "-"
            table.add_row(
                name, str(one.attacks), f"{one.share:.0%}", str(one.new_attacks), new, f"{one.flagged_ordinary:.2%}"
            )
        self._console.print(table)
        self._console.print(
            f"[green]Every step showed what it must. {self._sent:,} transactions, "
            f"{time.monotonic() - self._begun_s:.0f} s.[/green]"
        )

    def _play(self, first: int, stop: int) -> int:
        """Publish some days and their chargebacks, and wait until everything is answered; returns the transactions."""
        rows = self._history.days(first, stop)
        columns = (TextColumn("  published"), BarColumn(), MofNCompleteColumn())
        with Progress(*columns, console=self._console, transient=True) as bar:
            task = bar.add_task("play", total=len(rows))
            publish(rows, self._transactions, lambda done: bar.update(task, completed=done))
        self._sent += len(rows)
        if not self._watch.wait_for(self._sent, _ANSWERED_S):
            raise DemoError(f"{self._watch.seen:,} of {self._sent:,} transactions are answered; log: {self._role.log}")
        publish_labels(rows, self._labels, _LABEL_DELAY_MS)
        return len(rows)

    def _note(self, name: str, first: int, stop: int) -> None:
        found = self._history.caught(first, stop, self._watch.answers)
        self._found.append((name, found))
        new = f", of the new kind {found.new_by_second} of {found.new_attacks}" if found.new_attacks else ""
        self._say(f"{found.by_second} of {found.attacks} attacks caught by their second transaction{new}")

    def _look(self, rows: int, *options: str, code: int = 0) -> dict[str, Any]:
        return self._ask("watch", "--rows", str(rows), "--json", *options, code=code)

    def _ask(self, *words: str, code: int = 0) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(ask_command(list(words), self._variables, self._folder, code=code))
        return answer

    def _command(self, *words: str) -> None:
        run_command(list(words), self._variables, self._folder, show=False, columns=self._console.width)

    def _model(self) -> str:
        found = re.search(r'^fraud_build_info\{.*model="([^"]*)"', self._metrics(), re.MULTILINE)
        return found.group(1) if found else ""

    def _changes(self, part: str) -> float:
        found = re.search(rf'^fraud_policy_changes_total\{{part="{part}"\}} (\S+)', self._metrics(), re.MULTILINE)
        return float(found.group(1)) if found else 0.0

    def _metrics(self) -> str:
        with urllib.request.urlopen(f"{self._role.url}/metrics", timeout=5) as answer:  # noqa: S310 - our own address
            return str(answer.read().decode())

    def _wait(self, what: str, done: Callable[[], bool]) -> None:
        begun_s = time.monotonic()
        while not done():
            if time.monotonic() - begun_s > _TAKEN_S:
                raise DemoError(f"not within {_TAKEN_S:.0f} s: {what}; log: {self._role.log}")
            time.sleep(_POLL_S)
        self._check(True, f"{what}, after {time.monotonic() - begun_s:.1f} s")  # noqa: FBT003 - shown as the others

    def _check(self, holds: bool, what: str) -> None:  # noqa: FBT001 - an assertion
        if not holds:
            raise DemoError(f"this does not hold: {what}")
        self._console.print(f"  [green]ok[/green]  {what}", highlight=False)

    def _step(self, title: str) -> None:
        self._console.print(
            f"[bold cyan]{time.monotonic() - self._begun_s:4.0f} s  {title}[/bold cyan]", highlight=False
        )

    def _say(self, line: str) -> None:
        self._console.print(f"  {line}", highlight=False, markup=False)
