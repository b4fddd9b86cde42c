"""What a study is begun with: read whole or refused with every fault, completed by the seed, kept as long as the study lives."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from builders.studies import searched
from cnn_lstm_hyperopt import CNNLSTMHyperparameterOptimizer, cli, run_cnn_lstm_hyperparameter_optimization
from cnn_lstm_hyperopt.config import Params, PrunerSettings, SamplerSettings, parse_space
from cnn_lstm_hyperopt.errors import ConfigError
from cnn_lstm_hyperopt.search import (
    Cost,
    Limits,
    SkillThreshold,
    State,
    StudyPlan,
    StudyStorage,
    Values,
    random_configuration,
)
from cnn_lstm_hyperopt.search.initial_trials.enqueueing import read_enqueued

SPACE = {
    "cnn": {"num_filters": [32, 64], "filter_sizes": [[3, 5, 7], [3, 5]], "dropout": [0.1, 0.5]},
    "lstm": {"bidirectional": False, "attention_heads": [1, 2, 3]},
    "training": {"optimizer": ["adam", "rmsprop"], "batch_size": {"low": 16, "high": 128}},
}
FULL = random_configuration(parse_space(SPACE)[0], 3, 0)


def plan_of(
    raw: dict[str, Any] | None = None, *, seed: int = 0, size_limit: float | None = None, base: dict[str, Any] = SPACE
) -> StudyPlan:
    """Of a study in which a configuration has a MB for each LSTM cell."""
    space, faults = parse_space({**base, **(raw or {})})
    assert faults == []
    return StudyPlan(
        space=space,
        sampler=SamplerSettings(),
        pruner=PrunerSettings(),
        seed=seed,
        n_trials=10,
        max_epochs=3,
        limits=Limits(size_mb=size_limit),
        skill=SkillThreshold(0.5, 100),
        cost=lambda params: Cost(0.0, float(params["lstm.hidden_dim"])),
    )


Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a list (or what else) as a file; text as it stands."""

    def to_file(content: Any, name: str = "mine.yaml") -> Path:
        path = tmp_path / name
        dump = json.dumps if path.suffix == ".json" else yaml.safe_dump
        path.write_text(content if isinstance(content, str) else dump(content), encoding="utf-8")
        return path

    return to_file


# ---------------------------------------------------------------------- what can be said


NESTED = "- cnn: {num_filters: 64, filter_sizes: [3, 5, 7]}\n  training: {learning_rate: 1e-4}\n  lstm.num_layers: 2\n"


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (NESTED, "mine.yaml"),
        (
            [
                {
                    "cnn.num_filters": 64,
                    "cnn.filter_sizes": [3, 5, 7],
                    "training.learning_rate": 1e-4,
                    "lstm.num_layers": 2,
                }
            ],
            "mine.json",
        ),
    ],
)
def test_a_configuration_is_flat_or_in_groups_in_yaml_or_json(write: Write, content: Any, name: str) -> None:
    enqueued = read_enqueued(write(content, name), plan_of())
    assert enqueued.warnings == ()
    (start,) = enqueued.starts
    assert start.origin == "enqueued"
    expected = {
        "cnn.num_filters": 64,
        "cnn.filter_sizes": "3-5-7",
        "training.learning_rate": 1e-4,
        "lstm.num_layers": 2,
    }
    assert start.params.items() >= expected.items()
    assert start == read_enqueued(write(NESTED), plan_of()).starts[0]


def test_a_whole_configuration_stays_as_it_is_and_fixed_values_may_be_named(write: Write) -> None:
    path = write([{name: [3, 5] if name == "cnn.filter_sizes" else value for name, value in FULL.items()}])
    expected = {**FULL, "cnn.filter_sizes": "3-5"}
    plan = plan_of()
    (start,) = read_enqueued(path, plan).starts
    assert start.params == {name: value for name, value in expected.items() if name in plan.space.searched()}
    assert "lstm.bidirectional" in FULL.keys() - start.params.keys()


def test_what_is_left_open_is_drawn_by_the_seed_and_the_place_in_the_list(write: Write) -> None:
    path = write([{"cnn.num_filters": 64}, {"cnn.num_filters": 64}])
    first, second = read_enqueued(path, plan_of()).starts
    assert first != second
    assert (first, second) == read_enqueued(path, plan_of()).starts
    assert first != read_enqueued(path, plan_of(seed=1)).starts[0]
    space = plan_of().space
    for start in (first, second):
        assert start.params["cnn.num_filters"] == 64
        whole = {**start.params, "lstm.bidirectional": False, "augmentation.switch": False}
        assert set(space.active(whole)) == set(whole)
        assert all(space.domains[name].contains(value) for name, value in whole.items())
        assert all(space.legal(name, value, whole) == value for name, value in whole.items())


@pytest.mark.parametrize("seed", range(10))
def test_what_is_left_open_is_drawn_so_that_what_is_given_can_be(write: Write, seed: int) -> None:
    """A parameter that exists only under a condition, and a head count that divides only one width."""
    plan = plan_of(seed=seed)
    entries = [
        {"fusion.attention_heads": 8},
        {"multi_task.classification_weight": 0.5},
        {"regularization": {"l1": 1e-5}},
        {"lstm.attention_heads": 3},
    ]
    raw = {"lstm": {"hidden_dim": [64, 96], "attention_heads": [1, 3]}}
    heads, weight, l1, _ = (start.params for start in read_enqueued(write(entries), plan_of(raw, seed=seed)).starts)
    assert heads["fusion.method"] == "attention"
    assert weight["multi_task.balancing"] in ("fixed", "dynamic")
    assert l1["regularization.l1_switch"] is True
    (three,) = read_enqueued(write([{"lstm.attention_heads": 3}]), plan_of(raw, seed=seed)).starts
    assert (three.params["lstm.hidden_dim"], three.params["lstm.attention"]) == (96, True)
    assert plan.space.domains["fusion.method"].contains("gated")


def test_what_is_left_open_is_drawn_within_the_limits_where_that_can_be(write: Write) -> None:
    entries = [{"cnn.dropout": 0.2}] * 8 + [{"lstm.hidden_dim": 512}, {"lstm": {"hidden_dim": 1024}}]
    enqueued = read_enqueued(write(entries), plan_of(size_limit=100))
    assert [start.params["lstm.hidden_dim"] for start in enqueued.starts] == [64] * 8
    assert [text.split("mine.yaml: ")[1] for text in enqueued.warnings] == [
        "entry 9, entry 10 left out: predicted to exceed the limits of a trial"
    ]


def test_the_same_configuration_is_taken_once(write: Write) -> None:
    entry = {name: list(map(int, str(v).split("-"))) if name == "cnn.filter_sizes" else v for name, v in FULL.items()}
    enqueued = read_enqueued(write([entry, {"cnn.num_filters": 32}, entry]), plan_of())
    assert len(enqueued.starts) == 2
    assert [text.split("mine.yaml: ")[1] for text in enqueued.warnings] == [
        "entry 3 left out: the same as an earlier one"
    ]


# ---------------------------------------------------------------------- what is wrong


FAULTS = [
    # names
    ({"cnn.droput": 0.2}, "cnn.droput is not a parameter; did you mean cnn.dropout?"),
    ({"lstm": {"hiden_dim": 64}}, "lstm.hiden_dim is not a parameter; did you mean lstm.hidden_dim?"),
    ({"learning_rate": 1e-3}, "learning_rate is not a parameter; did you mean training.learning_rate?"),
    ({"attention": True}, "attention is not a parameter; did you mean cnn.attention or lstm.attention?"),
    ({"rnn.num_layers": 2}, "rnn.num_layers is not a parameter; did you mean lstm.num_layers?"),
    ({"fusion.xyz": 2}, "fusion.xyz is not a parameter; fusion has method, dim, dropout, attention_heads"),
    (
        {"xyz": 2},
        "xyz is not a parameter; its name begins with one of cnn., lstm., fusion., training., regularization., multi_task.,"
        " augmentation.",
    ),
    (
        {1: 2},
        "1 is not a parameter; its name begins with one of cnn., lstm., fusion., training., regularization., multi_task.,"
        " augmentation.",
    ),
    # shapes
    (5, "must hold parameters, such as lstm.hidden_dim: 128, but got 5"),
    (None, "must hold parameters, such as lstm.hidden_dim: 128, but got nothing"),
    ({}, "must hold parameters, such as lstm.hidden_dim: 128, but got {}"),
    ({"cnn": [64]}, "cnn must hold parameter names, but got [64]"),
    (
        {"cnn.dropout": 0.2, "cnn": {"dropout": 0.2}},
        "cnn.dropout is given twice, flat and in its group; leave one of them out",
    ),
    # values
    (
        {"cnn.num_filters": 48},
        "cnn.num_filters must be one of 32, 64, but got 48; change it, or widen search_space.cnn.num_filters",
    ),
    (
        {"cnn.dropout": 0.6},
        "cnn.dropout must lie between 0.1 and 0.5, but got 0.6; change it, or widen search_space.cnn.dropout",
    ),
    (
        {"training.batch_size": 256},
        "training.batch_size must lie between 16 and 128, but got 256; change it, or widen search_space.training.batch_size",
    ),
    (
        {"lstm.bidirectional": True},
        "lstm.bidirectional must be false, to which the search space fixes it, but got True; leave it out, or widen"
        " search_space.lstm.bidirectional",
    ),
    (
        {"training.optimizer": "sgd"},
        "training.optimizer must be one of adam, rmsprop, but got 'sgd'; change it, or widen search_space.training.optimizer",
    ),
    (
        {"training.optimizer": ["adam"]},
        "training.optimizer must be one of adam, rmsprop, but got ['adam']; change it, or widen"
        " search_space.training.optimizer",
    ),
    (
        {"cnn.filter_sizes": [3]},
        "cnn.filter_sizes must be one of [3, 5, 7], [3, 5], but got [3]; change it, or widen search_space.cnn.filter_sizes",
    ),
    (
        {"cnn.filter_sizes": "3-5-7"},
        "cnn.filter_sizes must be a list of filter sizes such as [3, 5, 7], but got '3-5-7'",
    ),
    ({"cnn.residual": "yes"}, "cnn.residual must be true or false, but got 'yes'"),
    ({"cnn.dropout": "much"}, "cnn.dropout must be a number, but got 'much'"),
    ({"cnn.dropout": float("nan")}, "cnn.dropout must be a number, but got nan"),
    ({"cnn.dropout": {"fixed": 0.2}}, "cnn.dropout must be a number, but got {'fixed': 0.2}"),
    ({"lstm.num_layers": 1.5}, "lstm.num_layers must be a whole number, but got 1.5"),
    # rules between parameters
    (
        {"cnn.attention": False, "cnn.attention_heads": 2},
        "cnn.attention_heads is a parameter only where cnn.attention is true, but got cnn.attention=false; change one of them",
    ),
    (
        {"multi_task": {"balancing": "uncertainty", "classification_weight": 0.5}},
        "multi_task.classification_weight is a parameter only where multi_task.balancing is fixed or dynamic, but got"
        " multi_task.balancing=uncertainty; change one of them",
    ),
    (
        {"lstm": {"num_layers": 1, "skip_connections": True}},
        "lstm.skip_connections is a parameter only where lstm.num_layers is 2 to 16, but got lstm.num_layers=1; change one of"
        " them",
    ),
    (
        {"augmentation.mixup": 0.1},
        "augmentation.mixup is a parameter only where augmentation.switch is true, which the search space does not have;"
        " leave it out",
    ),
    (
        {"lstm.hidden_dim": 64, "lstm.attention_heads": 3},
        "lstm.attention_heads must divide the width 64 of its branch, but got 3; change it, or leave it out",
    ),
]


@pytest.mark.parametrize(("entry", "message"), FAULTS, ids=lambda value: str(value)[:50])
def test_a_wrong_entry_is_one_clear_line(write: Write, entry: Any, message: str) -> None:
    path = write([{"cnn.num_filters": 64}, entry])
    with pytest.raises(ConfigError) as caught:
        read_enqueued(path, plan_of())
    assert str(caught.value) == f"--enqueue {path}: entry 2: {message}"


def test_a_switch_that_is_off_where_it_does_not_exist_is_no_fault(write: Write) -> None:
    """Trials of earlier versions have skip connections with a single layer, too."""
    (start,) = read_enqueued(write([{"lstm": {"num_layers": 1, "skip_connections": False}}]), plan_of()).starts
    assert start.params["lstm.num_layers"] == 1
    assert "lstm.skip_connections" not in start.params


def test_all_faults_of_a_file_are_shown_together(write: Write) -> None:
    path = write([entry for entry, _ in FAULTS])
    with pytest.raises(ConfigError) as caught:
        read_enqueued(path, plan_of())
    head, *lines = str(caught.value).split("\n")
    assert head == f"--enqueue {path}: {len(FAULTS)} faults:"
    assert lines == [f"  entry {number}: {message}" for number, (_, message) in enumerate(FAULTS, start=1)]


def test_a_head_count_that_divides_no_width_of_the_space_is_a_fault(write: Write) -> None:
    with pytest.raises(
        ConfigError, match=r"entry 1: lstm.attention_heads must divide the width \d+ of its branch, but got 3;"
    ):
        read_enqueued(write([{"lstm.attention_heads": 3}]), plan_of())


LIST = (
    "must hold a list of configurations, such as [{cnn.num_filters: 64, lstm.hidden_dim: 128}], or be a results.json, but"
    " holds "
)


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        ("", "mine.yaml", LIST + "nothing"),
        ("[]", "mine.yaml", LIST + "an empty list"),
        ("cnn.num_filters: 64", "mine.yaml", LIST + "dict"),
        ("just words", "mine.yaml", LIST + "str"),
        ("null", "mine.json", LIST + "nothing"),
        ("[1", "mine.yaml", "is no valid YAML: line 1, column 3: while parsing a flow sequence, expected ',' or ']'"),
        (
            "- {cnn.dropout: 2001-13-01}",
            "mine.yaml",
            "is no valid YAML: line 1, column 17: 2001-13-01 is not valid (month must be in 1..12)",
        ),
        (
            "- !!python/object/apply:os.system [echo]",
            "mine.yaml",
            "is no valid YAML: line 1, column 3: the tag !!python/object/apply:os.system is not read; remove it",
        ),
        ("[1", "mine.json", "is no valid JSON: Expecting ',' delimiter"),
        (
            '{"best_trials": []}',
            "results.json",
            "has no best_trials, so there is nothing to begin with; leave out --enqueue",
        ),
        (
            '{"best_trials": 5}',
            "results.json",
            "best_trials must be a list of trials with params, as a results.json has it",
        ),
        ('{"best_trials": [{}]}', "results.json", "best_trials must be a list of trials with params"),
    ],
)
def test_a_file_that_holds_no_configurations_says_so(write: Write, content: str, name: str, message: str) -> None:
    path = write(content, name)
    with pytest.raises(ConfigError) as caught:
        read_enqueued(path, plan_of())
    assert str(caught.value).startswith(f"--enqueue {path}")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^--enqueue .*nowhere.yaml can't be read: No such file or directory$"):
        read_enqueued(tmp_path / "nowhere.yaml", plan_of())
    (tmp_path / "bytes.yaml").write_bytes(b"\x80\x02}q\x00.")
    with pytest.raises(
        ConfigError, match=r"^--enqueue .*bytes.yaml is no UTF-8 text \(line 1, byte 0\); save it as UTF-8$"
    ):
        read_enqueued(tmp_path / "bytes.yaml", plan_of())
    with pytest.raises(
        ConfigError,
        match=r"^--enqueue .* is a directory without study.db and config.yaml; name one with a study, or a file$",
    ):
        read_enqueued(tmp_path, plan_of())


# ---------------------------------------------------------------------- results.json and earlier studies


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory, tiny_settings: dict[str, Any]) -> tuple[Path, dict[str, Any]]:
    """A study that is finished, with its results."""
    save_dir = tmp_path_factory.mktemp("earlier") / "results"
    config = {**tiny_settings, "study": {"portfolio": True}, "pruner": {"type": "none"}}
    results = run_cnn_lstm_hyperparameter_optimization(
        config=config, n_trials=5, save_dir=save_dir, retrain_best=False, quiet=True
    )
    assert results["best_trials"]
    return save_dir, results


@pytest.mark.mostly_slow(1)
@pytest.mark.parametrize("source", ["", "results.json"])
def test_an_earlier_front_is_taken_by_rank(
    earlier: tuple[Path, dict[str, Any]], tiny_settings: dict[str, Any], source: str
) -> None:
    save_dir, results = earlier
    plan = plan_of(base=tiny_settings["search_space"])
    enqueued = read_enqueued(save_dir / source, plan)
    assert enqueued.warnings == ()
    storage = StudyStorage(save_dir / "study.db")
    params = {record.number: record.params for record in storage.records()}
    storage.close()
    assert [start.params for start in enqueued.starts] == [
        params[best["trial_number"]] for best in results["best_trials"]
    ]


def test_values_that_the_earlier_study_had_fixed_are_taken_where_they_are_searched_now(
    earlier: tuple[Path, dict[str, Any]], tiny_settings: dict[str, Any]
) -> None:
    raw = {"augmentation": {"switch": [False, True]}}
    enqueued = read_enqueued(earlier[0], plan_of(raw, base=tiny_settings["search_space"]))
    assert all(start.params["augmentation.switch"] is False for start in enqueued.starts)


@pytest.mark.parametrize("source", ["", "results.json"])
def test_what_lies_outside_the_space_now_is_left_out_and_counted(
    earlier: tuple[Path, dict[str, Any]], tiny_settings: dict[str, Any], source: str
) -> None:
    path, results = earlier[0] / source, earlier[1]
    count = len(results["best_trials"])
    raw = {"lstm": {"hidden_dim": 32}}
    enqueued = read_enqueued(path, plan_of(raw, base=tiny_settings["search_space"]))
    assert enqueued.starts == ()
    hidden = results["best_trials"][0]["params"]["lstm.hidden_dim"]
    assert enqueued.warnings == (
        f"--enqueue {path}: {count} of {count} configurations lie outside the search space and are left out; the first fault is"
        f" rank 1: lstm.hidden_dim must be 32, to which the search space fixes it, but got {hidden}; leave it out, or widen"
        " search_space.lstm.hidden_dim",
    )


def test_parameters_of_another_version_are_outside_too(write: Write) -> None:
    good = {"cnn.num_filters": 32, "cnn.dropout": 0.25}
    trials = [{"params": params} for params in (good, {**good, "gnn.depth": 3}, {**good, "cnn.num_filters": 64})]
    enqueued = read_enqueued(write({"best_trials": trials}, "results.json"), plan_of())
    assert [start.params["cnn.num_filters"] for start in enqueued.starts] == [32, 64]
    assert (
        "1 of 3 configurations lie outside the search space and are left out; the first fault is rank 2: gnn.depth is"
        in (enqueued.warnings[0])
    )


def test_a_study_without_a_front_gives_nothing_to_begin_with(
    earlier: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    (tmp_path / "config.yaml").write_text((earlier[0] / "config.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    attributes = {"skill_gate": {"chance": 0.5, "n_validation": 100}}
    storage = StudyStorage(tmp_path / "study.db", create="mine", attributes=attributes)
    trial_id, _ = storage.start({}, {}, {"size_mb": 1.0})
    storage.finish(trial_id, State.PRUNED, None, {})
    storage.close()
    with pytest.raises(ConfigError) as caught:
        read_enqueued(tmp_path, plan_of())
    assert str(caught.value) == (
        f"--enqueue {tmp_path}: no trial of that study is complete, so there is nothing to begin with; leave out --enqueue"
    )


@pytest.mark.parametrize(
    ("skill", "said"),
    [
        (None, "is damaged: its skill_gate tells no score to beat; name another study, or leave out --enqueue"),
        ("abc", "is damaged: its skill_gate tells no score to beat; name another study, or leave out --enqueue"),
        (
            {"chance": "x", "n_validation": []},
            "is damaged: its skill_gate tells no score to beat; name another study, or leave out --enqueue",
        ),
        (
            {"chance": 0.5, "n_validation": 9, "metric": "nonsense"},
            "is damaged: its skill_gate tells no score to beat; name another study, or leave out --enqueue",
        ),
    ],
    ids=str,
)
def test_a_damaged_study_gives_nothing_to_begin_with(tmp_path: Path, skill: Any, said: str) -> None:
    (tmp_path / "config.yaml").write_text("save_dir: x\n", encoding="utf-8")
    storage = StudyStorage(tmp_path / "study.db", create="mine", attributes={"skill_gate": skill})
    trial_id, _ = storage.start({}, {}, {"size_mb": 1.0})
    storage.finish(trial_id, State.COMPLETE, Values(0.5, 1, 1), {})
    storage.close()
    with pytest.raises(ConfigError) as caught:
        read_enqueued(tmp_path, plan_of())
    assert str(caught.value) == f"--enqueue {tmp_path}: {tmp_path / 'study.db'} {said}"


def test_an_empty_study_is_told_as_what_is_enqueued(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("save_dir: x\n", encoding="utf-8")
    (tmp_path / "study.db").touch()
    with pytest.raises(
        ConfigError, match=r"^--enqueue .*; there is no whole .* name another study, or leave out --enqueue$"
    ):
        read_enqueued(tmp_path, plan_of())


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match=r"^--enqueue .*pipe is no file, but a pipe or a device; write what it holds"):
        read_enqueued(tmp_path / "pipe", plan_of())


def test_a_choice_in_capitals_is_told_as_what_it_means(write: Write) -> None:
    with pytest.raises(ConfigError) as caught:
        read_enqueued(write([{"training.optimizer": "ADAM"}]), plan_of())
    assert str(caught.value).endswith(
        "entry 1: training.optimizer must be one of adam, rmsprop, but got 'ADAM'; did you mean adam?"
    )


# ---------------------------------------------------------------------- in a study


def trials_of(save_dir: Path) -> list[tuple[str | None, Params]]:
    storage = StudyStorage(save_dir / "study.db")
    records = storage.records()
    storage.close()
    return [(record.attributes.get("origin"), record.params) for record in records]


@pytest.mark.slow
def test_a_resumed_study_begins_with_what_it_was_made_with_though_the_file_is_gone(
    start_cli: Callable[..., Any],
    tiny_file: Path,
    write: Write,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Workers, which are other processes, read the starts from the study, too."""
    mine = write(
        [{"cnn.num_filters": 8, "lstm": {"hidden_dim": 16}}, {"training.optimizer": "adam"}, {"cnn.residual": True}]
    )
    run = start_cli("run", "--config", tiny_file, "--enqueue", mine, "--portfolio", "--n-trials", "2", "--workers", "1")
    out, err = run.communicate(timeout=120)
    assert run.returncode in (0, 1), err  # 1: two trials need not have learnt anything
    assert f"First trials: 3 enqueued from {mine}, 4 of the portfolio (lstm, cnn, lstm-fcn, small)" in out
    save_dir = tmp_path / "results"
    storage = StudyStorage(save_dir / "study.db")
    stored = [(start["origin"], start["params"]) for start in storage.attribute("starts")]
    storage.close()
    assert [origin for origin, _ in stored] == ["enqueued"] * 3 + ["lstm", "cnn", "lstm-fcn", "small"]
    assert trials_of(save_dir) == stored[:2]

    mine.unlink()
    assert cli.main(["resume", "--save-dir", str(save_dir), "--n-trials", "3"]) in (0, 1)
    assert "First trials" not in capsys.readouterr().out
    config = {"save_dir": str(save_dir), "workers": 2}
    with CNNLSTMHyperparameterOptimizer(config=config, resume=True, quiet=True) as optimizer:
        optimizer.optimize(n_trials=6)
    assert trials_of(save_dir) == stored[:6]


def test_a_study_goes_on_with_no_other_first_trials_than_its_own(tiny: dict[str, Any], write: Write) -> None:
    mine, other = write([{"cnn.residual": True}]), write([{"cnn.residual": False}], "other.yaml")
    config = {**tiny, "study": {"enqueue": str(mine), "portfolio": False}}
    with CNNLSTMHyperparameterOptimizer(config=config, quiet=True) as optimizer:
        optimizer.optimize(n_trials=1)
        optimizer.optimize(n_trials=2)  # reopened, with the same
        assert [trial.user_attrs.get("origin") for trial in optimizer.study.trials] == ["enqueued", None]
        assert optimizer.study.trials[0].params["cnn.residual"] is True
    save_dir = Path(tiny["save_dir"])
    for enqueue in (other, save_dir):
        config["study"] = {"enqueue": str(enqueue)}
        with pytest.raises(ConfigError) as caught:
            CNNLSTMHyperparameterOptimizer(config=config, resume=True, quiet=True).optimize(n_trials=3)
        assert str(caught.value) == (
            f"study.enqueue (--enqueue) {enqueue}: the study in {save_dir} was started with {mine} and keeps its first trials;"
            " omit it, or start a study in another --save-dir"
        )


def test_a_study_can_begin_with_another_ones_front(
    earlier: tuple[Path, dict[str, Any]], tiny: dict[str, Any], tmp_path: Path
) -> None:
    best = [trial["trial_number"] for trial in earlier[1]["best_trials"]]
    before = trials_of(earlier[0])
    config = {**tiny, "study": {"enqueue": str(earlier[0])}}
    with CNNLSTMHyperparameterOptimizer(config=config, quiet=True) as optimizer:
        optimizer.optimize(n_trials=len(best) + 1)
    origins, params = zip(*trials_of(tmp_path / "results"), strict=True)
    assert origins[:-1] == ("enqueued",) * len(best)
    assert origins[-1] in ("lstm", "cnn", "lstm-fcn", "small")
    assert list(params[:-1]) == [before[number][1] for number in best]
    log = (tmp_path / "results" / "run.log").read_text(encoding="utf-8")
    assert f"First trials: {len(best)} enqueued from {earlier[0]}, " in log
    assert "(enqueued already)" in log


def test_nothing_is_made_when_what_is_enqueued_is_wrong(tiny: dict[str, Any], write: Write) -> None:
    config = {**tiny, "study": {"enqueue": str(write([{"cnn.droput": 1}]))}}
    with pytest.raises(ConfigError, match=r"did you mean cnn\.dropout\?"):
        CNNLSTMHyperparameterOptimizer(config=config, quiet=True).optimize(n_trials=1)
    assert not Path(tiny["save_dir"]).exists()


# ---------------------------------------------------------------------- from one task to two, and back


MULTI_TASK = ("multi_task.balancing", "multi_task.classification_weight")


@pytest.fixture(scope="module", params=["", "results.json"])
def of_one_task(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A searched study whose data have no value, or its results."""
    save_dir = tmp_path_factory.mktemp("one task")
    space = {"multi_task": {"balancing": "fixed", "classification_weight": 1.0}}
    searched(save_dir, 8, space=space)
    config = (save_dir / "config.yaml").read_text(encoding="utf-8")
    asked = yaml.safe_load(config)
    del asked["search_space"]["multi_task"]  # the study itself has dropped them
    (save_dir / "config.yaml").write_text(yaml.safe_dump(asked), encoding="utf-8")
    (save_dir / "data.json").write_text('{"value_name": null}', encoding="utf-8")
    return save_dir / request.param


def test_the_front_of_a_study_of_one_task_begins_one_of_two(of_one_task: Path) -> None:
    enqueued = read_enqueued(of_one_task, plan_of(base={}))
    assert enqueued.warnings == ()
    assert enqueued.starts
    assert all(start.params["multi_task.balancing"] in ("fixed", "dynamic", "uncertainty") for start in enqueued.starts)


@pytest.mark.parametrize("source", ["", "results.json"])
def test_the_front_of_a_study_of_two_tasks_begins_one_of_one(tmp_path: Path, source: str) -> None:
    searched(tmp_path, 8, space={"multi_task": {"balancing": ["dynamic", "uncertainty"]}})
    two = plan_of(base={})
    enqueued = read_enqueued(tmp_path / source, replace(two, space=two.space.for_one_task()))
    assert enqueued.warnings == ()
    assert enqueued.starts
    assert not any(name in start.params for start in enqueued.starts for name in MULTI_TASK)
