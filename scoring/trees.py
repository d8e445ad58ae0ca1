"""A model's trees as columns: probabilities of a handful of rows, bit for bit those of XGBoost, in a third of the time.

XGBoost takes a quarter of a millisecond to begin, whatever is asked. That is nothing for a thousand rows, and most of
what a batch of one costs. Here all trees are descended at once, level by level, in numpy; the leaves are added in the
order of the trees in single precision, as XGBoost adds them, and the logistic function is that of the C library.
Whether that is so is tried on a sample when a model is loaded, and if it is not, XGBoost is asked for every row.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import json
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, cast

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray

from features.native import built

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

MOST_ROWS: Final = 8
"""More rows are faster in XGBoost than in numpy."""
MOST_ROWS_NATIVE: Final = 128
"""More rows are faster in XGBoost than in `_trees.c`."""

_SAMPLE: Final = 256
_OBJECTIVE: Final = "binary:logistic"
_TINY: Final = np.float32(1e-16)  # what XGBoost adds to the denominator
_ONE: Final = np.float32(1)


class _NativeTrees(Protocol):
    """The type in `_trees.c`."""

    def probabilities(self, rows: Floats, answers: Floats, /) -> None:
        """Fill in the probability of each row; raises ValueError where the shapes do not fit."""
        ...


class _Native(Protocol):
    """`scoring/_trees.c`."""

    def Trees(  # noqa: N802 - a class of the module
        self, features: int, depth: int, base: float, roots: Ints, following: Ints, columns: Ints, splits: Floats, /
    ) -> _NativeTrees:
        """The parts are copied and checked: a ValueError says what does not fit."""
        ...


NATIVE: Final = cast("_Native | None", built("scoring._trees"))


class _Library:
    """The two functions of the C library that XGBoost calls: numpy's own differ from them in the last bit."""

    def __init__(self, path: str) -> None:
        library = ctypes.CDLL(path)
        self.expf: Callable[[float], float] = _single(library.expf)
        self.logf: Callable[[float], float] = _single(library.logf)


def _single(function: Any) -> Callable[[float], float]:  # noqa: ANN401 - ctypes has no type of its own for it
    function.restype, function.argtypes = ctypes.c_float, [ctypes.c_float]
    return function  # type: ignore[no-any-return]  # as above


class Trees:
    """The trees of a binary logistic model.

    Args:
        learner: the `learner` of the model's JSON form.
        library: the C library.
        native: `_trees.c`; None: numpy.

    Attributes:
        most_rows: more of them are faster in XGBoost.

    Raises:
        ValueError: trees of another kind.
    """

    def __init__(self, learner: dict[str, Any], library: _Library, native: _Native | None = NATIVE) -> None:
        self._expf = library.expf
        self._features = int(learner["learner_model_param"]["num_feature"])
        trees = plain_trees(learner)
        sizes = [len(tree["left_children"]) for tree in trees]
        self._roots = np.concatenate(([0], np.cumsum(sizes)[:-1]))
        begin = np.repeat(self._roots, sizes)
        left, right, column = (
            np.concatenate([tree[name] for tree in trees]).astype(np.int64)
            for name in ("left_children", "right_children", "split_indices")
        )
        is_leaf = left < 0
        own = np.arange(len(left))
        # A leaf leads to itself, so that all trees take as many steps as the deepest. Right is 0, left is 1.
        self._next = np.stack([np.where(is_leaf, own, right + begin), np.where(is_leaf, own, left + begin)], 1).ravel()
        self._column = np.where(is_leaf, 0, column)
        # Of a leaf, its value.
        self._split = np.concatenate([tree["split_conditions"] for tree in trees]).astype(np.float32)
        self._depth = self._deepest(is_leaf)
        self._base_margin = np.float32(-library.logf(float(_ONE / base_score(learner) - _ONE)))
        self.most_rows = MOST_ROWS if native is None else MOST_ROWS_NATIVE
        self._native = None if native is None else self._in_c(native)

    def _in_c(self, native: _Native) -> _NativeTrees:
        roots, following, columns = (part.astype(np.int32) for part in (self._roots, self._next, self._column))
        return native.Trees(
            self._features, self._depth, float(self._base_margin), roots, following, columns, self._split
        )

    def _deepest(self, is_leaf: NDArray[np.bool_]) -> int:
        """Steps from a root to the farthest leaf."""
        level, depth = self._roots, 0
        while len(level := level[~is_leaf[level]]):
            level = np.concatenate((self._next[2 * level], self._next[2 * level + 1]))
            depth += 1
        return depth

    def probabilities(self, x: NDArray[np.float64] | Floats) -> Floats:
        """Probability of each row; `x` has shape (n, features) and no missing value, the result (n,)."""
        if self._native is None:
            return self._by_level(x)
        answers = np.empty(len(x), np.float32)
        self._native.probabilities(np.ascontiguousarray(x, np.float32), answers)
        return answers

    def _by_level(self, x: NDArray[np.float64] | Floats) -> Floats:
        rows = len(x)
        values = x.astype(np.float32).ravel()
        first = (np.arange(rows) * self._features)[:, np.newaxis]
        node = np.broadcast_to(self._roots, (rows, len(self._roots)))
        for _ in range(self._depth):
            node = self._next[2 * node + (values[first + self._column[node]] < self._split[node])]
        margin = np.empty((rows, len(self._roots) + 1), np.float32)
        margin[:, 0] = self._base_margin
        margin[:, 1:] = self._split[node]
        total = np.add.accumulate(margin, axis=1, dtype=np.float32)[:, -1]
        odds = np.array([self._expf(-one) for one in total.tolist()], np.float32)
        return np.asarray(_ONE / (odds + _ONE + _TINY), np.float32)


def learner_of(booster: xgb.Booster) -> dict[str, Any]:
    """What a booster is made of: the `learner` of its JSON form, empty where that has none."""
    form: dict[str, dict[str, Any]] = json.loads(bytes(booster.save_raw("json")))
    return form.get("learner", {})


def trees_of(booster: xgb.Booster, learner: dict[str, Any]) -> Trees | None:
    """The trees of a booster; None where they would not give XGBoost's very numbers.

    Args:
        booster: the model.
        learner: what it is made of.
    """
    found = ctypes.util.find_library("m")
    if found is None:
        return None
    try:
        trees = Trees(learner, _Library(found))
    except (KeyError, ValueError):
        return None
    sample = sample_of(trees._split, _SAMPLE, booster.num_features())  # noqa: SLF001 - of this module
    same = np.array_equal(trees.probabilities(sample), booster.inplace_predict(sample))
    return trees if same else None


def sample_of(splits: Floats, rows: int, features: int) -> NDArray[np.float64]:
    """Rows to try a model on: values that it splits at, a hair's breadth to either side, and anything else.

    Args:
        splits: of the model.
        rows: how many.
        features: columns of a row.
    """
    random = np.random.default_rng(0)
    chosen = random.choice(splits, (rows, features)).astype(np.float64)
    return np.asarray(chosen * random.choice([1, 1 - 1e-6, 1 + 1e-6, -10, 1000], (rows, features)), np.float64)


def plain_trees(learner: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The trees, if they are of the one kind that is known here.

    Raises:
        ValueError: they are not.
    """
    booster = learner["gradient_booster"]
    trees: list[dict[str, Any]] = booster["model"]["trees"]
    plain = booster["name"] == "gbtree" and learner["objective"]["name"] == _OBJECTIVE and bool(trees)
    if not plain or any(any(tree["split_type"]) for tree in trees):
        raise ValueError("trees of another kind")
    return trees


def base_score(learner: Mapping[str, Any]) -> np.float32:
    """The probability that the trees begin with; versions differ in whether it is a number or a list of one."""
    base = json.loads(learner["learner_model_param"]["base_score"])
    return np.float32(base[0] if isinstance(base, list) else base)
