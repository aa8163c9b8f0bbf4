"""What a Java program sees of a model: every method of its class, from several threads too."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from mlconvert.jars.estimators import jar_model
from mlconvert.jars.writing import write_jar
from mlconvert.java import find_java

PROGRAM = Path(__file__).with_name("UseModel.java")


def test_a_program_uses_every_method(tmp_path):
    random = np.random.default_rng(3)
    table = pd.DataFrame({
        "size": random.normal(size=200), "income": random.normal(size=200),
        "town": random.choice(["Ulm", "Ely"], 200), "owner": random.integers(0, 2, 200),
    })  # fmt: skip
    table.loc[::5, "income"] = np.nan
    target = np.array(["no", "maybe", "yes"])[np.digitize(table["size"] + (table["town"] == "Ely"), [-0.3, 0.8])]
    encode = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["town"]),
        (SimpleImputer(), ["size", "income"]),
        remainder="passthrough",
    )
    estimator = make_pipeline(encode, RandomForestClassifier(9, random_state=0)).fit(table, target)
    model = jar_model(estimator, list(table.columns), frozenset({2}), "here")
    made = write_jar(model, tmp_path / "loans.jar", class_name="com.example.Loans")

    java = find_java(11, compiler=True).path
    done = subprocess.run([java, "-cp", made.path, PROGRAM], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = pd.DataFrame({"size": [1.5, -1.0], "income": [np.nan, 2.0], "town": ["Ely", "Oslo"], "owner": [1, 0]})
    likely, labels = estimator.predict_proba(rows), estimator.predict(rows)
    said = done.stdout.splitlines()
    for place in (0, 1):  # Java writes some doubles with a digit more than Python
        assert json.loads(said.pop(3 + place)) == likely[place].tolist()
    assert said == [
        "size,income,town,owner maybe,no,yes",
        f"[1.5, NaN, {model.texts[2].index('Ely')}.0, 1.0]",
        f"{labels[0]} {labels[0]}",
        "true",
        "true",
        "size",
        "a row has 4 values, not 3",
        "a row has 4 values, not 2",
        "the feature size is a number, not text: text",
        "the feature owner cannot be c",
        "1 rows take 4 numbers and give 4",
        "true",
    ]
