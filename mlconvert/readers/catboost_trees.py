"""The trees of a CatBoost model as the arrays of its own file.

CatBoost's JSON export nests trees that are not symmetric node by node; its .cbm file has one array of everything.
The schema is CatBoost's `catboost/libs/model/flatbuffers/model.fbs` and `features.fbs`.
"""

from __future__ import annotations

import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlconvert.errors import ConversionFailed
from mlconvert.formats.flatbuffer_wire import Table, root

if TYPE_CHECKING:
    import numpy as np

FORMAT = "FlabuffersModel_v1"  # spelt so in CatBoost
HEADER = 8  # 'CBM1' and the size of what follows

# The fields of TModelTrees and of TFloatFeature, in the order of the schema.
_DIMENSION, _SPLITS, _SIZES, _FLOATS, _LEAF_VALUES, _STEPS, _NODE_LEAVES = 0, 1, 2, 5, 8, 10, 11
_OTHER_FEATURES = {"categorical": 4, "one-hot": 6, "CTR": 7, "text": 12, "estimated": 13, "embedding": 18}
_HAS_NANS, _COLUMN, _BORDERS, _NAN_TREATMENT = 0, 2, 3, 5
_AS_TRUE = 2  # ENanValueTreatment: NaN is above every border


@dataclass(frozen=True)
class CatboostTrees:
    """T trees of S splits; of a symmetric tree each split is a level, else a node. B borders, L leaves, K outputs."""

    sizes: np.ndarray  # int32 [T]: the splits of each tree
    splits: np.ndarray  # int32 [S]: the border that each asks about
    border: np.ndarray  # float32 [B]
    column: np.ndarray  # int32 [B]: of the matrix that the model takes
    nan_is_above: np.ndarray  # bool [B]
    leaf_values: np.ndarray  # float64 [L, K]
    steps: np.ndarray  # uint16 [S, 2]: how far the left and the right child are; 0 where there is a leaf. Else empty
    node_leaves: np.ndarray  # int64 [S]: the leaf of a node that ends on a side, else -1. Empty in symmetric trees

    @property
    def symmetric(self) -> bool:
        return not len(self.steps)


def catboost_trees(model: Any, where: str) -> CatboostTrees:
    """The trees of a loaded model of numeric features. Raises ConversionFailed if its file is not of the known form."""
    with tempfile.TemporaryDirectory(prefix="mlconvert-") as folder:
        path = Path(folder) / "model.cbm"
        model.save_model(str(path))
        data = path.read_bytes()
    try:
        trees = _trees(data)
    except (ValueError, struct.error) as error:
        what = f"the CatBoost model is not of the form that is known here: {error}"
        raise ConversionFailed(what, where=where, hint="pip install 'catboost>=1.2.8,<1.3'") from error
    return trees


def _trees(data: bytes) -> CatboostTrees:
    import numpy as np

    core = root(data, HEADER)
    if core.text(0) != FORMAT:
        raise ValueError(f"its format is '{core.text(0)}', not {FORMAT}")
    trees = core.table(1)
    for kind, field in _OTHER_FEATURES.items():
        if trees.tables(field):
            raise ValueError(f"it has {kind} features")
    width = trees.number(_DIMENSION, "i", 0)
    floats = trees.tables(_FLOATS)
    borders = [feature.array(_BORDERS, "f4") for feature in floats]
    counts = [len(values) for values in borders]
    steps = trees.array(_STEPS, "u2", 2)
    node_values = trees.array(_NODE_LEAVES, "u4").astype(np.int64)
    if len(node_values) != len(steps):
        raise ValueError("the arrays of its nodes are not of equal length")
    node_values[(steps > 0).all(axis=1)] = -width
    if np.any(node_values % width):
        raise ValueError("a leaf begins in the middle of another")
    read = CatboostTrees(
        sizes=trees.array(_SIZES, "i4"),
        splits=trees.array(_SPLITS, "i4"),
        border=np.concatenate([np.empty(0, np.float32), *borders]),
        column=np.repeat(np.array([feature.number(_COLUMN, "i", -1) for feature in floats], np.int32), counts),
        nan_is_above=np.repeat(np.array([_above(feature) for feature in floats], bool), counts),
        leaf_values=trees.array(_LEAF_VALUES, "f8").reshape(-1, width),
        steps=steps,
        node_leaves=node_values // width,
    )
    _check(read)
    return read


def _above(feature: Table) -> bool:
    treated = bool(feature.number(_HAS_NANS, "?", False))
    return treated and feature.number(_NAN_TREATMENT, "b", 0) == _AS_TRUE


def _check(trees: CatboostTrees) -> None:
    splits, leaves = len(trees.splits), len(trees.leaf_values)
    if int(trees.sizes.sum()) != splits:
        raise ValueError("its trees have not as many splits as they state")
    if trees.symmetric and int((1 << trees.sizes.astype("i8")).sum()) != leaves:
        raise ValueError("its trees have not as many leaves as they have splits for")
    if not trees.symmetric and (len(trees.steps) != splits or trees.node_leaves.max() >= leaves):
        raise ValueError("the arrays of its nodes do not fit each other")
    # The split of a node without children means nothing.
    asked = trees.splits if trees.symmetric else trees.splits[(trees.steps > 0).any(axis=1)]
    if len(asked) and not 0 <= int(asked.min()) <= int(asked.max()) < len(trees.border):
        raise ValueError("a split asks about a border that it does not have")
