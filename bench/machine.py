"""Where figures come from: the machine and the versions."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Final

import msgspec
import psutil

from local.kafka import COORDINATES

_PACKAGES: Final = (
    "confluent-kafka",
    "faust-streaming",
    "hiredis",
    "msgspec",
    "numpy",
    "redis",
    "xgboost-cpu",
    "xgboost",
)


class Machine(msgspec.Struct, frozen=True):
    """A machine, as far as figures depend on it; memory in bytes, load as the system's one-minute average."""

    system: str
    processor: str
    cores: int
    memory_bytes: int
    load_before: float
    python: str
    kafka: str
    versions: dict[str, str]


def this_machine() -> Machine:
    """The machine that this runs on, now."""
    return Machine(
        system=f"{platform.system()} {platform.release()}",
        processor=_processor(),
        cores=len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 0,
        memory_bytes=psutil.virtual_memory().total,
        load_before=round(psutil.getloadavg()[0], 2),
        python=platform.python_version(),
        kafka=COORDINATES[0].rpartition(":")[2],
        versions={name: found for name in _PACKAGES if (found := _version(name))},
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except ModuleNotFoundError:  # the other flavour of XGBoost
        return ""


def _processor() -> str:
    described = Path("/proc/cpuinfo")
    if described.is_file():
        for line in described.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
