import pytest
from tests.faults.conftest import run  # noqa
from tests.faults.test_matrix import assert_good
def test_hang(run):
    r = run("alert channel hangs for 10 s", load_s=14.0)
    print(r)
    assert_good(r)
