"""Ensembles in a Triton repository: written, served by the real server, swapped, rolled back, and kept whole."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

import pytest

from mlconvert import api
from mlconvert.cli import main
from mlconvert.ensembles.edges import Tensor
from mlconvert.errors import MlconvertError, RepositoryInvalid, UsageError
from mlconvert.operations.publish import publish
from mlconvert.repositories.triton import config as cfg
from mlconvert.repositories.triton import ensembles, rollback, versions

GOLDEN = Path(__file__).parent / "golden"


def _three():
    """The fixture's module: tests are no package."""
    path = Path(__file__).parents[1] / "ensembles" / "three_models.py"
    spec = importlib.util.spec_from_file_location("three_models", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["three_models"] = module
    spec.loader.exec_module(module)
    return module


three = _three()


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """The folder of a run of the three models: `build/three/…`, with the repository in it."""
    folder = tmp_path_factory.mktemp("three")
    report = api.run(three.write(folder), out=folder / "build")
    assert [entry["published"]["name"] for entry in report["targets"]] == [
        "three_total",
        "three_projection",
        "three_join",
        "three",
    ]
    return folder


@pytest.fixture
def copy(published, tmp_path):
    """A copy of that folder, to be changed."""
    return Path(shutil.copytree(published, tmp_path / "copy"))


def config_of(folder, name="three"):
    return cfg.read(folder / "build" / "repository" / name / "config.pbtxt")


def test_the_configuration_is_complete(published):
    text = (published / "build/repository/three/config.pbtxt").read_text()
    assert text == (GOLDEN / "ensemble.pbtxt").read_text()
    config = config_of(published)
    assert not config.instance_group
    assert not config.model_warmup
    assert not config.HasField("dynamic_batching")
    assert not config.HasField("optimization")
    assert config.max_batch_size == 16  # the least of its models'
    assert {step.model_version for step in config.ensemble_scheduling.step} == {-1}


def test_the_real_server_serves_it(published, loads):
    rows = three.rows_of(16)
    loads(published / "build/repository", answers={"three": ({"rows": rows}, three.answers(rows))})


def test_the_answers_of_the_record_over_the_wire(published):
    """`total` is one number a row to the models, a column to clients: the configuration tells the comparison so."""
    from mlconvert.operations.serve import serve_findings

    findings, entries = serve_findings(published / "build/repository", names=("three",))
    assert findings == ()
    (entry,) = [entry for entry in entries if entry["name"] == "three"]
    assert [entry[protocol]["ok"] for protocol in ("http", "grpc")] == [True, True]
    assert [row["name"] for row in entry["http"]["outputs"]] == ["scores", "total"]


def test_a_split_pipeline_in_the_real_server(trained, tmp_path, loads):
    import numpy as np
    import pandas as pd

    recipe = tmp_path / "churn.yaml"
    recipe.write_text(
        f"""
        model: {{source: {trained("churn.skops")}, from: sklearn}}
        samples: {trained("churn.csv")}
        ensemble:
          split: last
          parts: {{preprocessing: {{steps: [onnx: {{inputs: columns}}], parity: off}}, model: {{parity: off}}}}
          publish: {{to: triton, name: churn}}
        """
    )
    report = api.run(recipe, out=tmp_path / "build")
    assert [entry["name"] for entry in report["targets"]] == ["preprocessing", "model", "ensemble"]
    assert report["targets"][-1]["steps"][-1]["parity"]["ok"]
    from skops import io

    pipeline = io.load(trained("churn.skops"), trusted=io.get_untrusted_types(file=trained("churn.skops")))
    table = pd.read_csv(trained("churn.csv"))[list(pipeline.feature_names_in_)].head(8)
    inputs = {
        name: (
            table[name].astype(str).to_numpy("U")
            if table[name].dtype.kind in "OT"
            else table[name].to_numpy(np.float64)
        )
        for name in table
    }
    inputs = {name: values.reshape(-1, 1) for name, values in inputs.items()}
    wanted = {"label": pipeline.predict(table).reshape(-1, 1), "probabilities": pipeline.predict_proba(table)}
    loads(tmp_path / "build/repository", answers={"churn": (inputs, wanted)})


def test_again_nothing_is_published(copy):
    report = api.run(copy / "three.yaml", out=copy / "build")
    assert [(entry["published"]["unchanged"], entry["published"]["version"]) for entry in report["targets"]] == [
        (True, 1)
    ] * 4


def test_new_models_make_a_new_version_of_the_whole(copy, loads):
    three.write(copy, factor=2.0)
    report = api.run(copy / "three.yaml", out=copy / "build")
    states = {entry["published"]["name"]: entry["published"] for entry in report["targets"]}
    assert {name: (row["version"], row["unchanged"]) for name, row in states.items()} == {
        "three_total": (1, True),
        "three_projection": (2, False),
        "three_join": (1, True),
        "three": (2, False),
    }
    repository = copy / "build/repository"
    assert [(row.number, row.live) for row in versions(repository, "three")] == [(1, False), (2, True)]
    rows = three.rows_of(4)
    answers = three.answers(rows)
    loads(repository, answers={"three": ({"rows": rows}, answers | {"scores": 2 * answers["scores"]})})
    assert main(["verify", str(repository / "three")]) == 0
    rollback(repository, "three")
    # The models are still the new ones: the answers in the old version's record are not theirs.
    assert main(["verify", str(repository / "three")]) == 8
    rollback(repository, "three_projection")
    assert main(["verify", str(repository / "three")]) == 0
    loads(repository, answers={"three": ({"rows": rows}, answers)})


def test_a_model_is_swapped_under_an_ensemble_that_is_served(copy, triton_server):
    http, grpc = triton_server.clients
    root, repository = triton_server.root, copy / "build/repository"
    names = [path.name for path in repository.iterdir()]
    rows = three.rows_of(3)
    try:
        for name in names:
            shutil.copytree(repository / name, root / name)
        http.load("three")  # the server loads what it is made of, too
        for client in (http, grpc):
            assert abs(client.infer("three", {"rows": rows})["scores"] - three.answers(rows)["scores"]).max() < 1e-5
        three.write(copy, factor=2.0)
        api.run(copy / "three.yaml", out=copy / "build")
        shutil.copytree(repository / "three_projection/2", root / "three_projection/2")
        http.load("three_projection")
        for client in (http, grpc):
            doubled = client.infer("three", {"rows": rows})["scores"]
            assert abs(doubled - 2 * three.answers(rows)["scores"]).max() < 1e-5
    finally:
        triton_server.drop(*sorted(names, key=len))


def test_publishing_by_hand_needs_the_models_there(published, tmp_path):
    whole = published / "build/ensemble"
    with pytest.raises(RepositoryInvalid, match="'three_total' is not in the repository"):
        publish(whole, tmp_path / "models", to="triton", name="other")
    assert not (tmp_path / "models").exists()
    shutil.copytree(published / "build/repository", tmp_path / "models")
    done = publish(whole, tmp_path / "models", to="triton", name="other", options={"max_batch_size": "4"})
    assert done["verified"]
    assert cfg.read(tmp_path / "models/other/config.pbtxt").max_batch_size == 4
    with pytest.raises(RepositoryInvalid, match="the ensemble is to take up to 99 rows"):
        publish(whole, tmp_path / "models", to="triton", name="third", options={"max_batch_size": "99"})


def test_other_edges_under_the_same_name_are_refused(copy):
    """All versions of an ensemble share its configuration: the edges of one would be those of all."""
    recipe = three.RECIPE.replace("[scores, total]", "[scores, sums]").replace("total: total}", "sum: sums}")
    recipe = recipe.replace("{a: total,", "{a: sums,").replace("{sum: total}", "{sum: sums}")
    three.write(copy, recipe)
    with pytest.raises(RepositoryInvalid, match="does not fit the configuration of 'three'"):
        api.run(copy / "three.yaml", out=copy / "build")


def test_a_configuration_that_an_ensemble_could_not_go_on_with(published):
    repository = published / "build/repository"
    config = config_of(published, "three_projection")
    assert ensembles.ensembles_broken_by(repository, "three_projection", config) == ()
    assert ensembles.ensembles_broken_by(repository, "new", config) == ()
    for change, words in (
        (lambda c: setattr(c, "max_batch_size", 8), "the ensemble takes up to 16 rows"),
        (lambda c: setattr(c, "max_batch_size", 0), "1 axis, where 2 are expected"),
        (lambda c: c.output[0].dims.__setitem__(0, 5), "gives it as float32[?, 5]"),
        (lambda c: setattr(c.output[0], "data_type", cfg.data_type_number("float64")), "another type"),
        (lambda c: setattr(c.output[0], "name", "z"), "has no output 'y'"),
        (lambda c: c.input[0].dims.__setitem__(0, 9), "takes 'x' as float32[?, 9]"),
    ):
        other = type(config)()
        other.CopyFrom(config)
        change(other)
        (sentence,) = ensembles.ensembles_broken_by(repository, "three_projection", other)
        assert sentence.startswith("the ensemble 'three' could not go on: ")
        assert words in sentence


def test_publishing_a_model_that_breaks_an_ensemble_is_refused(copy):
    repository = copy / "build/repository"
    before = sorted(path.relative_to(repository) for path in repository.rglob("*"))
    with pytest.raises(RepositoryInvalid, match="the ensemble 'three' could not go on"):
        publish(copy / "build/project", repository, to="triton", name="three_projection", options={"max_batch_size": 8})
    assert sorted(path.relative_to(repository) for path in repository.rglob("*")) == before


def test_what_is_wrong_with_an_ensemble_in_a_repository(copy):
    repository, config = copy / "build/repository", config_of(copy)
    assert ensembles.ensemble_flaws(repository, config) == []
    config.input[0].dims[0] = 5
    assert ensembles.ensemble_flaws(repository, config) == [
        "the ensemble has 'rows' as float32[?, 5], its model 'three_total' float32[?, 4]",
        "the ensemble has 'rows' as float32[?, 5], its model 'three_projection' float32[?, 4]",
    ]
    del config.input[:]
    assert all("no step makes the tensor 'rows'" in text for text in ensembles.ensemble_flaws(repository, config)[1:])
    shutil.rmtree(repository / "three_join")
    with pytest.raises(RepositoryInvalid, match="'three_join' is not in the repository"):
        ensembles.ensemble_flaws(repository, config_of(copy))


def test_tensors_with_names_of_the_backends_own():
    from mlconvert.ensembles.edges import Interface
    from mlconvert.signature import Signature, TensorSpec

    spec = Signature((TensorSpec("x", "float32", ("batch", 2)),), (TensorSpec("y", "float32", ("batch", 2)),))
    two = Tensor("float32", (2,))
    served = Interface({"input__0": two}, {"output__0": two}, 8)
    assert ensembles.served_names(spec, served) == {"x": "input__0", "y": "output__0"}
    assert ensembles.served_names(spec, Interface({"x": two}, {"y": two}, 8)) == {"x": "x", "y": "y"}
    with pytest.raises(UsageError, match="is served with output__0, output__1"):
        ensembles.served_names(spec, Interface({"x": two}, {"output__0": two, "output__1": two}, 8))


STEPS = ("files", "config", "live", "settle")


@pytest.mark.parametrize("name", ["three_projection", "three"])
def test_a_publisher_that_fails_leaves_what_serves(copy, monkeypatch, name):
    """Models first, the ensemble last: whichever publishing fails, what is there fits together."""
    from mlconvert.repositories.triton import publication

    three.write(copy, factor=2.0)
    repository = copy / "build/repository"

    def fails(work):
        if work.name == name:
            raise OSError(28, "No space left on device")

    steps = tuple((label, fails if label == "live" else step) for label, step in publication.STEPS)
    for module in list(sys.modules.values()):
        if getattr(module, "STEPS", None) is publication.STEPS and module is not publication:
            monkeypatch.setattr(module, "STEPS", steps)
    monkeypatch.setattr(publication, "STEPS", steps)
    with pytest.raises(MlconvertError):
        api.run(copy / "three.yaml", out=copy / "build")
    for path in repository.iterdir():
        if ensembles.is_ensemble(config := cfg.read(path / "config.pbtxt")):
            assert ensembles.ensemble_flaws(repository, config) == []
    assert [row.number for row in versions(repository, "three")] == [1]
    monkeypatch.undo()
    api.run(copy / "three.yaml", out=copy / "build")
    assert [row.number for row in versions(repository, "three")] == [1, 2]


# --- our checks against the server's ---


def step(config, model):
    return next(each for each in config.ensemble_scheduling.step if each.model_name == model)


def tensor(side, name, *dims, dtype="float32"):
    side.add(name=name, data_type=cfg.data_type_number(dtype), dims=dims)


def more(config, output):
    step_ = config.ensemble_scheduling.step.add(model_name="three_total", model_version=-1)
    step_.input_map["x"], step_.output_map["sum"] = "rows", output


def rows_first(config):
    config.max_batch_size = 0
    for each in (*config.input, *config.output):
        each.dims.insert(0, -1)


def unbatched(config, *models):
    for model in models:
        step(config, model).model_name = f"{model}_unbatched"


VARIANTS = {
    "as it is": (True, lambda c: None),
    "a dynamic output": (True, lambda c: c.output[0].dims.__setitem__(0, -1)),
    "one model twice": (True, lambda c: (more(c, "again"), tensor(c.output, "again", 1))),
    "rows among the dims": (True, rows_first),
    "a model that does not batch": (True, lambda c: unbatched(c, "three_projection")),
    "both": (True, lambda c: (rows_first(c), unbatched(c, "three_projection"))),
    "a column that is none": (False, lambda c: (rows_first(c), unbatched(c, "three_total"))),
    "a dead end": (False, lambda c: more(c, "unused")),
    "an idle input": (False, lambda c: tensor(c.input, "idle", 4)),
    "an output from nowhere": (False, lambda c: tensor(c.output, "nothing", 4)),
    "too many rows": (False, lambda c: setattr(c, "max_batch_size", 17)),
    "a circle": (False, lambda c: step(c, "three_total").input_map.__setitem__("x", "scores")),
    "two sources": (False, lambda c: step(c, "three_total").output_map.__setitem__("sum", "projected")),
    "an input that is not given": (False, lambda c: step(c, "three_join").input_map.pop("a")),
    "an unknown input": (False, lambda c: step(c, "three_join").input_map.__setitem__("nope", "rows")),
    "an unknown output": (False, lambda c: step(c, "three_join").output_map.__setitem__("nope", "z")),
    "another type": (False, lambda c: setattr(c.output[0], "data_type", cfg.data_type_number("float64"))),
    "another length": (False, lambda c: c.output[0].dims.__setitem__(0, 7)),
    "another rank": (False, lambda c: c.output[0].dims.append(1)),
    "another rank of dynamic ones": (False, lambda c: c.output[0].dims.__setitem__(slice(None), [-1, -1])),
}


def write_variant(repository, name, source, change):
    config = cfg.read(repository / source / "config.pbtxt")
    config.name = name
    del config.model_warmup[:]
    change(config)
    shutil.copytree(repository / source / "1", repository / name / "1")
    (repository / name / "config.pbtxt").write_text(cfg.as_text(config))


def without_batches(config):
    config.max_batch_size = 0
    config.ClearField("dynamic_batching")
    for each in (*config.input, *config.output):
        if each.HasField("reshape"):
            each.ClearField("reshape")
            each.dims[:] = [-1]
        else:
            each.dims.insert(0, -1)


def test_the_server_agrees_about_ensembles(copy, triton_server):
    """What is found in a configuration is what the server refuses, and nothing is found in what it loads."""
    http, _ = triton_server.clients
    repository, root = copy / "build/repository", triton_server.root
    for name in ("three_total", "three_projection"):
        write_variant(repository, f"{name}_unbatched", name, without_batches)
    for number, (_, change) in enumerate(VARIANTS.values()):
        write_variant(repository, f"variant{number}", "three", change)
    names = [path.name for path in repository.iterdir()]
    for name in names:
        shutil.copytree(repository / name, root / name)
    try:
        for number, (label, (good, _)) in enumerate(VARIANTS.items()):
            name = f"variant{number}"
            found = ensembles.ensemble_flaws(repository, cfg.read(repository / name / "config.pbtxt"))
            assert (found == []) == good, (label, found)
            try:
                http.load(name)
                loaded = True
            except RepositoryInvalid:
                loaded = False
            assert loaded == good, label
    finally:
        triton_server.drop(*sorted(names, key=lambda name: not name.startswith("variant")))
