"""statsmodels to ONNX: every model, family and link against `results.predict`, and formulas term by term."""

from __future__ import annotations

import json
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.genmod.families import links
from statsmodels.tools.sm_exceptions import ConvergenceWarning, DomainWarning, SingularMatrixWarning

from mlconvert.artifact import Artifact
from mlconvert.cli import main
from mlconvert.converters.statsmodels_to_onnx import convert
from mlconvert.errors import ConversionFailed, UsageError
from mlconvert.registry import registry

FAMILIES = sm.families
RANDOM = np.random.default_rng(11)
N = 150
X = sm.add_constant(RANDOM.uniform(0.2, 1.5, (N, 2)))
ODD = np.concatenate([RANDOM.normal(size=(20, 3)) * scale for scale in (0.1, 1.0, 30.0, 1e3)])
ODD[:4, 1] = [np.nan, np.inf, -np.inf, 0.0]


def saved(results, tmp_path: Path) -> Artifact:
    path = tmp_path / "fit.pkl"
    results.save(path)
    return Artifact("statsmodels", str(path), (path,), trusted=True)


def converted(source: Artifact, tmp_path: Path, **options) -> Artifact:
    return convert(source, tmp_path / "model.onnx", **options)


def answers(artifact: Artifact, inputs: dict[str, np.ndarray]) -> np.ndarray:
    (values,) = registry().runner(artifact.format).load(artifact).run(inputs).values()
    assert values.dtype == np.float64
    return values


def assert_alike(found: np.ndarray, wanted: np.ndarray) -> None:
    """The same NaN and infinities, and 1e-12 of the value (or absolutely) everywhere else."""
    wanted = np.asarray(wanted, float).reshape(len(found), -1)
    assert found.shape == wanted.shape
    assert np.array_equal(np.isnan(found), np.isnan(wanted))
    finite = np.isfinite(wanted)
    assert np.array_equal(found[~finite], wanted[~finite], equal_nan=True)
    np.testing.assert_allclose(found[finite], wanted[finite], rtol=1e-12, atol=1e-12)


def fitted(model, **options):
    with warnings.catch_warnings():
        for kind in (ConvergenceWarning, DomainWarning, RuntimeWarning):
            warnings.simplefilter("ignore", kind)
        return model.fit(**options)


def assert_exact(results, tmp_path: Path, rows: np.ndarray) -> Artifact:
    """The converted model and the runner of statsmodels both answer the rows as `results.predict` does."""
    with np.errstate(all="ignore"):
        wanted = np.asarray(results.predict(rows))
    source = saved(results, tmp_path)
    made = converted(source, tmp_path)
    for artifact in (source, made):
        assert_alike(answers(artifact, {"input": rows}), wanted)
    return made


# --- models of a matrix ---

MEAN = np.exp(X @ [0.1, 0.3, -0.2])
GROUPS = np.repeat(np.arange(N // 5), 5)
MODELS = {
    "OLS": lambda: fitted(sm.OLS(MEAN + RANDOM.normal(size=N), X)),
    "OLS, elastic net": lambda: sm.OLS(MEAN, X).fit_regularized(alpha=0.01),
    "WLS": lambda: fitted(sm.WLS(MEAN + RANDOM.normal(size=N), X, weights=RANDOM.uniform(1, 2, N))),
    "GLS": lambda: fitted(sm.GLS(MEAN + RANDOM.normal(size=N), X, sigma=RANDOM.uniform(1, 2, N))),
    "GLSAR": lambda: sm.GLSAR(MEAN + RANDOM.normal(size=N), X, rho=1).iterative_fit(2),
    "QuantReg": lambda: fitted(sm.QuantReg(MEAN + RANDOM.normal(size=N), X), q=0.3),
    "RLM": lambda: fitted(sm.RLM(MEAN + RANDOM.standard_t(2, N), X)),
    "GEE": lambda: fitted(sm.GEE(RANDOM.poisson(MEAN), X, GROUPS, family=FAMILIES.Poisson())),
    "Logit": lambda: fitted(sm.Logit(RANDOM.integers(0, 2, N), X), disp=0),
    "Logit, lasso": lambda: sm.Logit(RANDOM.integers(0, 2, N), X).fit_regularized(alpha=0.5, disp=0),
    "Probit": lambda: fitted(sm.Probit(RANDOM.integers(0, 2, N), X), disp=0),
    "MNLogit": lambda: fitted(sm.MNLogit(RANDOM.integers(0, 4, N), X), disp=0),
    "MNLogit of two": lambda: fitted(sm.MNLogit(RANDOM.integers(0, 2, N), X), disp=0),
    "Poisson": lambda: fitted(sm.Poisson(RANDOM.poisson(MEAN), X), disp=0),
    "NegativeBinomial": lambda: fitted(sm.NegativeBinomial(RANDOM.poisson(MEAN * RANDOM.gamma(2, 0.5, N)), X), disp=0),
    "NegativeBinomial, geometric": lambda: fitted(
        sm.NegativeBinomial(RANDOM.poisson(MEAN), X, loglike_method="geometric"), disp=0
    ),
    "NegativeBinomialP": lambda: fitted(
        sm.NegativeBinomialP(RANDOM.poisson(MEAN * RANDOM.gamma(2, 0.5, N)), X), disp=0
    ),
    "GeneralizedPoisson": lambda: fitted(
        sm.GeneralizedPoisson(RANDOM.poisson(MEAN * RANDOM.gamma(2, 0.5, N)), X), disp=0
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_model_answers_as_predict_does(tmp_path, name):
    made = assert_exact(MODELS[name](), tmp_path, np.concatenate([X, ODD]))
    assert made.facts["precision"] == "float64"
    assert made.facts["model"] == name.partition(",")[0].partition(" ")[0]


# Where each link's linear predictor gives a mean that all its families have.
ABOVE, BELOW = [0.1, 0.2, 0.1], [-0.9, 0.2, 0.1]
LINKS = {
    links.CLogLog: BELOW, links.Cauchy: BELOW, links.Identity: ABOVE, links.InversePower: ABOVE,
    links.InverseSquared: ABOVE, links.Log: BELOW, links.LogC: BELOW, links.LogLog: ABOVE, links.Logit: BELOW,
    links.NegativeBinomial: BELOW, links.Power: ABOVE, links.Probit: BELOW, links.Sqrt: ABOVE,
}  # fmt: skip
CLASSES = (
    FAMILIES.Binomial, FAMILIES.Gamma, FAMILIES.Gaussian, FAMILIES.InverseGaussian, FAMILIES.NegativeBinomial,
    FAMILIES.Poisson, FAMILIES.Tweedie,
)  # fmt: skip


def generalized(family, link, coefficients):
    """A GLM whose fit finds the coefficients."""
    mean = link.inverse(X @ np.array(coefficients))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return sm.GLM(mean, X, family=family(link=link)).fit(maxiter=50)


@pytest.mark.parametrize("family", CLASSES, ids=lambda family: family.__name__)
def test_every_link_of_a_family_answers_as_predict_does(tmp_path, family):
    for link in family.links:
        results = generalized(family, link(), LINKS[link])
        assert np.allclose(results.params, LINKS[link], atol=1e-3), link
        assert_exact(results, tmp_path, np.concatenate([X, ODD]))


@pytest.mark.parametrize("link", [links.Power(power) for power in (-3.0, -2.0, -1.0, 0.5, 1.0, 1.5, 2.0, 3.0)] +
                         [links.NegativeBinomial(alpha=0.3)], ids=lambda link: f"{vars(link)}")  # fmt: skip
def test_links_with_a_parameter(tmp_path, link):
    family = FAMILIES.NegativeBinomial if isinstance(link, links.NegativeBinomial) else FAMILIES.Tweedie
    assert_exact(generalized(family, link, LINKS[type(link)]), tmp_path, np.concatenate([X, ODD]))


@pytest.mark.parametrize("link", [links.Probit(), links.Cauchy()], ids=lambda link: type(link).__name__)
def test_distributions_are_right_in_their_tails(tmp_path, link):
    """ONNX Runtime has no float64 kernel for Erf or Atan: the distributions are polynomials."""
    results = generalized(FAMILIES.Binomial, link, LINKS[type(link)])
    size = np.concatenate([np.linspace(0, 4, 4001), np.logspace(-20, 1.57, 500), np.logspace(-20, 300, 400), [np.inf]])
    eta = np.concatenate([size, -size])
    rows = np.column_stack([eta, np.zeros((len(eta), 2))]) / results.params[0]
    rows[:, 1:] = 0
    wanted = link.inverse(rows @ results.params)
    found = answers(converted(saved(results, tmp_path), tmp_path), {"input": rows})[:, 0]
    assert np.abs(found - wanted).max() < 2e-15
    seen = wanted > 1e-300
    assert (np.abs(found - wanted)[seen] / wanted[seen]).max() < 1e-12


def test_random_linear_predictors_of_all_sizes(tmp_path):
    """Every inverse link over the whole range of float64, its overflows and its infinities."""
    size = np.concatenate([np.logspace(-300, 300, 601), np.linspace(0, 800, 1601), [np.inf]])
    for link, coefficients in LINKS.items():
        family = next(family for family in CLASSES if link in family.links)
        results = generalized(family, link(), coefficients)
        rows = np.zeros((2 * len(size), 3))
        rows[:, 0] = np.concatenate([size, -size])
        with np.errstate(all="ignore"):
            wanted = link().inverse(rows @ results.params)
        found = answers(converted(saved(results, tmp_path), tmp_path), {"input": rows})[:, 0]
        assert np.array_equal(np.isnan(found), np.isnan(wanted)), link
        ordinary = np.isfinite(wanted) & (np.abs(wanted) > 1e-300)
        assert np.array_equal(np.isinf(found), np.isinf(wanted)), link
        if link is links.NegativeBinomial:  # near 0 the mean is infinite, and statsmodels' own digits are lost
            ordinary &= np.abs(rows[:, 0]) > 1e-3
        np.testing.assert_allclose(found[ordinary], wanted[ordinary], rtol=1e-12, atol=1e-15)


# --- formulas ---

FRAME = pd.DataFrame(
    {
        "y": RANDOM.normal(size=N),
        "x": RANDOM.normal(size=N),
        "w": RANDOM.uniform(0.5, 3, N),
        "z 1": RANDOM.normal(size=N),
        "count": RANDOM.integers(0, 9, N),
        "g": RANDOM.choice(["a", "b", "ç"], N),
        "h": RANDOM.choice(["u", "v"], N),
        "year": RANDOM.choice([2019, 2020, 2022], N),
        "level": RANDOM.choice([0.5, 1.5, -2.25], N),
        "flag": RANDOM.random(N) < 0.4,
        "size": pd.Categorical(RANDOM.choice(["s", "m", "l"], N), categories=["s", "m", "l"]),
        "rank": pd.Categorical(RANDOM.choice([3, 1, 2], N), categories=[3, 1, 2], ordered=True),
        "note": RANDOM.choice(["left", "out"], N),
    }
)


def inputs_of(artifact: Artifact, frame: pd.DataFrame) -> dict[str, np.ndarray]:
    """A frame's columns as the artifact's inputs."""
    dtypes = {"float64": np.float64, "bool": np.bool_, "string": np.str_}
    return {
        spec.name: np.asarray(frame[spec.name]).astype(dtypes[spec.dtype]).reshape(-1, 1)
        for spec in artifact.signature.inputs
    }


def assert_formula(results, tmp_path: Path, frame: pd.DataFrame = FRAME) -> Artifact:
    source = saved(results, tmp_path)
    made = converted(source, tmp_path)
    with np.errstate(all="ignore"):
        wanted = np.asarray(results.predict(frame))
    inputs = inputs_of(made, frame)
    for artifact in (source, made):
        assert_alike(answers(artifact, inputs), wanted)
    return made


FORMULAS = [
    "x", "x - 1", "x + w", "x * w", "x:w", "(x + w + count) ** 2",
    "np.log(w) + np.exp(x) + np.sqrt(w)", "I(x ** 2) + I(x ** 3) + I(w ** -1) + I(w ** 0.5) + I(w ** x)",
    "I(x / w) + I(x * w - 2 * x) + I(-x + 1.5)", "np.log1p(w) + np.expm1(x) + np.log2(w)", "np.log10(w)",
    "np.sin(2 * np.pi * x / 12) + np.cos(x) + np.tanh(x) + np.abs(x) + abs(w)",
    "np.floor(x) + np.ceil(w) + np.sign(x) + np.maximum(x, 0) + np.minimum(x, w) + np.square(x) + np.power(w, 1.5)",
    "I(count ** 2) + np.log(count + 1) + I(count / 2)", "Q('z 1') + np.exp(Q('z 1')) : w",
    "center(x) + standardize(w) + scale(count)", "np.log(center(x) ** 2 + 1)",
    "C(g)", "g", "g - 1", "C(g) - 1", "C(g, Treatment('b'))", "C(g, Sum)", "C(g, Helmert)", "C(g, Diff)",
    "C(year, Poly)", "C(g, levels=['ç', 'b', 'a'])", "C(year)", "C(level)", "I(level ** 2)", "C(year) * x - 1",
    "size", "size * x", "rank + x", "C(size, Sum):w", "g * h", "g:h", "g:h - 1", "g:h:size", "g * size * x",
    "C(g, Sum):C(size, Poly):x:w",
    "x:g - 1", "x * C(g) + np.log(w) + I(x ** 2)", "flag", "flag * x", "C(flag):w", "I(flag * x)", "I(x * (w > 1))",
    "I(x > 0)", "(x > 0) * w", "I((x > 0) & (w < 2)) + I((x == 0) | ~(w >= 1))", "(count != 3):x", "I(flag & (x > 0))",
    "I(x <= w)",
]  # fmt: skip


@pytest.mark.parametrize("formula", FORMULAS)
def test_a_formula_answers_as_predict_does(tmp_path, formula):
    results = fitted(smf.ols(f"y ~ {formula}", FRAME))
    assert np.asarray(results.params).any()
    assert_formula(results, tmp_path)


ATOMS = ("x", "w", "np.log(w)", "I(x ** 2)", "center(x)", "g", "size", "C(year, Sum)", "flag", "(x > 0)", "C(h, Diff)")
TERMS = st.lists(st.sampled_from(ATOMS), min_size=1, max_size=3, unique=True)


@settings(max_examples=40)
@given(st.lists(TERMS, min_size=1, max_size=4), st.booleans())
def test_any_mixture_of_terms_answers_as_predict_does(terms, intercept):
    formula = " + ".join(":".join(term) for term in terms) + ("" if intercept else " - 1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SingularMatrixWarning)
        results = smf.ols(f"y ~ {formula}", FRAME).fit()
    with tempfile.TemporaryDirectory() as folder:
        assert_formula(results, Path(folder))


def test_a_formula_s_inputs_are_the_columns_that_it_needs(tmp_path):
    made = assert_formula(fitted(smf.ols("y ~ g * np.log(w) + flag + C(year)", FRAME)), tmp_path)
    assert [(spec.name, spec.dtype, spec.shape) for spec in made.signature.inputs] == [
        ("w", "float64", ("batch", 1)), ("g", "string", ("batch", 1)), ("year", "float64", ("batch", 1)),
        ("flag", "bool", ("batch", 1)),
    ]  # fmt: skip
    assert [(spec.name, spec.shape) for spec in made.signature.outputs] == [("variable", ("batch", 1))]


def test_log1p_and_expm1_keep_the_digits_of_small_numbers(tmp_path):
    results = fitted(smf.ols("y ~ np.log1p(w) + np.expm1(x) - 1", FRAME))
    results._results.params[:] = 1e12  # so that an error of 1e-16 would be seen
    for sign in (1, -1):
        small = sign * np.logspace(-18, -1, 200)
        assert_formula(results, tmp_path, pd.DataFrame({"w": small, "x": small}))
    with np.errstate(all="ignore"):
        ends = pd.DataFrame({"w": [np.inf, -1.0, -2.0, 1e-17, 5.0], "x": [1e-17, -np.inf, 1e-9, np.inf, -40.0]})
        assert_formula(results, tmp_path, ends)


def test_formulas_of_models_with_a_link(tmp_path):
    counts = FRAME.assign(n=RANDOM.poisson(np.exp(0.3 * FRAME.x)), b=(FRAME.x > RANDOM.normal(size=N)).astype(int))
    counts["k"] = RANDOM.integers(0, 3, N)
    formula = "g * x + np.log(w)"
    for results in (
        fitted(smf.poisson(f"n ~ {formula}", counts), disp=0),
        fitted(smf.negativebinomial(f"n ~ {formula}", counts), disp=0, maxiter=5),
        fitted(smf.glm(f"n ~ {formula}", counts, family=FAMILIES.Poisson())),
        fitted(smf.logit(f"b ~ {formula}", counts), disp=0),
        fitted(smf.wls(f"n ~ {formula}", counts, weights=counts["w"])),
        fitted(smf.gee(f"n ~ {formula}", GROUPS, counts, family=FAMILIES.Poisson())),
    ):
        assert_formula(results, tmp_path, counts)
    made = assert_formula(fitted(smf.mnlogit(f"k ~ {formula}", counts), disp=0), tmp_path, counts)
    assert [(spec.name, spec.shape) for spec in made.signature.outputs] == [("probabilities", ("batch", 3))]
    assert made.facts["classes"] == ["0", "1", "2"]


@pytest.mark.parametrize("formula", ["x * g + w", "x + C(year, Sum) - 1", "np.log(w):size", "I(x > 0) * w"])
def test_missing_values_are_answered_with_nan_as_predict_does(tmp_path, formula):
    rows = FRAME.iloc[:20].copy()
    rows.loc[rows.index[:3], "x"] = np.nan
    rows.loc[rows.index[2:5], "w"] = [np.nan, -1.0, 0.0]
    rows["year"] = rows["year"].astype(float)
    rows.loc[rows.index[6], "year"] = np.nan
    assert_formula(fitted(smf.ols(f"y ~ {formula}", FRAME)), tmp_path, rows)


def test_a_row_of_an_unseen_category_is_answered_with_nan_and_the_others_as_ever(tmp_path):
    source = saved(fitted(smf.ols("y ~ g * x + C(year):w + size", FRAME)), tmp_path)
    made = converted(source, tmp_path)
    inputs = inputs_of(made, FRAME.iloc[:12])
    whole = answers(source, inputs)
    assert np.isfinite(whole).all()
    for column, value in (("g", "nowhere"), ("g", ""), ("g", "A"), ("size", "xl"), ("year", 2021.0), ("year", np.nan)):
        other = {name: values.copy() for name, values in inputs.items()}
        other[column] = other[column].astype("<U9") if other[column].dtype.kind == "U" else other[column]
        other[column][3] = value
        wanted = whole.copy()
        wanted[3] = np.nan
        for artifact in (source, made):
            assert_alike(answers(artifact, other), wanted)
    nothing = {**inputs, "g": np.full((12, 1), "nowhere")}
    assert np.isnan(answers(source, nothing)).all()
    assert np.isnan(answers(made, nothing)).all()
    missing = {**inputs, "x": np.full((12, 1), np.nan)}
    assert np.isnan(answers(source, missing)).all()
    assert np.isnan(answers(made, missing)).all()


def test_an_offset_or_exposure_of_the_fit_plays_no_part_for_new_rows(tmp_path):
    time = RANDOM.uniform(1, 5, N)
    counts = RANDOM.poisson(MEAN * time)
    for results in (
        sm.GLM(counts, X, family=FAMILIES.Poisson(), exposure=time).fit(),
        sm.GLM(counts, X, family=FAMILIES.Poisson(), offset=np.log(time)).fit(),
        fitted(sm.Poisson(counts, X, exposure=time), disp=0),
    ):
        made = assert_exact(results, tmp_path, X)
        assert made.facts["ignored"] in (["offset"], ["exposure"])
        assert not np.allclose(results.predict(X), results.predict())  # they did play a part in the fit


def test_one_row_and_no_row(tmp_path):
    made = converted(saved(fitted(smf.ols("y ~ g * size * x", FRAME)), tmp_path), tmp_path)
    for count in (1, 0):
        found = answers(made, inputs_of(made, FRAME.iloc[:count]))
        assert found.shape == (count, 1)


# --- what is written ---


def test_the_same_file_twice(tmp_path):
    source = saved(fitted(smf.ols("y ~ g * size * np.log(w)", FRAME)), tmp_path)
    first = converted(source, tmp_path).path.read_bytes()
    assert converted(source, tmp_path).path.read_bytes() == first


@pytest.mark.parametrize("opset", [15, 18, 21])
def test_opsets(tmp_path, opset):
    results = fitted(smf.glm("flag ~ g * x + np.log1p(w)", FRAME.assign(flag=FRAME.flag * 1), family=FAMILIES.Binomial(
        link=links.Probit())))  # fmt: skip
    source = saved(results, tmp_path)
    made = converted(source, tmp_path, opset=opset)
    assert made.facts["opsets"]["ai.onnx"] == opset
    assert_alike(answers(made, inputs_of(made, FRAME)), results.predict(FRAME))


def test_an_opset_that_cannot_be_written_is_refused(tmp_path):
    source = saved(fitted(sm.OLS(MEAN, X)), tmp_path)
    for opset in (14, 999):
        with pytest.raises(UsageError, match=f"opset {opset}"):
            converted(source, tmp_path, opset=opset)


def test_a_column_with_the_output_s_name_is_refused(tmp_path):
    results = fitted(smf.ols("y ~ variable", FRAME.rename(columns={"x": "variable"})))
    with pytest.raises(ConversionFailed, match="'variable' has the name of an output"):
        converted(saved(results, tmp_path), tmp_path)
    assert not (tmp_path / "model.onnx").exists()


# --- as a user does it ---


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_formula_from_file_to_verified_model(here, capsys):
    fitted(smf.glm("count ~ g * np.log(w) + C(year) + flag", FRAME, family=FAMILIES.Poisson())).save("fit.pkl")
    rows = FRAME[["g", "w", "year", "flag"]].iloc[:30].copy()
    rows.loc[2, "g"] = "nowhere"
    rows.loc[4, "w"] = np.nan
    rows.to_csv("rows.csv", index=False)
    command = ["convert", "fit.pkl", "--to", "onnx", "-o", "out", "--samples", "rows.csv", "--json"]
    assert main(command) == 2
    assert "--trust" in capsys.readouterr().out
    assert not Path("out").exists()
    assert main([*command, "--trust"]) == 0
    (target,) = json.loads(capsys.readouterr().out)["targets"]
    (step,) = target["steps"]
    (output,) = step["parity"]["outputs"]
    assert (step["converter"], output["name"], output["max_abs"] < 1e-12) == ("statsmodels->onnx", "variable", True)
    assert (step["parity"]["samples"], step["parity"]["boundary_samples"]) == (4126, 4096)


def test_a_matrix_takes_its_columns_by_name(here, capsys):
    frame = sm.add_constant(FRAME[["x", "w"]])
    fitted(sm.OLS(FRAME.y, frame)).save("fit.pkl")
    frame[["w", "const", "x"]].iloc[:20].to_csv("rows.csv", index=False)
    assert main(["convert", "fit.pkl", "--to", "onnx", "--trust", "--samples", "rows.csv", "--json"]) == 0
    (target,) = json.loads(capsys.readouterr().out)["targets"]
    assert target["ok"]
    frame[["x", "w"]].iloc[:20].to_csv("rows.csv", index=False)
    assert main(["convert", "fit.pkl", "--to", "onnx", "--trust", "--samples", "rows.csv"]) == 2
    assert "lacks the column 'const'" in capsys.readouterr().err


def test_made_up_rows_are_joined_by_rows_with_the_fit_s_categories(tmp_path):
    source = saved(fitted(smf.ols("y ~ g * x + C(year) + flag", FRAME)), tmp_path)
    runner = registry().runner("statsmodels")
    made_up = {"x": np.ones((3, 1)), "g": np.full((3, 1), "?"), "year": np.ones((3, 1)), "flag": np.ones((3, 1), bool)}
    rows = runner.boundary_samples(source, made_up, count=200, seed=1)
    assert {name: set(values.ravel().tolist()) for name, values in rows.items()} == {
        "x": {1.0}, "g": {"a", "b", "ç"}, "year": {2019.0, 2020.0, 2022.0}, "flag": {False, True},
    }  # fmt: skip
    assert np.isfinite(answers(source, rows)).all()
    assert_alike(answers(converted(source, tmp_path), rows), answers(source, rows))
    again = runner.boundary_samples(source, made_up, count=200, seed=1)
    assert all(np.array_equal(again[name], rows[name]) for name in rows)
    without = saved(fitted(smf.ols("y ~ x", FRAME)), tmp_path)
    assert runner.boundary_samples(without, {"x": np.ones((3, 1))}, count=200, seed=1) is None


def test_what_is_refused_ends_with_4_and_writes_nothing(here, capsys):
    fitted(smf.ols("y ~ bs(x, df=4)", FRAME)).save("fit.pkl")
    assert main(["convert", "fit.pkl", "--to", "onnx", "-o", "out", "--trust", "--no-verify"]) == 4
    told = capsys.readouterr()
    assert "bs(x, df=4)" in told.err + told.out
    assert not Path("out").exists()
