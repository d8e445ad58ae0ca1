"""Rule files: what is read, what is refused and where, and when a version changes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from features.errors import RulesError
from scoring.rules.load import fingerprint, load_rules

ROOT = Path(__file__).resolve().parents[2]
CARD = "4111111111111111"
RULE = """
rules:
  - id: one
    when: amount > 100
    outcome: review
    reason: large
"""


@pytest.fixture
def write(tmp_path):
    def write(text: str, name: str = "rules.yaml") -> Path:
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def refusal(path: Path) -> str:
    with pytest.raises(RulesError) as caught:
        load_rules(path)
    return str(caught.value)


def test_everything_that_a_rule_may_say(write):
    rules = load_rules(
        write("""
mode: all_matched
thresholds: {review: 0.2, block: 0.9}
rules:
  - id: NO
    description: never seen by anybody
    when: |
      amount > 100
      AND country = 'NO'
    outcome: block
    priority: 7
    reason: "yes"
    enabled: false
    shadow: true
""")
    )

    (rule,) = rules.rules
    assert (rule.id, rule.outcome, rule.priority, rule.reason, rule.enabled, rule.shadow) == (
        "NO", "block", 7, "yes", False, True,
    )  # fmt: skip
    assert (rules.mode, rules.thresholds.review, rules.thresholds.block) == ("all_matched", 0.2, 0.9)


def test_defaults(write):
    rules = load_rules(write(RULE))

    (rule,) = rules.rules
    assert (rule.priority, rule.enabled, rule.shadow, rules.mode) == (100, True, False, "first_matched")
    assert rules.thresholds is None
    assert rules.columns == ("amount",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("rules: []", "neither a rule nor a threshold"),
        ("just text", ":1: names with values are expected"),
        ("rules: {a: 1}", "a list of rules is expected"),
        ("rules:\n  - 7\n", ":2: names with values are expected"),
        ("ruls: []", "there is no key ruls; did you mean rules?"),
        ("rules: [", "is no YAML"),
        ("a: 1\na: 2\n", ":2: a stands here a second time"),
        ("rules: &x []\nlists: *x\n", "anchors and aliases"),
        ("rules: !!python/object:os.system []", "tags (!) are not used"),
        ("[" * 40 + "]" * 40, "levels"),
        ("mode: any\n" + RULE, "mode: must be first_matched or all_matched"),
        (RULE + RULE.replace("rules:\n", "").lstrip("\n"), "another rule of this id, at "),
        (RULE.replace("id: one", "id: a b"), "a name has 1 to 64"),
        (RULE.replace("    reason: large\n", ""), "reason is missing"),
        (RULE.replace("large", f"card {CARD}"), "reason: holds a card number"),
        (RULE.replace("review", "decline"), "outcome: must be approve or review or block"),
        (RULE + "    priority: high\n", "priority: must be a whole number"),
        (RULE + "    priority: '7'\n", "priority: must be a whole number"),
        (RULE + "    enabled: yes\n", "enabled: must be true or false"),
        (RULE + "    when: x\n", "when stands here a second time"),
        (RULE.replace("amount > 100", "amout > 100"), ":4: rule one: when, character 1: there is no field amout"),
        (RULE.replace("amount > 100", "|\n      amount > 1\n      AND\n      amout > 2"), ":7: rule one: when, charac"),
        (RULE.replace("amount > 100", "|\n\n\n      amout > 2"), ":7: rule one: when, character 1"),
        (RULE.replace("amount > 100", "IN_LIST(country, 'x')"), "there is no list 'x'"),
        ("thresholds: {review: 0.9, block: 0.2}", "0 < review <= block"),
        ("thresholds: {review: .nan, block: 0.2}", "review: must be a number"),
        ("thresholds: {review: 0.5}", "block is missing"),
        ("thresholds: {costs: {review: 4}}", "decline is missing"),
        ("thresholds: {costs: {review: 4, decline: -1}}", "must be above 0"),
        ("lists: {a: {field: amount, values: ['1']}}", "field: must be"),
        ("lists: {a: {field: card_id}}", "a list needs"),
        ("lists: {a: {field: card_id, redis: true, values: [x]}}", "stand in one place"),
        ("lists: {'a b': {field: card_id, redis: true}}", "the name of a list"),
        (f"lists: {{a: {{field: card_id, values: [x, '{CARD}']}}}}", "value 2 is a card number"),
        ("lists: {a: {field: card_id, file: nowhere.txt}}", "nowhere.txt cannot be read"),
        ("lists: {a: {field: card_id, includes: [b]}}", "includes b, which is not there"),
        (
            "lists: {a: {field: card_id, includes: [b]}, b: {field: card_id, includes: [a]}}",
            "in a circle: a -> b -> a",
        ),
        ("lists: {a: {field: card_id, includes: [b]}, b: {field: country, values: [x]}}", "of another field or match"),
    ],
)
def test_what_is_refused_and_where(write, text, said):
    path = write(text)

    message = refusal(path)

    assert said in message
    assert message.startswith((f"{path}", "lists:", "there is"))
    assert CARD not in message


def test_one_reading_tells_everything(write):
    bad = "rules:\n" + "".join(f"  - {{id: r{n}, when: x{n} > 1, outcome: block, reason: r}}\n" for n in range(30))

    lines = refusal(write(bad)).splitlines()

    assert len(lines) == 21
    assert lines[-1] == "... and 10 more"
    assert all(f"rule r{n}: " in line for n, line in enumerate(lines[:20]))


def test_a_rule_that_is_off_is_checked_all_the_same(write):
    assert "no field amout" in refusal(write(RULE.replace("amount", "amout") + "    enabled: false\n"))


def test_bytes_that_are_no_text(tmp_path):
    (tmp_path / "bad.yaml").write_bytes(b"rules: \xff")

    assert "is not UTF-8" in refusal(tmp_path / "bad.yaml")
    assert "there is no such file" in refusal(tmp_path / "none.yaml")


def test_a_large_file_is_refused_before_it_is_read(write):
    assert "larger than 1 MiB" in refusal(write("#" * (1 << 20) + "\nrules: []"))


def test_a_folder_is_one_rule_set(write, tmp_path):
    write("mode: all_matched\n" + RULE, "b.yaml")
    write(RULE.replace("one", "two"), "a.yml")
    write("not: read", ".hidden.yaml")
    write("not read", "note.txt")

    rules = load_rules(tmp_path)

    assert [rule.id for rule in rules.rules] == ["two", "one"]
    assert rules.mode == "all_matched"


def test_what_stands_in_one_place_may_not_stand_in_two(write, tmp_path):
    write("mode: all_matched\nthresholds: {review: 0.1, block: 0.2}\n" + RULE, "a.yaml")
    write("mode: first_matched\nthresholds: {review: 0.1, block: 0.2}\n" + RULE, "b.yaml")

    message = refusal(tmp_path)

    assert "another file says all_matched" in message
    assert "another file gives thresholds too" in message
    assert "another rule of this id" in message


def test_an_empty_folder(tmp_path):
    assert "holds no file *.yaml" in refusal(tmp_path)


def test_a_version_names_what_decides(write):
    version = load_rules(write(RULE)).version

    assert version.startswith("rs-")
    assert len(version) == 15
    assert load_rules(write("# a note\n" + RULE + "    description: new\n", "other.yaml")).version == version
    for changed in (
        RULE.replace("100", "101"),
        RULE.replace("review", "block"),
        RULE.replace("large", "larger"),
        RULE + "    shadow: true\n",
        "mode: all_matched\n" + RULE,
        "thresholds: {review: 0.1, block: 0.2}\n" + RULE,
        "lists: {a: {field: country, values: [x]}}\n" + RULE,
    ):
        assert load_rules(write(changed)).version != version, changed


def test_a_version_holds_the_files_of_lists(write):
    path = write("lists: {a: {field: country, file: a.txt}}\n" + RULE)
    versions = []
    for text in ("NO\nSE\n", "# Norway\nSE\n\nNO\n", "NO\n"):
        write(text, "a.txt")
        versions.append(load_rules(path).version)

    assert versions[0] == versions[1] != versions[2]


def test_a_list_file_with_a_card_number_is_refused_by_its_line(write):
    write(f"x\n# {CARD}\n{CARD[:4]} {CARD[4:]}\n", "cards.txt")

    message = refusal(write("lists: {a: {field: card_id, file: cards.txt}}\n" + RULE))

    assert "cards.txt, line 3 is a card number" in message
    assert CARD[4:] not in message


def test_a_fingerprint_changes_with_what_is_read(write):
    write("NO\n", "a.txt")
    path = write("lists: {a: {field: country, file: a.txt}}\n" + RULE)
    rules = load_rules(path)
    first = fingerprint(path, rules)

    assert fingerprint(path, rules) == first
    write("NO\nSE\n", "a.txt")
    second = fingerprint(path, rules)
    write(RULE)
    third = fingerprint(path, rules)
    path.unlink()

    assert len({first, second, third, fingerprint(path, rules)}) == 4


def test_the_rules_to_start_from_can_be_loaded():
    rules = load_rules(ROOT / "rules")

    assert "burst" in {rule.id for rule in rules.rules}
    assert "blocked_cards" in rules.redis_lists


def test_the_examples_of_the_documentation_can_be_loaded(write):
    blocks = re.findall(r"^```yaml\n(.*?)^```$", (ROOT / "docs" / "rules.md").read_text(), re.DOTALL | re.MULTILINE)

    assert [bool(load_rules(write(block)).rules) for block in blocks] == [True, False, False]
