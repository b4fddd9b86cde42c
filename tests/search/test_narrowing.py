"""Narrowing the search space to the region of the good trials."""

import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from builders.errors import raises
from builders.records import make_record
from cnn_lstm_hyperopt import CNNLSTMHyperparameterOptimizer, cli, load_settings
from cnn_lstm_hyperopt.config import PARAMETERS, Fixed, dump_settings, parse_space
from cnn_lstm_hyperopt.errors import ConfigError, RunError, SaveDirError
from cnn_lstm_hyperopt.pareto import dominates
from cnn_lstm_hyperopt.search import SkillThreshold, State, StudyStorage, TrialRecord
from cnn_lstm_hyperopt.search.distributions import distributions_of
from cnn_lstm_hyperopt.search.narrowing import (
    HEAD,
    MIN_GOOD,
    Narrowing,
    good_trials,
    narrow_study,
    narrowed,
    narrowing_lines,
    narrowings,
)
from cnn_lstm_hyperopt.search.samplers import random_configuration

SPACE = parse_space(None)[0]
SKILL = SkillThreshold(0.5, 10_000)


def records(n: int, seed: int, **changed: Any) -> list[TrialRecord]:
    """Complete trials with random values above the threshold; ``changed`` parameters have ``__`` for the dot."""
    rng = np.random.default_rng(seed)
    params = {name.replace("__", "."): value for name, value in changed.items()}
    return [
        make_record(
            number,
            params={**random_configuration(SPACE, seed, number), **params},
            values=rng.uniform([0.6, 1, 1], [0.9, 100, 10]),
        )
        for number in range(n)
    ]


def losses(record: TrialRecord) -> tuple[float, float, float]:
    assert record.values is not None
    return (-record.values.score, record.values.seconds, record.values.size_mb)


@pytest.mark.parametrize("seed", range(5))
def test_the_narrowed_space_holds_every_good_trial_and_nothing_outside_the_old_one(seed: int) -> None:
    all_records = records(60, seed)
    good = good_trials(all_records, SKILL, "more")
    chosen = {record.number for record in good}
    assert len(good) >= max(MIN_GOOD, 12)
    for record in all_records:
        better = any(dominates(losses(other), losses(record)) for other in good)
        assert record.number in chosen or better  # complete fronts, from the best on
    space = narrowed(SPACE, narrowings(SPACE, all_records, good))
    assert all(space.domains[name].contains(value) for record in good for name, value in record.params.items())
    for name, domain in space.domains.items():
        old = SPACE.domains[name]
        ends = getattr(domain, "values", None) or (
            [domain.value] if isinstance(domain, Fixed) else [domain.low, domain.high]  # type: ignore[union-attr]
        )
        assert all(old.contains(end) for end in ends), name
        assert PARAMETERS[name].divides is None or domain == old
    assert parse_space(space.as_dict()) == (space, [])


@pytest.mark.parametrize("skill", [SKILL, SkillThreshold.on("mcc", [np.arange(1000) % 2])], ids=["accuracy", "mcc"])
def test_too_few_good_trials_are_refused(skill: SkillThreshold) -> None:
    assert len(good_trials(records(60, 0), skill, "more")) >= MIN_GOOD
    with raises(RunError, "too-few-good-trials") as text:
        good_trials(records(7, 0), skill, "more")
    assert text[0].startswith("7 ")


def found_of(all_records: list[TrialRecord], good: list[TrialRecord], name: str, space: Any = SPACE) -> Narrowing:
    return next(each for each in narrowings(space, all_records, good) if each.name == name)


def test_a_parameter_that_few_good_trials_have_keeps_its_range() -> None:
    all_records = [
        replace(each, params={key: value for key, value in each.params.items() if key != "regularization.l1"})
        for each in records(40, 0)
    ]
    all_records[0] = records(1, 0, regularization__l1_switch=True, regularization__l1=5e-6)[0]
    found = found_of(all_records, all_records[:12], "regularization.l1")
    assert (found.seen, found.new, bool(found.kept)) == (1, found.old, True)
    assert [line.split()[:2] for line in narrowing_lines([found])[1:]] == [["regularization.l1", "1"]]


QUARTERS = [
    ("training.learning_rate", 1e-3, (10**-3.375, 10**-2.625)),  # of three decades
    ("training.learning_rate", 1e-2, (10**-2.75, 1e-2)),
    ("lstm.hidden_dim", 16, (16, 76)),
    ("lstm.hidden_dim", 256, (196, 256)),
]


@pytest.mark.parametrize(("name", "value", "bounds"), QUARTERS)
def test_no_range_becomes_narrower_than_a_quarter_of_the_old_one(name: str, value: float, bounds: Any) -> None:
    widths = {"hidden_dim": {"low": 16, "high": 256, "log": False}}
    space = parse_space({"training": {"learning_rate": [1e-5, 1e-2]}, "lstm": widths})[0]
    good = records(10, 0, **{name.replace(".", "__"): value})
    found = found_of(good, good, name, space)
    assert (found.new.low, found.new.high) == pytest.approx(bounds)


@pytest.mark.parametrize(("others", "kept"), [(0, True), (10, True), (30, False)])
def test_a_choice_is_dropped_only_if_it_was_tried_often_enough(others: int, kept: bool) -> None:
    """12 of 60 trials are good. The chance that none of 30 others is good is 0.1 %; of 10 others, 11 %."""
    all_records = records(60 - others, 0, training__optimizer="adam", cnn__residual=True)
    all_records += records(others, 1, training__optimizer="sgd", cnn__residual=False)
    found = found_of(all_records, all_records[:12], "training.optimizer")
    assert found.new.contains("adamw")  # never tried
    assert (found.new.contains("adam"), found.new.contains("sgd"), bool(found.kept)) == (True, kept, kept)
    flag = found_of(all_records, all_records[:12], "cnn.residual")
    assert flag.new == (PARAMETERS["cnn.residual"].default if kept else Fixed(True))


def store(save_dir: Path, skill: Any) -> None:
    """Store a study of twelve good trials."""
    storage = StudyStorage(save_dir / "study.db", create="mine", attributes={"skill_gate": skill})
    for record in records(12, 0):
        params = {name: value for name, value in record.params.items() if name in SPACE.searched()}
        trial_id, _ = storage.start(params, distributions_of(SPACE, params), {"size_mb": 1.0})
        storage.finish(trial_id, State.COMPLETE, record.values, {})
    storage.close()


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``study/`` in the working directory, and files beside it that must not be lost."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for folder in ("home", "bars", "study/retrained_model_1"):
        Path(folder).mkdir(parents=True)
    settings = load_settings(None, {"save_dir": "study"}, environment={})
    Path("study/config.yaml").write_text(dump_settings(settings), encoding="utf-8")
    store(Path("study"), asdict(SKILL))
    for name in ("bars/X.csv", "my.yaml", "study/study.backup.db", "study/mine.yaml"):
        Path(name).write_text("kept\n", encoding="utf-8")
    Path("study/retrained_model_1/model.json").write_text("kept\n", encoding="utf-8")
    os.mkfifo("pipe")
    Path("link.yaml").symlink_to("my.yaml")
    Path("loop").symlink_to("loop")
    return Path("study")


PLACES = {
    "my.yaml": "output-exists",
    "study/config.yaml": "output-is-study-file",
    "study/study.backup.db": "output-among-study-files",
    "study/retrained_model_1/model.json": "output-among-study-files",
    "bars/../study/x.db": "output-among-study-files",
    "pipe": "output-not-regular",
    "loop": "output-not-regular",
    "bars": "output-is-directory",
    "my.yaml/x.yaml": "parent-is-file",
    "my.yaml/a/x.yaml": "output-not-writable",
    "x" * 252 + ".yaml": "invalid-path",
}


def test_narrowing_loses_no_file(study: Path) -> None:
    def content() -> dict[Path, str]:
        files = [path for path in Path().rglob("*[!b]") if path.is_file() and path.suffix != ".db"]
        return {path: path.read_text("utf-8") for path in files}

    before = content()
    for output, code in PLACES.items():
        with raises(ConfigError, code, "--output") as text:
            narrow_study(study, Path(output))
        assert len(text[0].splitlines()) == 1
    assert content() == before
    assert not Path("~").exists()


def test_an_earlier_narrowed_file_is_replaced_and_the_home_directory_expanded(study: Path) -> None:
    texts = []
    for _ in range(2):
        assert cli.main(["narrow", "--save-dir", "study"]) == 0
        texts.append((study / "narrowed.yaml").read_text(encoding="utf-8"))
    assert texts[0] == texts[1]
    assert texts[0].startswith(HEAD)
    assert load_settings(study / "narrowed.yaml", environment={}).save_dir == Path("study_narrowed")
    assert cli.main(["narrow", "--save-dir", "study", "--output", "~/new/x.yaml"]) == 0
    assert (Path.home() / "new/x.yaml").is_file()
    assert not Path("~").exists()


@pytest.mark.parametrize("skill", [None, "abc", {"no": 1}, {"chance": 0, "n_validation": 1, "metric": "x"}], ids=str)
def test_a_study_without_a_skill_threshold_is_refused(study: Path, skill: Any) -> None:
    (study / "study.db").unlink()
    store(study, skill)
    with raises(SaveDirError, "no-skill-threshold", "skill_gate"):
        narrow_study(study, study / "narrowed.yaml")


@pytest.mark.slow
def test_the_written_file_can_be_run(tiny: dict[str, Any], tmp_path: Path) -> None:
    tiny["study"] = {**tiny["study"], "time_objective": "estimated"}  # the same trials on a busy machine
    tiny["pruner"] = {"type": "none"}
    tiny["training"] = {"max_epochs": 6}
    tiny["data"] = {"source": "synthetic", "symbols": ["SYN1", "SYN2"], "lookback": 5, "train_share": 0.5}
    with CNNLSTMHyperparameterOptimizer(config=tiny, quiet=True) as optimizer:
        optimizer.optimize(n_trials=14)
    done = narrow_study(Path(tiny["save_dir"]), tmp_path / "narrowed.yaml")
    settings = load_settings(done.path)
    assert (settings.save_dir.name, settings.data.lookback) == ("results_narrowed", 5)
    old = optimizer.settings.search_space.domains
    changed = [name for name, domain in settings.search_space.domains.items() if domain != old[name]]
    assert [each.name for each in done.narrowings if not each.kept] == changed != []
    with CNNLSTMHyperparameterOptimizer(config=done.path, quiet=True, save_dir=tmp_path / "narrower") as optimizer:
        assert optimizer.optimize(n_trials=2)["n_trials_completed"] == 2
