"""The example of the README, as it stands there, against a running `score` role."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from tests.streams.pipeline import Pipeline

README = Path(__file__).resolve().parents[2] / "README.md"


def test_the_example_publishes_a_transaction_and_prints_its_outcome(pipeline: Pipeline) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    for topic in ("transactions", "processed_transactions"):
        assert f'"{topic}"' in example
        example = example.replace(f'"{topic}"', f'"{pipeline.prefix}{topic}"')
    pipeline.start("score").wait_ready()

    done = subprocess.run(
        [sys.executable, "-c", example],
        env={**os.environ, **pipeline.variables}, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    assert (outcome["card_id"], outcome["amount_minor"], outcome["currency"]) == ("card-7", 1250, "EUR")
    assert outcome["fraud"]["outcome"] == "approve"
    assert outcome["fraud"]["features"]["num_trans_last_1w"] == 1
