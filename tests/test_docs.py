"""The documents say what is there: features, links, commands, variables, reasons, codes and metrics."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
import typer.main

from console.metrics import ConsoleMetrics
from features import errors
from features.catalogue import FEATURES
from features.wire import WireTransaction
from fraudstream.cli import app
from scoring.outcome import Fraud, Outcome
from sinks.deadletter import DeadLetter, Reason
from sinks.topics import topic_configs
from streams.beside.metrics import DeadLetterMetrics, LabelMetrics
from streams.settings import PREFIX, Settings
from streams.watch.health import Health
from streams.watch.metrics import AlertMetrics, IndexMetrics, ScoreMetrics
from streams.watch.observed import State
from streams.watch.policy_metrics import PolicyMetrics
from streams.watch.stages import INDEX_STAGES, SCORE_STAGES

ROOT = Path(__file__).resolve().parents[1]
DOCS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^ *```[a-z]*\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
SPAN = re.compile(r"`([^`\n]+)`")
# Files that a document speaks of and a clone does not have.
MADE_LATER = re.compile(r"^(?:\.venv|\.stack)\b")
COMMAND_LINE = typer.main.get_command(app)
COMPOSE_VARIABLES = set(re.findall(rf"{PREFIX}[A-Z_]+", (ROOT / "docker-compose.yml").read_text()))


each_doc = pytest.mark.parametrize("doc", DOCS, ids=lambda doc: str(doc.relative_to(ROOT)))


def read(name: str) -> str:
    return (ROOT / name).read_text()


def code_of(doc: Path) -> Iterator[str]:
    """Everything that stands in a document as code: lines of blocks, and spans of the prose."""
    text = doc.read_text()
    for block in FENCE.findall(text):
        yield from block.splitlines()
    yield from SPAN.findall(FENCE.sub("", text))


def anchors(doc: Path) -> set[str]:
    """Anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", doc.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def section(name: str, heading: str) -> str:
    """What stands under a heading, up to the next one."""
    return re.split(r"^#+ ", read(name).split(f"# {heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def first_cells(table: str) -> list[str]:
    """First cells of the rows of a table, its head left out."""
    return [row.split("|")[1].strip() for row in table.splitlines() if row.startswith("|")][2:]


def test_the_catalogue_is_listed_as_it_is():
    rows = [row for row in read("docs/features.md").splitlines() if row.startswith("| `")]

    assert rows == [f"| `{f.name}` | {f.dtype} | {f.meaning} | `{f.code}` |" for f in FEATURES]


@each_doc
def test_links_lead_somewhere(doc):
    for target in LINK.findall(doc.read_text()):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        linked = (doc.parent / path).resolve() if path else doc
        assert linked.exists(), f"{doc.name}: {target}"
        assert not anchor or anchor in anchors(linked), f"{doc.name}: {target}"


def test_every_document_is_linked():
    linked = {(doc.parent / t.partition("#")[0]).resolve() for doc in DOCS for t in LINK.findall(doc.read_text())}

    assert not [str(d.relative_to(ROOT)) for d in DOCS if d.name != "README.md" and d not in linked]


@each_doc
def test_files_that_are_named_exist(doc):
    rooms = "|".join(sorted(p.name for p in ROOT.iterdir() if p.is_dir() and not p.name.startswith(".")))
    named = re.compile(rf"(?<![\w./{{-])(?:{rooms})/[\w./-]*\w(?:\.\w+)?/?")
    for code in code_of(doc):
        for path in named.findall(code):
            assert MADE_LATER.match(path) or (ROOT / path).exists(), f"{doc.name}: {path}"


@each_doc
def test_make_targets_exist(doc):
    targets = set(re.findall(r"^([a-z]+):", read("Makefile"), re.MULTILINE))
    for code in code_of(doc):
        for target in re.findall(r"(?:^|[;&|] *)make ([a-z]+)", code):
            assert target in targets, f"{doc.name}: make {target}"


@each_doc
def test_commands_and_their_options_exist(doc):
    for code in code_of(doc):
        for line in re.findall(r"(?:^|[\s/(=;&|])fraudstream((?: +[^\s;&|#)]+)+)", code):
            assert_is_a_command(doc, line.split())


def assert_is_a_command(doc: Path, words: list[str]) -> None:
    command: Any = COMMAND_LINE
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        name = words.pop(0)
        assert name in command.commands, f"{doc.name}: fraudstream {name}"
        command = command.commands[name]
    options = {option for p in command.params for option in (*p.opts, *p.secondary_opts)} | {"--help", "-h"}
    for word in words:
        option = word.partition("=")[0]
        assert not option.startswith("-") or option in options, f"{doc.name}: {command.name} {option}"


@each_doc
def test_variables_exist(doc):
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields} | COMPOSE_VARIABLES
    for name in re.findall(rf"\b{PREFIX}[A-Z_]*[A-Z]\b(?!_?\*)", doc.read_text()):
        assert name in known, f"{doc.name}: {name}"


def test_the_contract_names_every_topic():
    assert first_cells(section("docs/contract.md", "Topics")) == [f"`{topic}`" for topic in topic_configs(0)]


def test_the_contract_names_every_reason_of_a_dead_letter():
    reasons = re.findall(r"^\| `(\w+)` \| (?:is|has|lacks) ", section("docs/contract.md", "Dead letters"), re.MULTILINE)

    assert sorted(reasons) == sorted(get_args(Reason))


@pytest.mark.parametrize(
    ("heading", "prefix", "record"),
    [
        ("Transaction", "", WireTransaction),
        ("Outcome", "", Outcome),
        ("Outcome", "fraud.", Fraud),
        ("Dead letters", "", DeadLetter),
    ],
)
def test_the_contract_names_every_field(heading: str, prefix: str, record: type[msgspec.Struct]):
    named = {span for cell in first_cells(section("docs/contract.md", heading)) for span in SPAN.findall(cell)}
    wanted = {f"{prefix}{field.encode_name}" for field in msgspec.structs.fields(record)} - {"fraud"}

    assert wanted <= named
    if prefix:
        assert wanted == {name for name in named if name.startswith(prefix)}


def test_every_exit_code_has_its_row():
    def tree(error: type[errors.FraudstreamError]) -> Iterator[type[errors.FraudstreamError]]:
        yield error
        for child in error.__subclasses__():
            yield from tree(child)

    listed = {int(cell) for cell in first_cells(section("docs/operations.md", "Exit codes"))}

    assert {error.exit_code for error in tree(errors.FraudstreamError)} <= listed


def test_the_metrics_are_those_of_the_code():
    roles = [Health("score"), Health("index"), Health("alert")]
    ScoreMetrics(roles[0].registry)
    IndexMetrics(roles[1].registry)
    LabelMetrics(roles[1].registry)
    DeadLetterMetrics(roles[1].registry)
    AlertMetrics(roles[2].registry, ["desk"])
    ConsoleMetrics(roles[2].registry)
    PolicyMetrics(roles[0].registry, "score")
    families = [family for role in roles for family in role.registry.collect() if family.name.startswith("fraud_")]
    served = {f"{family.name}{'_total' * (family.type == 'counter')}" for family in families}
    cells = first_cells(section("docs/operations.md", "Health and metrics"))

    assert {name for cell in cells for name in SPAN.findall(cell) if name.startswith("fraud_")} == served


def test_the_stages_are_those_of_the_code():
    cells = first_cells(section("docs/operations.md", "Health and metrics"))
    named = [name for cell in cells for name in SPAN.findall(cell)]

    assert [name for name in named if name in {*SCORE_STAGES, *INDEX_STAGES}] == list(
        dict.fromkeys((*SCORE_STAGES, *INDEX_STAGES))
    )


def test_the_states_of_health_are_those_of_the_code():
    cells = first_cells(section("docs/operations.md", "Health and metrics"))

    assert {f"`{state}`" for state in get_args(State)} <= set(cells)
