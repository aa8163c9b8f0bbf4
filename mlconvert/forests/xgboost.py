"""XGBoost's boosters as the neutral model: float32 throughout, in the order in which its CPU predictor adds.

The rules are those of XGBoost 3.2: `src/predictor/cpu_predictor.cc` (base first, then tree after tree),
`src/common/categorical.h`, `src/gbm/gbtree.cc` (dart) and `src/objective/*` (what is made of a sum).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from mlconvert.errors import ConversionFailed
from mlconvert.forests.half import greatest_half
from mlconvert.forests.model import Forest, Link, LinkName, TreeModel
from mlconvert.readers import classical_outputs
from mlconvert.readers.xgboost_files import checked_trees, document_of, tree_model_of

if TYPE_CHECKING:
    from mlconvert.readers.xgboost_trees import XgboostTrees

# What each objective makes of a sum: `PredTransform` in XGBoost's src/objective.
LINKS: Mapping[str, LinkName] = {
    "binary:hinge": "step",
    "binary:logistic": "sigmoid",
    "binary:logitraw": "identity",
    "count:poisson": "exp",
    "multi:softmax": "softmax",
    "multi:softprob": "softmax",
    "rank:map": "identity",
    "rank:ndcg": "identity",
    "rank:pairwise": "identity",
    "reg:absoluteerror": "identity",
    "reg:gamma": "exp",
    "reg:logistic": "sigmoid",
    "reg:pseudohubererror": "identity",
    "reg:quantileerror": "identity",
    "reg:squarederror": "identity",
    "reg:squaredlogerror": "identity",
    "reg:tweedie": "exp",
    "survival:aft": "exp",
    "survival:cox": "exp",
}


def read_xgboost(booster: Any, where: str, *, trees: int | None = None) -> TreeModel:
    """The model that a loaded `xgboost.Booster` is; of its first `trees` trees only, if that is given.

    Binary objectives answer `label` and `probabilities`, unless the model has several targets: then, as XGBoost does,
    the probability of each, as values. Raises ConversionFailed for damaged trees, no trees, linear models, objectives
    that are not in `classical_outputs.XGBOOST`, and features that are split as numbers and as categories.
    """
    document = document_of(booster)
    learner = document["learner"]
    objective = str(learner["objective"]["name"])
    if learner["gradient_booster"]["name"] == "gblinear":
        raise ConversionFailed("an XGBoost model with booster=gblinear has no trees, but a linear model", where=where,
                               hint="train it with booster='gbtree', or a linear model of scikit-learn")  # fmt: skip
    task = classical_outputs.task_of(classical_outputs.XGBOOST, objective, "XGBoost", where)
    there = len(tree_model_of(learner)["trees"])
    if not there:
        what = "the XGBoost model has no trees"
        raise ConversionFailed(what, where=where, hint="train it for one round at least")
    if trees is not None and not 0 < trees <= there:
        raise ConversionFailed(f"the XGBoost model has {there} trees, of which {trees} are asked for", where=where)
    base = _base(document)
    if task == "binary" and len(base) > 1:
        task = "value"
    classes = {"binary": 2, "multiclass": len(base)}.get(task, 0)
    return TreeModel(
        forest=_forest(checked_trees(learner, where, trees), learner, where),
        task=task,
        base=base,
        link=Link(LINKS[objective]),
        arithmetic="float32",
        cut=greatest_half(1.0, "float32") if objective == "binary:logistic" else 0.0,
        classes=tuple(range(classes)),
        feature_names=tuple(learner["feature_names"]),
        label_by_sums=task == "multiclass",  # as multi:softmax takes its labels
    )


def trees_of_rounds(booster: Any, rounds: int) -> int:
    """How many trees the first `rounds` rounds of boosting made: what `iteration_range=(0, rounds)` runs."""
    ends = tree_model_of(document_of(booster)["learner"])["iteration_indptr"]
    return int(ends[rounds])


def _base(document: Mapping[str, Any]) -> tuple[float, ...]:
    """The sums before the first tree, by XGBoost itself: what the model without its trees answers.

    The file has them as the user stated them, as probabilities or counts; each objective has its own way to a sum.
    """
    import xgboost

    learner = document["learner"]
    no_trees = {
        "gbtree_model_param": {"num_parallel_tree": "1", "num_trees": "0"},
        "iteration_indptr": [0],
        "tree_info": [],
        "trees": [],
        "cats": {"enc": [], "feature_segments": [], "sorted_idx": []},
    }
    bare = {
        "version": document["version"],
        "learner": {
            # Else XGBoost takes a model without trees for one whose base is still to be estimated.
            "learner_model_param": {**learner["learner_model_param"], "boost_from_average": "0"},
            "objective": learner["objective"],
            "attributes": {},
            "feature_names": [],
            "feature_types": [],
            "gradient_booster": {"name": "gbtree", "model": no_trees},
        },
    }
    booster = xgboost.Booster({"nthread": 1}, model_file=bytearray(json.dumps(bare).encode()))
    row = np.zeros((1, int(learner["learner_model_param"]["num_feature"])), np.float32)
    return tuple(booster.predict(xgboost.DMatrix(row), output_margin=True).reshape(-1).tolist())


def _forest(read: XgboostTrees, learner: Mapping[str, Any], where: str) -> Forest:
    features = int(learner["learner_model_param"]["num_feature"])
    leaf = read.left < 0
    inner = ~leaf
    # Leaves and inner nodes are numbered apart, both in the order of all nodes; ~n is leaf n.
    child = np.where(leaf, ~(np.cumsum(leaf) - 1), np.cumsum(inner) - 1).astype(np.int32)
    left, right = child[read.left[inner]], child[read.right[inner]]
    feature, sets = read.feature[inner], read.category_set[inner]
    asks = sets >= 0
    categorical = np.zeros(features, bool)
    categorical[feature[asks]] = True
    _refuse_mixed(feature[~asks], categorical, learner, where)
    return Forest(
        features=features,
        compares="float32",
        strict=True,
        roots=child[np.searchsorted(read.tree, np.arange(read.trees))],
        feature=feature,
        threshold=np.where(asks, np.nan, read.condition[inner].astype(np.float64)),
        # A row goes right where its category is in the set (common::Decision), which a Forest has on the left.
        left=np.where(asks, right, left),
        right=np.where(asks, left, right),
        missing_left=read.default_left[inner] ^ asks,
        category_set=sets,
        set_bounds=read.set_bounds,
        set_values=read.set_values.astype(np.float64),
        leaf_values=_leaf_values(read, leaf, learner).astype(np.float64),
        leaf_ids=read.id[leaf],
        tree_output=np.asarray(tree_model_of(learner)["tree_info"][: read.trees], np.int32),
        truncates=categorical,
        floors=True,  # a category below 0, -0.5 too, is in no set
        zero_is_missing=np.zeros(features, bool),
        takes_infinity=False,  # a DMatrix refuses them
    )


def _leaf_values(read: XgboostTrees, leaf: np.ndarray, learner: Mapping[str, Any]) -> np.ndarray:
    """What each leaf adds: float32 [L, 1], or [L, K] where leaves have a value for each output."""
    values: np.ndarray = read.condition[leaf][:, None] if read.vectors is None else read.vectors[leaf]
    if learner["gradient_booster"]["name"] != "dart":
        return values
    # Dart::PredictBatch scales what each tree gives, in float32.
    weights = np.asarray(learner["gradient_booster"]["weight_drop"], np.float32)
    scaled: np.ndarray = values * weights[read.tree[leaf]][:, None]
    return scaled


def _refuse_mixed(numeric: np.ndarray, categorical: np.ndarray, learner: Mapping[str, Any], where: str) -> None:
    both = np.unique(numeric[categorical[numeric]])
    if len(both):
        names = learner["feature_names"] or [f"f{index}" for index in range(len(categorical))]
        listed = ", ".join(names[index] for index in both)
        what = f"the XGBoost model splits these features both as numbers and as categories: {listed}"
        raise ConversionFailed(what, where=where, hint="train all rounds with the same feature types")
