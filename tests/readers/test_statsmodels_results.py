"""Opening statsmodels' pickles: on trust only, formulas worked out again and compared, all else refused by name."""

from __future__ import annotations

import bz2
import gzip
import os
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula
import statsmodels.formula.api as smf
from scipy import stats
from statsmodels.base.data import ModelData
from statsmodels.gam.api import BSplines, GLMGam
from statsmodels.genmod.families import links
from statsmodels.miscmodels.ordinal_model import OrderedModel
from statsmodels.tsa.ar_model import AutoReg

from mlconvert.artifact import Artifact
from mlconvert.errors import ConversionFailed, UsageError
from mlconvert.formats import recognise
from mlconvert.readers.statsmodels_results import load_fit

RANDOM = np.random.default_rng(3)
N = 80
X = RANDOM.normal(size=(N, 2))
Y = RANDOM.normal(size=N)
FRAME = pd.DataFrame({"y": Y, "x": X[:, 0], "w": RANDOM.uniform(1, 2, N), "g": RANDOM.choice(["a", "b"], N)})
FORMULA = "y ~ x * g + np.log(w)"


def artifact(path: Path, *, trusted: bool = True) -> Artifact:
    return Artifact("statsmodels", str(path), (path,), trusted=trusted)


def load(results, tmp_path: Path):
    path = tmp_path / "fit.pkl"
    path.write_bytes(pickle.dumps(results))
    assert recognise(str(path)) == "statsmodels"
    return load_fit(artifact(path))


# --- opening ---


def test_a_pickle_is_opened_on_trust_only(tmp_path):
    path = tmp_path / "fit.pkl"
    sm.OLS(Y, X).fit().save(path)
    with pytest.raises(UsageError, match="can run code") as caught:
        load_fit(artifact(path, trusted=False))
    assert "--trust" in (caught.value.hint or "")
    assert "skops" not in (caught.value.hint or "")
    assert load_fit(artifact(path)).model == "OLS"


@pytest.mark.parametrize("results", [sm.OLS(Y, X).fit(), smf.ols(FORMULA, FRAME).fit()], ids=["matrix", "formula"])
def test_every_way_of_saving(tmp_path, results):
    paths = [
        tmp_path / name for name in ("a.pkl", "b.pickle", "c.pkl.gz", "d.pkl.bz2", "e.joblib", "f.joblib", "g.pkl")
    ]
    results.save(paths[0])
    paths[1].write_bytes(pickle.dumps(results, protocol=2))
    paths[2].write_bytes(gzip.compress(pickle.dumps(results)))
    paths[3].write_bytes(bz2.compress(pickle.dumps(results)))
    joblib.dump(results, paths[4])
    joblib.dump(results, paths[5], compress=3)
    paths[6].write_bytes(pickle.dumps(results._results))  # without the wrapper
    wanted = np.asarray(results.params)
    for path in paths:
        assert recognise(str(path)) == "statsmodels", path.name
        assert np.array_equal(load_fit(artifact(path)).parameters[:, 0], wanted)


WITHOUT_JOBLIB = """
import sys
sys.modules["joblib"] = None
from pathlib import Path
from mlconvert.artifact import Artifact
from mlconvert.readers.statsmodels_results import load_fit
for name in sys.argv[1:]:
    path = Path(name)
    print(load_fit(Artifact("statsmodels", str(path), (path,), trusted=True)).model)
"""


def test_joblib_is_needed_for_joblib_s_files_only(tmp_path):
    paths = [tmp_path / "a.pkl", tmp_path / "b.gz", tmp_path / "c.bz2"]
    data = pickle.dumps(sm.OLS(Y, X).fit())
    for path, written in zip(paths, (data, gzip.compress(data), bz2.compress(data)), strict=True):
        path.write_bytes(written)
    done = subprocess.run([sys.executable, "-c", WITHOUT_JOBLIB, *paths], capture_output=True, text=True)
    assert done.stdout.split() == ["OLS"] * 3, done.stderr
    joblib.dump(sm.OLS(Y, X).fit(), paths[0])
    done = subprocess.run([sys.executable, "-c", WITHOUT_JOBLIB, paths[0]], capture_output=True, text=True)
    assert "the pickle needs the module 'joblib" in done.stderr


def test_results_without_their_data(tmp_path):
    for results in (sm.OLS(Y, X).fit(), smf.ols(FORMULA, FRAME).fit(), sm.Poisson((Y > 0) * 1, X).fit(disp=0),
                    sm.MNLogit((Y > 0) * 1, FRAME[["x", "w"]]).fit(disp=0)):  # fmt: skip
        whole = load(results, tmp_path)
        results.remove_data()
        less = load(results, tmp_path)
        assert [spec.shape for spec in less.signature.inputs] == [spec.shape for spec in whole.signature.inputs]
        assert np.array_equal(less.parameters, whole.parameters)


@pytest.mark.parametrize("cut", [0.3, 0.9])
def test_a_truncated_file_is_told_by_its_class(tmp_path, cut):
    path = tmp_path / "fit.pkl"
    data = pickle.dumps(sm.OLS(Y, X).fit())
    path.write_bytes(data[: int(len(data) * cut)])
    with pytest.raises(ConversionFailed, match="RegressionResultsWrapper is truncated or damaged"):
        recognise(str(path))
    with pytest.raises(ConversionFailed, match=r"not a readable pickle|cannot be read"):
        load_fit(artifact(path))


def test_results_of_a_class_that_this_version_lacks_are_refused_by_name(tmp_path):
    path = tmp_path / "fit.pkl"
    path.write_bytes(b"\x80\x04cstatsmodels.regression.linear_model\nResultsOfTomorrow\n)\x81.")
    assert recognise(str(path)) == "statsmodels"
    with pytest.raises(ConversionFailed, match="ResultsOfTomorrow"):
        load_fit(artifact(path))
    path.write_bytes(b"\x80\x04cstatsmodels.of_tomorrow\nResults\n)\x81.")
    with pytest.raises(ConversionFailed, match=r"needs the module 'statsmodels\.of_tomorrow'"):
        load_fit(artifact(path))


# --- what it takes ---


def test_a_matrix_s_columns_have_the_names_of_the_frame_that_was_fitted(tmp_path):
    frame = sm.add_constant(FRAME[["x", "w"]])
    (spec,) = load(sm.OLS(Y, frame).fit(), tmp_path).signature.inputs
    assert (spec.name, spec.shape, spec.columns) == ("input", ("batch", 3), ("const", "x", "w"))
    (spec,) = load(sm.OLS(Y, X).fit(), tmp_path).signature.inputs
    assert (spec.name, spec.shape, spec.columns) == ("input", ("batch", 2), ())
    (spec,) = load(sm.OLS(Y, X[:, 0]).fit(), tmp_path).signature.inputs
    assert spec.shape == ("batch", 1)


# --- formulas, worked out again ---


def test_a_formula_does_not_see_the_names_of_its_surroundings(tmp_path):
    """statsmodels evaluates a formula with the names of whichever functions opened the pickle."""

    def trusted(values):  # the name of a local variable where mlconvert opens pickles
        return values * 2

    results = smf.ols("y ~ trusted(x)", FRAME).fit()
    with pytest.raises(ConversionFailed, match=r"cannot be evaluated again.*'trusted'"):
        load(results, tmp_path)
    shift = 2.0
    assert shift
    with pytest.raises(ConversionFailed, match="'shift'"):
        load(smf.ols("y ~ I(x + shift)", FRAME).fit(), tmp_path)


def test_statsmodels_is_left_as_it_was(tmp_path):
    before = ModelData.__setstate__
    load(smf.ols(FORMULA, FRAME).fit(), tmp_path)
    with pytest.raises(ConversionFailed):
        load_fit(artifact(tmp_path / "nothing.pkl"))
    assert ModelData.__setstate__ is before
    assert statsmodels.formula.options.formula_engine == "patsy"


def test_a_pickle_of_statsmodels_0_14_has_another_mark(tmp_path):
    results = smf.ols(FORMULA, FRAME).fit()
    wanted = load(results, tmp_path)
    kept = ModelData.__getstate__

    def as_before(data):
        state = kept(data)
        if state.pop("restore_model_spec", None):
            state["restore_design_info"] = True
        return state

    ModelData.__getstate__ = as_before
    try:
        fit = load(results, tmp_path)
    finally:
        ModelData.__getstate__ = kept
    assert fit.design is not None
    assert fit.signature == wanted.signature
    assert np.array_equal(fit.results.predict(FRAME), results.predict(FRAME))


def test_what_formulaic_fitted_is_taken_where_patsy_makes_the_same_of_it(tmp_path):
    options = statsmodels.formula.options
    kept = options.formula_engine
    options.formula_engine = "formulaic"
    try:
        same, other = smf.ols(FORMULA, FRAME).fit(), smf.ols("y ~ x ^ 2 + w", FRAME).fit()
        wanted = same.predict(FRAME)
    finally:
        options.formula_engine = kept
    fit = load(same, tmp_path)
    np.testing.assert_allclose(fit.results.predict(FRAME), wanted, rtol=1e-12)
    with pytest.raises(ConversionFailed, match="formula"):
        load(other, tmp_path)


def test_another_engine_in_the_environment_changes_nothing(tmp_path):
    path = tmp_path / "fit.pkl"
    results = smf.ols(FORMULA, FRAME).fit()
    results.save(path)
    np.savez(tmp_path / "rows.npz", x=FRAME[["x"]], w=FRAME[["w"]], g=FRAME[["g"]].to_numpy().astype(str))
    program = (
        "import sys, numpy as np\n"
        "from pathlib import Path\n"
        "from mlconvert.artifact import Artifact\n"
        "from mlconvert.runners.statsmodels import load\n"
        "path = Path(sys.argv[1])\n"
        "session = load(Artifact('statsmodels', str(path), (path,), trusted=True))\n"
        "np.save(sys.argv[3], session.run(dict(np.load(sys.argv[2])))['variable'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, path, tmp_path / "rows.npz", tmp_path / "out.npy"],
        env={**os.environ, "SM_FORMULA_ENGINE": "formulaic"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert np.array_equal(np.load(tmp_path / "out.npy")[:, 0], results.predict(FRAME))


def test_a_data_frame_that_changed_since_the_fit_is_told(tmp_path):
    results = smf.ols(FORMULA, FRAME).fit()
    results.model.data.frame = FRAME.assign(x=FRAME.x * 2)
    with pytest.raises(ConversionFailed, match="another design than the model was fitted on"):
        load(results, tmp_path)
    results.model.data.frame = None
    with pytest.raises(ConversionFailed, match="without the data frame"):
        load(results, tmp_path)


def test_drop_cols_is_refused(tmp_path):
    results = smf.ols(FORMULA, FRAME, drop_cols=["x"]).fit()
    with pytest.raises(ConversionFailed) as caught:
        load(results, tmp_path)
    assert "drop_cols" in (caught.value.hint or "")


def test_rows_that_were_left_out_of_the_fit(tmp_path):
    frame = FRAME.assign(x=np.where(np.arange(N) < 5, np.nan, FRAME.x))
    fit = load(smf.ols("y ~ np.exp(x) + g", frame).fit(), tmp_path)
    assert fit.design is not None
    weights = np.where(np.arange(N) > 70, np.nan, 1.0)
    fit = load(smf.wls("y ~ x", frame, weights=weights, missing="drop").fit(), tmp_path)
    assert fit.design is not None
    assert fit.results.nobs == 66


@pytest.mark.parametrize(
    ("formula", "named"),
    [
        ("bs(x, df=4)", r"bs\(x, df=4\)"),
        ("cr(x, df=4)", r"cr\(x, df=4\)"),
        ("standardize(x, ddof=1)", "with options"),
        ("np.where(x > 0, x, 0)", r"np\.where\(\)"),
        ("np.round(x, 1)", r"np\.round\(\)"),
        ("I(x % 2)", "x % 2"),
        ("I(x // 1)", "x // 1"),
        ("pd.cut(w, 3)", r"pd\.cut\(\)"),
        ("I(g == 'a')", "'a'"),
        ("I(x.abs())", r"x\.abs\(\)"),
        ("C(np.floor(x))", "categories of a computation"),
        ("C(np.round(x).astype(int))", r"astype\(\)"),
        ("I((x > 0) * (w > 1.5))", "truths in a computation"),
        ("np.sqrt((x > 0))", "truths in a computation"),
        ("I(np.isnan(x) * 1) + x", r"np\.isnan\(\)"),
        ("np.column_stack([x, w])", r"np\.column_stack\(\)"),
        ("I(x if len(x) else w)", "if len"),
    ],
)
def test_terms_that_are_not_exact_are_refused_with_their_code(tmp_path, formula, named):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = smf.ols(f"y ~ {formula}", FRAME).fit()
    with pytest.raises(ConversionFailed, match=named) as caught:
        load(results, tmp_path)
    assert caught.value.where == str(tmp_path / "fit.pkl")


@pytest.mark.parametrize("dtype", ["float32", "int8", "uint8", "int32"])
def test_computations_in_narrow_numbers_are_refused(tmp_path, dtype):
    """numpy's logarithm of an int8 is a float16, and 1 - 2 is 255 in uint8: answers would depend on the rows' type."""
    frame = FRAME.assign(n=RANDOM.integers(1, 9, N).astype(dtype))
    for term in ("np.log(n)", "I(n - 3)", "center(n)", "x + I(n > 2)"):
        with pytest.raises(ConversionFailed, match=f"computes with the column 'n' in {dtype}") as caught:
            load(smf.ols(f"y ~ {term}", frame).fit(), tmp_path)
        assert "astype('float64')" in (caught.value.hint or "")
    assert load(smf.ols("y ~ n * x + C(n):w", frame).fit(), tmp_path).design is not None


def test_levels_that_are_neither_text_nor_numbers_are_refused(tmp_path):
    days = pd.to_datetime(np.where(FRAME.x > 0, "2026-01-01", "2026-02-01"))
    with pytest.raises(ConversionFailed, match=r"the levels of the formula's term 'C\(day\)'"):
        load(smf.ols("y ~ C(day)", FRAME.assign(day=days)).fit(), tmp_path)
    with pytest.raises(ConversionFailed, match="no column of the data frame"):
        load(smf.ols("y ~ 1", FRAME).fit(), tmp_path)


# --- models that are not converted ---


def gam():
    return GLMGam(Y, X, smoother=BSplines(FRAME[["x"]], df=[5], degree=[3])).fit()


OTHERS = {
    "MixedLM": lambda: smf.mixedlm("y ~ x", FRAME, groups=FRAME["g"]).fit(),
    "AutoReg": lambda: AutoReg(Y, 1).fit(),
    "ARIMA": lambda: sm.tsa.ARIMA(Y, order=(1, 0, 0)).fit(),
    "OrderedModel": lambda: OrderedModel((Y > 0) * 1 + (Y > 1), X).fit(disp=0, method="bfgs"),
    "ZeroInflatedPoisson": lambda: sm.ZeroInflatedPoisson(np.maximum(Y, 0).round(), X).fit(disp=0, maxiter=3),
    "GLMGam": gam,
    "PHReg": lambda: sm.PHReg(np.abs(Y) + 0.1, X).fit(),
    "RecursiveLS": lambda: sm.RecursiveLS(Y, X).fit(),
    "PCA": lambda: sm.multivariate.PCA(X, 1),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_models_are_refused_by_name(tmp_path, name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = OTHERS[name]()
    with pytest.raises(ConversionFailed, match=name) as caught:
        load(results, tmp_path)
    assert "OLS" in (caught.value.hint or "")


def test_a_model_that_was_not_fitted_is_told(tmp_path):
    with pytest.raises(ConversionFailed, match="OLS that was not fitted") as caught:
        load(sm.OLS(Y, X), tmp_path)
    assert "fit()" in (caught.value.hint or "")


class OwnLink(links.Log):
    def inverse(self, z):
        return np.exp(z) + 1


class OwnFamily(sm.families.Poisson):
    def fitted(self, lin_pred):
        return super().fitted(lin_pred) * 2


class OwnModel(sm.OLS):
    def predict(self, params, exog=None):
        return super().predict(params, exog) ** 2


@pytest.mark.parametrize(
    ("family", "named"),
    [
        (sm.families.Binomial(links.CDFLink(stats.t(4))), "the link CDFLink of the family Binomial"),
        (sm.families.Binomial(links.CDFLink(stats.logistic)), "the link CDFLink"),
        (sm.families.Poisson(OwnLink()), "the link OwnLink of the family Poisson"),
        (OwnFamily(), "the family OwnFamily"),
    ],
)
def test_other_links_are_refused_by_name(tmp_path, family, named):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = sm.GLM((Y > 0) * 1, X, family=family).fit(maxiter=1)
    with pytest.raises(ConversionFailed, match=named) as caught:
        load(results, tmp_path)
    assert "Logit" in (caught.value.hint or "")


def test_a_class_of_the_user_s_own_is_refused_even_if_it_derives_from_one_that_is_taken(tmp_path):
    results = OwnModel(Y, X).fit()
    with pytest.raises(ConversionFailed, match="OwnModel"):
        load(results, tmp_path)
