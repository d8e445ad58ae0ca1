"""The first requests of a process are answered in several threads at once."""

from __future__ import annotations

import subprocess
import sys

_PROGRAM = """
import sys, threading
from sinks import bulk
sys.setswitchinterval(1e-6)
gate = threading.Barrier(8)
def first_answer():
    gate.wait()
    assert bulk._answers({"items": [{"index": {"status": 200}}]})[0].status == 200
threads = [threading.Thread(target=first_answer) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


def test_the_first_answers_may_come_at_once() -> None:
    """What msgspec makes of a type at its first use was made in two threads: a segmentation fault, now and then."""
    for _ in range(6):
        done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
