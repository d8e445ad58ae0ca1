"""Trees as tables of exact Shapley contributions, made once when a model is loaded.

What TreeSHAP says of one leaf depends on nothing but which of the features on its path lead a row towards it. So all
answers can be made beforehand, one for each pattern: the idea of Fast TreeSHAP v2 (Yang, "Fast TreeSHAP: Accelerating
SHAP Value Computation for Trees", arXiv:2109.09847). Here neighbouring leaves share a table: a *group* is a part of a
tree with the path to it; each of its splits is a test, and the answers to the tests, as bits, name a line of the table.

For a leaf of value v with the features 1..d on its path, let o_i be 1 where the row passes all splits on feature i and
0 otherwise, and z_i the share of the training weight that passes them. Feature i then adds (path-dependent TreeSHAP)

    v (o_i - z_i) sum over k of k! (d-1-k)! / d! [t^k] prod over j != i of (z_j + o_j t)
    = v (o_i - z_i) integral from 0 to 1 of prod over j != i of (o_j t + z_j (1 - t)) dt

The integrand is a polynomial of degree d - 1, so Gauss' rule of four points is exact up to eight features.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from math import sqrt
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

MOST_DEPTH: Final = 8
"""Deeper trees have too many patterns, and the rule of four points would not do."""
MOST_BYTES: Final = 32 << 20
"""Of all tables of a model."""

_TESTS: Final = 7
"""Of a group, where its path alone has no more: larger parts of a tree would have larger tables, and fewer of them."""
_AT_ONCE: Final = 1 << 17
"""Numbers in a step's arrays: they shall stay in the processor's cache."""
_INNER: Final = sqrt(3 / 7 - 2 / 7 * sqrt(6 / 5))
_OUTER: Final = sqrt(3 / 7 + 2 / 7 * sqrt(6 / 5))
_GAUSS: Final = tuple(
    ((1 + side * point) / 2, (18 + sign * sqrt(30)) / 72)
    for point, sign in ((_INNER, 1), (_OUTER, -1))
    for side in (-1, 1)
)
"""Points of the interval from 0 to 1 and their weights."""


class Tables(msgspec.Struct, frozen=True, eq=False):
    """The tables of a model; all arrays are flat, of one group after the other.

    Attributes:
        features: columns of a row.
        base: what the last column of the contributions is: the mean of the trees over the training rows.
        tests: number of tests of each group, uint8.
        targets: number of targets of each group, uint8.
        columns: column that each test compares, int32.
        splits: what it compares with, float32: less goes left.
        missing_left: whether a missing value goes left, uint8.
        features_of: column of each target, int32.
        values: of each group 2^tests lines with a number for each target, float64; the first test is the lowest bit of
            a line's number, and set where the row goes left.
    """

    features: int
    base: float
    tests: NDArray[np.uint8]
    targets: NDArray[np.uint8]
    columns: NDArray[np.int32]
    splits: NDArray[np.float32]
    missing_left: NDArray[np.uint8]
    features_of: NDArray[np.int32]
    values: Doubles


class _Tree:
    """A tree in the model's JSON form, looked through once.

    Attributes:
        left, right: of each node the child; of a leaf -1.
        columns, splits, missing_left: of each split; `splits` of a leaf is its value.
        share: of each node but the root, the part of its parent's training weight that goes to it.
        below: splits from each node on downwards.
        mean: of the leaves over the training weight.
    """

    def __init__(self, form: Mapping[str, Any]) -> None:
        self.left: list[int] = form["left_children"]
        self.right: list[int] = form["right_children"]
        self.columns: list[int] = form["split_indices"]
        self.splits: list[float] = np.array(form["split_conditions"], np.float32).tolist()
        self.missing_left: list[int] = form["default_left"]
        self.share = [1.0] * len(self.left)
        self.below = [0] * len(self.left)
        self._weight: list[float] = form["sum_hessian"]
        self.mean = self._look(0, 0)

    def _look(self, node: int, depth: int) -> float:
        """The mean of the leaves below a node; fills `share` and `below`."""
        if self.left[node] < 0:
            return self.splits[node]
        if depth == MOST_DEPTH:
            raise ValueError("a tree is too deep")
        mean, self.below[node] = 0.0, 1
        for child in (self.left[node], self.right[node]):
            self.share[child] = self._weight[child] / self._weight[node]
            mean += self.share[child] * self._look(child, depth + 1)
            self.below[node] += self.below[child]
        return mean


class _Leaf(msgspec.Struct, frozen=True):
    """A leaf, and at each split of its path the child that leads to it."""

    node: int
    path: dict[int, int]


class _Group(msgspec.Struct, frozen=True):
    """Splits of a tree that are tested together, the leaves below them, and the columns that are tested."""

    tree: _Tree
    tests: list[int]
    leaves: list[_Leaf]
    targets: list[int]

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of tests and of targets."""
        return len(self.tests), len(self.targets)

    @property
    def size(self) -> int:
        """Numbers in the table."""
        return len(self.targets) << len(self.tests)


def tables_of(forms: Sequence[Mapping[str, Any]], features: int, base_margin: float) -> Tables:
    """The tables of trees.

    Args:
        forms: trees of numeric splits, as in the model's JSON form.
        features: columns of a row.
        base_margin: what the trees' sum begins with.

    Raises:
        ValueError: a tree is too deep, has splits without weight, or the tables would be too large.
    """
    try:
        trees = [_Tree(form) for form in forms]
    except ZeroDivisionError as exc:
        raise ValueError("a split has no training weight") from exc
    groups = sorted((group for tree in trees for group in _groups(tree)), key=lambda group: group.shape)
    if sum(group.size for group in groups) * np.dtype(np.float64).itemsize > MOST_BYTES:
        raise ValueError("the tables would be too large")
    tests = [(group.tree, node) for group in groups for node in group.tests]
    return Tables(
        features=features,
        base=base_margin + sum(tree.mean for tree in trees),
        tests=np.array([len(group.tests) for group in groups], np.uint8),
        targets=np.array([len(group.targets) for group in groups], np.uint8),
        columns=np.array([tree.columns[node] for tree, node in tests], np.int32),
        splits=np.array([tree.splits[node] for tree, node in tests], np.float32),
        missing_left=np.array([tree.missing_left[node] for tree, node in tests], np.uint8),
        features_of=np.array([column for group in groups for column in group.targets], np.int32),
        values=np.concatenate([np.empty(0), *(_values(chunk).ravel() for chunk in _chunks(groups))]),
    )


def _groups(tree: _Tree) -> list[_Group]:
    """The groups of a tree: together they hold each leaf once; a tree of one leaf has none."""
    if not tree.below[0]:
        return []
    return [
        _Group(tree, tests, leaves, list(dict.fromkeys(tree.columns[node] for node in tests)))
        for tests, leaves in _cut(tree, 0, {})
    ]


def _cut(tree: _Tree, node: int, path: dict[int, int]) -> list[tuple[list[int], list[_Leaf]]]:
    """Tests and leaves of the groups that a split and all below it make.

    Args:
        tree: the tree.
        node: the split.
        path: to it, as of a leaf.
    """
    if tree.below[node] == 1 or len(path) + tree.below[node] <= _TESTS:
        leaves = list(_leaves(tree, node, path))
        return [(list(dict.fromkeys(split for leaf in leaves for split in leaf.path)), leaves)]
    found, single = [], []
    for child in (tree.left[node], tree.right[node]):
        if tree.below[child]:
            found += _cut(tree, child, {**path, node: child})
        else:
            single.append(_Leaf(child, {**path, node: child}))
    # A group of the other side tests all that is on the path to a leaf beside it.
    found[0][1].extend(single)
    return found


def _leaves(tree: _Tree, node: int, path: dict[int, int]) -> Iterator[_Leaf]:
    """The leaves below a node."""
    if not tree.below[node]:
        yield _Leaf(node, path)
        return
    for child in (tree.left[node], tree.right[node]):
        yield from _leaves(tree, child, {**path, node: child})


def _chunks(groups: Sequence[_Group]) -> Iterator[list[_Group]]:
    """Neighbours of the same shape, a few at a time."""
    for _, alike in groupby(groups, key=lambda group: group.shape):
        of_shape = list(alike)
        step = max(1, _AT_ONCE // (of_shape[0].size * max(len(group.leaves) for group in of_shape)))
        for start in range(0, len(of_shape), step):
            yield of_shape[start : start + step]


def _values(groups: Sequence[_Group]) -> Doubles:
    """The tables of groups of one shape: (groups, lines, targets)."""
    tests, targets = groups[0].shape
    leaves = [(group, leaf) for group in groups for leaf in group.leaves]
    # The child on the leaf's path, and 0, which is nobody's child, where the test is not on it.
    towards = [[leaf.path.get(node, 0) for node in group.tests] for group, leaf in leaves]
    goes_left = np.array([
        [child == group.tree.left[node] for node, child in zip(group.tests, children, strict=True)]
        for (group, _), children in zip(leaves, towards, strict=True)
    ])  # fmt: skip
    shares = np.array(
        [[group.tree.share[child] for child in children] for (group, _), children in zip(leaves, towards, strict=True)]
    )
    is_asked = np.array(towards) > 0
    target_of = np.array([
        [group.targets.index(group.tree.columns[node]) for node in group.tests] for group in groups
    ]).repeat([len(group.leaves) for group in groups], axis=0)  # fmt: skip
    line = np.arange(1 << tests)
    passes = np.ones((targets, len(leaves), len(line)), np.bool_)
    share = np.ones((targets, len(leaves), 1))
    row = np.arange(len(leaves))
    for test in range(tests):
        asked, left = is_asked[:, test, np.newaxis], goes_left[:, test, np.newaxis]
        passes[target_of[:, test], row] &= ~asked | (left == (line >> test & 1))
        share[target_of[:, test], row, 0] *= shares[:, test]
    value = np.array([group.tree.splits[leaf.node] for group, leaf in leaves])
    added = (passes - share) * _integral(passes, share) * value[:, np.newaxis]
    begin = np.cumsum([0, *(len(group.leaves) for group in groups[:-1])])
    return np.ascontiguousarray(np.add.reduceat(added, begin, axis=1).transpose(1, 2, 0))


def _integral(passes: NDArray[np.bool_], share: Doubles) -> Doubles:
    """Of each target the integral of the product over all others.

    A feature that is not on a leaf's path passes with a share of 1, and so has no part in any product.

    Args:
        passes: o of the module's formula, shape (targets, leaves, lines).
        share: z of it, shape (targets, leaves, 1).
    """
    total = np.zeros(passes.shape)
    for point, weight in _GAUSS:
        factors = np.where(passes, point + share * (1 - point), share * (1 - point))
        before = np.full(passes.shape[1:], weight)
        after = [np.ones(passes.shape[1:])]
        for factor in factors[:0:-1]:
            after.append(after[-1] * factor)
        for target, factor in enumerate(factors):
            total[target] += before * after.pop()
            before = before * factor
    return total
