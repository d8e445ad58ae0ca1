"""Faults of the model folder, and faults that lie in the traffic alone."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

from faults.fault import Fault, FaultError
from faults.site import Site
from scoring.manifest import MODEL_FILE

_REFUSED: Final = 66


class ModelBroken(Fault):
    """A worker is stopped, its model is broken, and it must refuse to start until the model is mended.

    Args:
        damage: what is done to the model folder.
    """

    def __init__(self, damage: Callable[[Path], None]) -> None:
        self._damage = damage
        self._code: int | None = None

    def prepare(self, site: Site) -> None:
        """A model folder of the row's own."""
        _own_model(site)

    def inject(self, site: Site) -> None:
        """Stop, break, start; wait for the refusal."""
        (worker,) = site.fleet.running("score")
        site.fleet.dismiss(worker)
        self._damage(Path(site.variables["FRAUD_MODEL"]))
        self._code = site.fleet.start("score").wait()

    def heal(self, site: Site) -> None:
        """Mend the model and start."""
        folder = Path(site.variables["FRAUD_MODEL"])
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(site.models[0], folder)
        site.fleet.start("score")

    def complaints(self, site: Site) -> list[str]:
        """It was refused with its exit code, and no supervisor tried again."""
        good = self._code == _REFUSED and site.fleet.ends in ([], [("score", _REFUSED)])
        return [] if good else [f"the start ended with {self._code}; {site.fleet.ends}"]


class ModelSwapped(Fault):
    """The model folder is replaced while the worker runs; the next worker takes the new one.

    Args:
        other: folder of the new model.
    """

    def __init__(self, other: Callable[[Site], Path]) -> None:
        self._other = other

    def prepare(self, site: Site) -> None:
        """A model folder of the row's own."""
        _own_model(site)

    def inject(self, site: Site) -> None:
        """Swap the files in two steps, and replace the worker."""
        other = self._other(site)
        site.models.append(other)
        folder = Path(site.variables["FRAUD_MODEL"])
        shutil.rmtree(folder)
        shutil.copytree(other, folder)
        (worker,) = site.fleet.running("score")
        if code := site.fleet.dismiss(worker):
            raise FaultError(f"the worker ended with {code} when it was told to stop")
        site.fleet.start("score")


class InTheTraffic(Fault):
    """Nothing breaks but what is sent."""

    def inject(self, site: Site) -> None:
        """It is in the traffic all the time."""


class Poisoned(InTheTraffic):
    """Some transactions make scoring fail, always: they are dead-lettered, and what came with them is answered."""

    def prepare(self, site: Site) -> None:
        """Every worker, also one that is started again, fails at them."""
        site.fleet.options = ("--poison",)


def removed(folder: Path) -> None:
    """The model folder is gone."""
    shutil.rmtree(folder)


def truncated(folder: Path) -> None:
    """The trees are cut short."""
    trees = folder / MODEL_FILE
    trees.write_bytes(trees.read_bytes()[:1000])


def _own_model(site: Site) -> None:
    folder = site.folder / "model"
    shutil.copytree(site.models[0], folder)
    site.variables["FRAUD_MODEL"] = str(folder)
