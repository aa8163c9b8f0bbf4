"""Pipelines in two parts, and those that have none."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from skops import io

from mlconvert.artifact import Artifact
from mlconvert.errors import UsageError
from mlconvert.readers.estimator_parts import write_parts

ROWS = np.random.default_rng(0).normal(size=(60, 3))
LABELS = ROWS[:, 0] > 0


def pipeline(*steps):
    return Pipeline([(f"step{index}", step) for index, step in enumerate(steps)]).fit(ROWS, LABELS)


@pytest.fixture
def parts(tmp_path):
    """A function that splits an estimator: the output between, and both parts as they are read again."""

    def split(estimator, before="last"):
        path = tmp_path / "whole.skops"
        io.dump(estimator, path)
        first, second = tmp_path / "a" / "model.skops", tmp_path / "b" / "model.skops"
        between = write_parts(Artifact("sklearn", str(path), (path,)), before, first, second)
        return between, *(io.load(part, trusted=io.get_untrusted_types(file=part)) for part in (first, second))

    return split


@pytest.mark.parametrize(("before", "count"), [("last", 2), ("step2", 2), ("step1", 1)])
def test_the_parts_answer_as_the_whole(parts, before, count):
    whole = pipeline(StandardScaler(), MinMaxScaler(), LogisticRegression())
    between, first, second = parts(whole, before)
    assert between == "variable"
    assert len(getattr(first, "steps", [first])) == count
    np.testing.assert_array_equal(second.predict_proba(first.transform(ROWS)), whole.predict_proba(ROWS))


def test_the_best_of_a_search_is_split(parts):
    search = GridSearchCV(pipeline(StandardScaler(), LogisticRegression()), {"step1__C": [1.0, 2.0]}, cv=2)
    _, first, second = parts(search.fit(ROWS, LABELS))
    np.testing.assert_array_equal(second.predict(first.transform(ROWS)), search.predict(ROWS))


def test_distances_of_a_clusterer_go_between(parts):
    between, first, second = parts(pipeline(KMeans(3, n_init=1, random_state=0), LogisticRegression()))
    assert between == "scores"
    assert first.transform(ROWS).shape == (60, 3)
    assert second.n_features_in_ == 3


@pytest.mark.parametrize(
    ("estimator", "before", "words"),
    [
        (LogisticRegression().fit(ROWS, LABELS), "last", "a LogisticRegression is no pipeline"),
        (pipeline(StandardScaler(), LogisticRegression()), "step9", "no step 'step9'. Did you mean 'step"),
        (pipeline(StandardScaler(), LogisticRegression()), "step0", "nothing comes before the step 'step0'"),
        (pipeline(LogisticRegression()), "last", "nothing comes before the step 'step0'"),
        # Its `transform` is not what it answers as the last step of a pipeline.
        (pipeline(LinearDiscriminantAnalysis(), LogisticRegression()), "last", "(classifier) is not what it gives"),
    ],
)
def test_what_has_no_two_parts(parts, estimator, before, words):
    with pytest.raises(UsageError) as caught:
        parts(estimator, before)
    assert words in caught.value.message


def test_a_pickle_is_opened_on_trust_alone(tmp_path):
    import pickle

    path = tmp_path / "whole.pkl"
    path.write_bytes(pickle.dumps(pipeline(StandardScaler(), LogisticRegression())))
    with pytest.raises(UsageError, match="only on your word"):
        write_parts(Artifact("sklearn", str(path), (path,)), "last", tmp_path / "a.skops", tmp_path / "b.skops")
    trusted = Artifact("sklearn", str(path), (path,), trusted=True)
    assert write_parts(trusted, "last", tmp_path / "a.skops", tmp_path / "b.skops") == "variable"
