"""First trials: read from a file or an earlier study, completed by the seed, kept as long as the study lives."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from builders.errors import raises
from builders.records import make_plan
from builders.studies import searched
from cnn_lstm_hyperopt import CNNLSTMHyperparameterOptimizer, cli
from cnn_lstm_hyperopt.config import Params, parse_space
from cnn_lstm_hyperopt.errors import ConfigError
from cnn_lstm_hyperopt.search import (
    Cost,
    Limits,
    State,
    StudyPlan,
    StudyStorage,
    Values,
    random_configuration,
    with_fixed,
)
from cnn_lstm_hyperopt.search.initial_trials.enqueueing import read_enqueued

SPACE = {
    "cnn": {"num_filters": [32, 64], "filter_sizes": [[3, 5, 7], [3, 5]], "dropout": [0.1, 0.5]},
    "lstm": {"bidirectional": False, "attention_heads": [1, 2, 3]},
    "training": {"optimizer": ["adam", "rmsprop"], "batch_size": {"low": 16, "high": 128}},
}
FULL = random_configuration(parse_space(SPACE)[0], 3, 0)
WRITTEN = {**FULL, "cnn.filter_sizes": list(map(int, str(FULL["cnn.filter_sizes"]).split("-")))}


def plan_of(raw: dict[str, Any] | None = None, *, size_limit: float | None = None, **changed: Any) -> StudyPlan:
    """A plan whose configurations have one MB for each LSTM cell."""
    space = {**changed.pop("base", SPACE), **(raw or {})}
    cost = lambda params: Cost(0.0, float(params["lstm.hidden_dim"]))  # noqa: E731
    return make_plan(space, limits=Limits(size_mb=size_limit), cost=cost, **changed)


Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write text, or other content as YAML or JSON, to a file."""

    def to_file(content: Any, name: str = "mine.yaml") -> Path:
        path = tmp_path / name
        dump = json.dumps if path.suffix == ".json" else yaml.safe_dump
        path.write_text(content if isinstance(content, str) else dump(content), encoding="utf-8")
        return path

    return to_file


def test_a_configuration_is_flat_or_in_groups_in_yaml_or_json(write: Write) -> None:
    nested = (
        "- cnn: {num_filters: 64, filter_sizes: [3, 5, 7]}\n  training: {learning_rate: 1e-4}\n  lstm.num_layers: 2"
    )
    expected = {"cnn.num_filters": 64, "training.learning_rate": 1e-4, "lstm.num_layers": 2}
    flat = [{**expected, "cnn.filter_sizes": [3, 5, 7]}]
    found = [read_enqueued(path, plan_of()) for path in (write(nested), write(flat, "mine.json"))]
    assert found[0] == found[1]
    (start,) = found[0].starts
    assert (start.origin, found[0].warnings) == ("enqueued", ())
    assert start.params.items() >= {**expected, "cnn.filter_sizes": "3-5-7"}.items()


def test_a_full_configuration_is_kept_and_may_name_fixed_values(write: Write) -> None:
    plan = plan_of()
    (start,) = read_enqueued(write([WRITTEN]), plan).starts
    assert start.params == {name: value for name, value in FULL.items() if name in plan.space.searched()}
    assert "lstm.bidirectional" in FULL.keys() - start.params.keys()
    (start,) = read_enqueued(write([{"lstm": {"num_layers": 1, "skip_connections": False}}]), plan).starts
    assert "lstm.skip_connections" not in start.params  # an inactive switch may be off


def test_missing_parameters_are_drawn_by_the_seed_and_the_position(write: Write) -> None:
    path = write([{"cnn.num_filters": 64}, {"cnn.num_filters": 64}])
    first, second = read_enqueued(path, plan_of()).starts
    assert first != second
    assert (first, second) == read_enqueued(path, plan_of()).starts
    assert first != read_enqueued(path, plan_of(seed=1)).starts[0]
    space = plan_of().space
    for start in (first, second):
        assert start.params["cnn.num_filters"] == 64
        full = with_fixed(space, start.params)
        assert set(start.params) == set(full) & set(space.searched())
        assert all(space.domains[name].contains(value) for name, value in full.items())
        assert all(space.legal(name, value, full) == value for name, value in full.items())


@pytest.mark.parametrize("seed", range(10))
def test_missing_parameters_make_the_given_ones_legal(write: Write, seed: int) -> None:
    """Conditional parameters become active, and a head count gets a width that it divides."""
    entries = [
        {"fusion.attention_heads": 8},
        {"multi_task.classification_weight": 0.5},
        {"regularization": {"l1": 1e-5}},
        {"lstm.attention_heads": 3},
    ]
    raw = {"lstm": {"hidden_dim": [64, 96], "attention_heads": [1, 3]}}
    starts = read_enqueued(write(entries), plan_of(raw, seed=seed)).starts
    heads, weight, l1, three = (start.params for start in starts)
    assert heads["fusion.method"] == "attention"
    assert weight["multi_task.balancing"] in ("fixed", "dynamic")
    assert l1["regularization.l1_switch"] is True
    assert (three["lstm.hidden_dim"], three["lstm.attention"]) == (96, True)


def test_missing_parameters_keep_the_limits_and_entries_beyond_them_or_twice_are_skipped(write: Write) -> None:
    entries = [{"cnn.dropout": 0.2}] * 8 + [{"lstm.hidden_dim": 512}, {"lstm": {"hidden_dim": 1024}}]
    enqueued = read_enqueued(write(entries), plan_of(size_limit=100))
    assert [start.params["lstm.hidden_dim"] for start in enqueued.starts] == [64] * 8
    (warning,) = enqueued.warnings
    assert "entry 9, entry 10 " in warning
    enqueued = read_enqueued(write([WRITTEN, {"cnn.num_filters": 32}, WRITTEN]), plan_of())
    (warning,) = enqueued.warnings
    assert (len(enqueued.starts), "entry 3 " in warning) == (2, True)


FAULTS = [
    ({"cnn.droput": 0.2}, "cnn.droput", "unknown-parameter", "cnn.dropout?"),
    ({"attention": True}, "attention", "unknown-parameter", "cnn.attention or lstm.attention?"),
    ({"fusion.xyz": 2}, "fusion.xyz", "unknown-parameter", "method, dim, dropout, attention_heads"),
    ({"xyz": 2}, "xyz", "unknown-parameter", "cnn., lstm., fusion., "),
    (None, "", "not-parameters", "nothing"),
    ({"cnn": [64]}, "cnn", "not-parameters", "[64]"),
    ({"cnn.dropout": 0.2, "cnn": {"dropout": 0.2}}, "cnn.dropout", "duplicate-parameter", ""),
    ({"cnn.num_filters": 48}, "cnn.num_filters", "outside-the-space", "32, 64"),
    ({"cnn.dropout": 0.6}, "cnn.dropout", "outside-the-space", "0.1 and 0.5"),
    ({"training.optimizer": "ADAM"}, "training.optimizer", "outside-the-space", "adam?"),
    ({"cnn.filter_sizes": [3]}, "cnn.filter_sizes", "outside-the-space", "[3, 5, 7], [3, 5]"),
    ({"cnn.filter_sizes": "3-5-7"}, "cnn.filter_sizes", "not-filter-sizes", "[3, 5, 7]"),
    ({"cnn.residual": "yes"}, "cnn.residual", "not-a-boolean", "'yes'"),
    ({"cnn.dropout": float("nan")}, "cnn.dropout", "not-a-number", "nan"),
    ({"lstm.num_layers": 1.5}, "lstm.num_layers", "not-an-integer", "1.5"),
    ({"cnn.attention": False, "cnn.attention_heads": 2}, "cnn.attention_heads", "inactive-parameter", "=false"),
    ({"lstm": {"num_layers": 1, "skip_connections": True}}, "lstm.skip_connections", "inactive-parameter", "2 to 16"),
    ({"lstm.hidden_dim": 64, "lstm.attention_heads": 3}, "lstm.attention_heads", "heads-do-not-divide-width", "64"),
    ({"lstm.attention_heads": 3}, "lstm.attention_heads", "heads-do-not-divide-width", ""),
]


def test_all_wrong_entries_are_named_in_one_line_each(write: Write) -> None:
    path = write([entry for entry, *_ in FAULTS])
    with pytest.raises(ConfigError) as caught:
        read_enqueued(path, plan_of())
    assert [(each.field, each.code) for each in caught.value.violations] == [tuple(fault[1:3]) for fault in FAULTS]
    lines = str(caught.value).split("\n")[1:]
    assert [line.split(":")[0] for line in lines] == [f"  entry {n}" for n in range(1, len(FAULTS) + 1)]
    assert all(fault[3] in line for fault, line in zip(FAULTS, lines, strict=True))


FILES = [
    ("", "mine.yaml", "not-configurations"),
    ("cnn.num_filters: 64", "mine.yaml", "not-configurations"),
    ("- {cnn.dropout: 2001-13-01}", "mine.yaml", None),
    ("- !!python/object/apply:os.system [echo]", "mine.yaml", None),
    ("[1", "mine.json", None),
    ("[" + "{}," * 10_000 + "{}]", "mine.json", "too-many-entries"),
    ('{"best_trials": []}', "results.json", "no-best-trials"),
    ('{"best_trials": [{}]}', "results.json", "not-trials"),
]


@pytest.mark.parametrize(("content", "name", "code"), FILES, ids=lambda value: str(value)[:30])
def test_a_file_without_configurations_is_refused(write: Write, content: str, name: str, code: str | None) -> None:
    path = write(content, name)
    with pytest.raises(ConfigError) as caught:
        read_enqueued(path, plan_of())
    assert code in (None, caught.value.code)
    assert str(caught.value).startswith(f"--enqueue {path}")
    assert "\n" not in str(caught.value)


def test_a_place_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bytes.yaml").write_bytes(b"\x80\x02}q\x00.")
    os.mkfifo(tmp_path / "pipe")
    for name in ("nowhere.yaml", "bytes.yaml", "pipe", "."):
        with pytest.raises(ConfigError, match=r"^--enqueue "):
            read_enqueued(tmp_path / name, plan_of())
    with raises(ConfigError, "no-study", "study.enqueue"):
        read_enqueued(tmp_path, plan_of())


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory, tiny_settings: dict[str, Any]) -> tuple[Path, dict[str, Any]]:
    """A finished study and its results."""
    save_dir = searched(tmp_path_factory.mktemp("earlier") / "results", 12, space=tiny_settings["search_space"])
    results = json.loads((save_dir / "results.json").read_text(encoding="utf-8"))
    assert results["best_trials"]
    return save_dir, results


def stored(save_dir: Path) -> list[tuple[str | None, Params]]:
    """Origin and parameters of each trial."""
    storage = StudyStorage(save_dir / "study.db")
    records = storage.records()
    storage.close()
    return [(record.attributes.get("origin"), record.params) for record in records]


@pytest.mark.parametrize("source", ["", "results.json"])
def test_an_earlier_front_is_taken_by_rank(
    earlier: tuple[Path, dict[str, Any]], tiny_settings: dict[str, Any], source: str
) -> None:
    (save_dir, results), base = earlier, tiny_settings["search_space"]
    front = [stored(save_dir)[best["trial_number"]][1] for best in results["best_trials"]]
    enqueued = read_enqueued(save_dir / source, plan_of(base=base))
    assert ([start.params for start in enqueued.starts], enqueued.warnings) == (front, ())
    wider = read_enqueued(save_dir / source, plan_of({"augmentation": {"switch": [False, True]}}, base=base))
    assert all(start.params["augmentation.switch"] is False for start in wider.starts)  # fixed in the earlier study
    other = read_enqueued(save_dir / source, plan_of({"lstm": {"hidden_dim": 32}}, base=base))
    assert other.starts == ()
    (warning,) = other.warnings
    assert warning.startswith(f"--enqueue {save_dir / source}: {len(front)} of {len(front)} ")
    assert "rank 1: lstm.hidden_dim must be 32" in warning


def test_parameters_of_another_version_are_outside_the_space(write: Write) -> None:
    good = {"cnn.num_filters": 32, "cnn.dropout": 0.25}
    trials = [{"params": params} for params in (good, {**good, "gnn.depth": 3}, {**good, "cnn.num_filters": 64})]
    enqueued = read_enqueued(write({"best_trials": trials}, "results.json"), plan_of())
    assert [start.params["cnn.num_filters"] for start in enqueued.starts] == [32, 64]
    assert "rank 2: gnn.depth" in enqueued.warnings[0]


def test_the_data_decide_whether_networks_standardise_their_windows(write: Write) -> None:
    """Trials of an earlier version, and of bars, have no such networks."""
    trials = [
        {"params": {"cnn.num_filters": 32, "cnn.dropout": 0.25, "inputs.standardise": flag}} for flag in (True, False)
    ]
    path = write({"best_trials": trials}, "results.json")
    for domain, flags in ((True, [True] * 2), (False, [False] * 2), ([False, True], [True, False])):
        enqueued = read_enqueued(path, plan_of({"inputs": {"standardise": domain}}))
        found = [start.params.get("inputs.standardise", domain) for start in enqueued.starts]
        assert (found, enqueued.warnings) == (flags, ())


SKILL = {"chance": 0.5, "n_validation": 100}
UNUSABLE = [
    (SKILL, State.PRUNED, "no-complete-trial"),
    (None, State.COMPLETE, "no-skill-threshold"),
    ({**SKILL, "metric": "nonsense"}, State.COMPLETE, "no-skill-threshold"),
]


@pytest.mark.parametrize(("skill", "state", "code"), UNUSABLE, ids=str)
def test_a_study_without_a_front_or_a_threshold_is_refused(tmp_path: Path, skill: Any, state: State, code: str) -> None:
    (tmp_path / "config.yaml").write_text("save_dir: x\n", encoding="utf-8")
    storage = StudyStorage(tmp_path / "study.db", create="mine", attributes={"skill_gate": skill})
    trial_id, _ = storage.start({}, {}, {"size_mb": 1.0})
    storage.finish(trial_id, state, Values(0.5, 1, 1) if state is State.COMPLETE else None, {})
    storage.close()
    with raises(ConfigError, code, "study.enqueue"):
        read_enqueued(tmp_path, plan_of())
    (tmp_path / "study.db").write_bytes(b"")
    with raises(ConfigError, "not-a-study", "study.enqueue") as text:
        read_enqueued(tmp_path, plan_of())
    assert "--save-dir" not in text[0]


@pytest.mark.slow
def test_a_resumed_study_keeps_its_first_trials_without_the_file(
    start_cli: Callable[..., Any], tiny_file: Path, write: Write, tmp_path: Path
) -> None:
    """Workers, which are other processes, read the first trials from the study, too."""
    mine = write(
        [{"cnn.num_filters": 8, "lstm": {"hidden_dim": 16}}, {"training.optimizer": "adam"}, {"cnn.residual": True}]
    )
    run = start_cli("run", "--config", tiny_file, "--enqueue", mine, "--portfolio", "--n-trials", "2", "--workers", "1")
    _, err = run.communicate(timeout=120)
    assert run.returncode in (0, 1), err  # 1: two trials need not beat chance
    save_dir = tmp_path / "results"
    storage = StudyStorage(save_dir / "study.db")
    starts = [(start["origin"], start["params"]) for start in storage.attribute("starts")]
    storage.close()
    assert [origin for origin, _ in starts] == ["enqueued"] * 3 + ["lstm", "cnn", "lstm-fcn", "small"]
    assert stored(save_dir) == starts[:2]
    mine.unlink()
    assert cli.main(["resume", "--save-dir", str(save_dir), "--n-trials", "3"]) in (0, 1)
    config = {"save_dir": str(save_dir), "workers": 2}
    with CNNLSTMHyperparameterOptimizer(config=config, resume=True, quiet=True) as optimizer:
        optimizer.optimize(n_trials=6)
    assert stored(save_dir) == starts[:6]


@pytest.mark.slow
def test_a_resumed_study_takes_no_other_first_trials_and_wrong_ones_create_nothing(
    tiny: dict[str, Any], write: Write
) -> None:
    config = {**tiny, "study": {"enqueue": str(write([{"cnn.droput": 1}]))}}
    with raises(ConfigError, "unknown-parameter", "cnn.droput"):
        CNNLSTMHyperparameterOptimizer(config=config, quiet=True).optimize(n_trials=1)
    assert not Path(tiny["save_dir"]).exists()
    mine, other = write([{"cnn.residual": True}]), write([{"cnn.residual": False}], "other.yaml")
    config = {**tiny, "study": {"enqueue": str(mine), "portfolio": False}}
    with CNNLSTMHyperparameterOptimizer(config=config, quiet=True) as optimizer:
        optimizer.optimize(n_trials=1)
        optimizer.optimize(n_trials=2)  # reopened, with the same
        assert [trial.user_attrs.get("origin") for trial in optimizer.study.trials] == ["enqueued", None]
        assert optimizer.study.trials[0].params["cnn.residual"] is True
    for enqueue in (other, Path(tiny["save_dir"])):
        config["study"] = {"enqueue": str(enqueue)}
        with pytest.raises(ConfigError) as caught:
            CNNLSTMHyperparameterOptimizer(config=config, resume=True, quiet=True).optimize(n_trials=3)
        assert f"(--enqueue) {enqueue}" in str(caught.value)
        assert str(mine) in str(caught.value)


@pytest.mark.parametrize("source", ["", "results.json"])
def test_fronts_pass_between_studies_of_one_task_and_of_two(tmp_path: Path, source: str) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    searched(one, 8, space={"multi_task": {"balancing": "fixed", "classification_weight": 1.0}})
    config = yaml.safe_load((one / "config.yaml").read_text(encoding="utf-8"))
    del config["search_space"]["multi_task"]  # the study itself has dropped them
    (one / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    (one / "data.json").write_text('{"value_name": null}', encoding="utf-8")
    searched(two, 8, space={"multi_task": {"balancing": ["dynamic", "uncertainty"]}})
    plan = plan_of(base={})
    for_two = read_enqueued(one / source, plan)
    assert all(start.params["multi_task.balancing"] in ("fixed", "dynamic", "uncertainty") for start in for_two.starts)
    for_one = read_enqueued(two / source, replace(plan, space=plan.space.for_one_task()))
    assert not any(name.startswith("multi_task") for start in for_one.starts for name in start.params)
    for enqueued in (for_one, for_two):
        assert (bool(enqueued.starts), enqueued.warnings) == (True, ())
