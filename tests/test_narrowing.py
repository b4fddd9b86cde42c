"""Start broad, then narrow: the region of the good trials."""

import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnn_lstm_hyperopt import CNNLSTMHyperparameterOptimizer, cli, load_settings
from cnn_lstm_hyperopt.config import PARAMETERS, Fixed, FloatRange, IntRange, dump_settings, parse_space
from cnn_lstm_hyperopt.errors import RunError
from cnn_lstm_hyperopt.pareto import dominates
from cnn_lstm_hyperopt.search import SkillThreshold, State, StudyStorage, TrialRecord, Values
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
from cnn_lstm_hyperopt.space.domains import domain_text

SPACE = parse_space(None)[0]
SKILL = SkillThreshold(0.5, 10_000)


def records(n: int, seed: int) -> list[TrialRecord]:
    """Completed trials of random configurations with random values, all above the skill threshold."""
    rng = np.random.default_rng(seed)
    return [
        TrialRecord(
            number=number,
            state=State.COMPLETE,
            params=random_configuration(SPACE, seed, number),
            values=Values(*rng.uniform([0.6, 1, 1], [0.9, 100, 10])),
            size_mb=1.0,
            curve=(),
            seconds=1.0,
            projected_seconds=None,
            reason="",
            retry_of=None,
            attributes={},
        )
        for number in range(n)
    ]


@pytest.mark.parametrize("seed", range(5))
def test_narrowed_space_holds_every_good_trial_and_nothing_beyond_the_old_one(seed: int) -> None:
    all_records = records(60, seed)
    good = good_trials(all_records, SKILL, "more")
    space = narrowed(SPACE, narrowings(SPACE, all_records, good))
    for record in good:
        for name, value in record.params.items():
            assert space.domains[name].contains(value), (name, value)
    for name, domain in space.domains.items():
        old = SPACE.domains[name]
        ends = getattr(domain, "values", None) or (
            [domain.value] if isinstance(domain, Fixed) else [domain.low, domain.high]  # type: ignore[union-attr]
        )
        assert all(old.contains(end) for end in ends), name
        if PARAMETERS[name].divides is not None:
            assert domain == old
    assert parse_space(space.as_dict()) == (space, [])


@pytest.mark.parametrize("seed", range(5))
def test_good_trials_are_whole_fronts_from_the_best_on(seed: int) -> None:
    all_records = records(60, seed)
    good = good_trials(all_records, SKILL, "more")
    chosen = {record.number for record in good}
    assert len(good) >= max(MIN_GOOD, 12)

    def losses(record: TrialRecord) -> tuple[float, float, float]:
        assert record.values is not None
        return (-record.values.score, record.values.seconds, record.values.size_mb)

    for record in all_records:
        if record.number not in chosen:
            assert any(dominates(losses(other), losses(record)) for other in good)


def test_too_few_skilled_trials_say_how_many_are_needed() -> None:
    with pytest.raises(RunError, match="7 trials have learnt more than the majority class, but 8 are needed"):
        good_trials(records(7, 0), SKILL, "more")


def test_the_gate_of_another_metric_says_in_its_words_what_was_not_beaten() -> None:
    skill = SkillThreshold.on("mcc", [np.arange(1000) % 2])
    assert len(good_trials(records(60, 0), skill, "more")) >= MIN_GOOD  # above 0.06 all of them
    with pytest.raises(RunError, match="7 trials have learnt more than the best constant prediction, but 8"):
        good_trials(records(7, 0), skill, "more")


def with_params(record: TrialRecord, **changed: Any) -> TrialRecord:
    """``changed`` with ``__`` for the dot; None: the trial does not have the parameter."""
    params = dict(record.params)
    for name, value in changed.items():
        params.pop(name.replace("__", "."), None)
        if value is not None:
            params[name.replace("__", ".")] = value
    return replace(record, params=params)


def found_of(all_records: list[TrialRecord], good: list[TrialRecord], name: str) -> Narrowing:
    return next(each for each in narrowings(SPACE, all_records, good) if each.name == name)


def test_a_parameter_that_few_good_trials_have_keeps_its_range() -> None:
    """It was once fixed to the value of a single trial."""
    all_records = [
        with_params(record, regularization__l1_switch=number == 0, regularization__l1=5e-6 if number == 0 else None)
        for number, record in enumerate(records(40, 0))
    ]
    found = found_of(all_records, all_records[:12], "regularization.l1")
    assert (found.seen, found.new, found.kept) == (1, found.old, "too few trials, 8 needed")
    (line,) = (each for each in narrowing_lines([found]) if each.startswith("regularization.l1 "))
    assert line.split() == [
        "regularization.l1", "1", *domain_text(found.old).split(), "kept:", "too", "few", "trials,", "8", "needed",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "low", "high"),
    [
        (1e-3, 10**-3.375, 10**-2.625),  # a quarter of three decades, in the middle
        (1e-5, 1e-5, 10**-4.25),  # shifted into the old range
        (1e-2, 10**-2.75, 1e-2),
    ],
)
def test_no_range_becomes_narrower_than_a_quarter_of_the_old_one(value: float, low: float, high: float) -> None:
    rates = parse_space({"training": {"learning_rate": [1e-5, 1e-2]}})[0]
    good = [with_params(record, training__learning_rate=value) for record in records(10, 0)]
    found = next(each for each in narrowings(rates, good, good) if each.name == "training.learning_rate")
    assert isinstance(found.new, FloatRange)
    assert (found.new.low, found.new.high) == pytest.approx((low, high))


@pytest.mark.parametrize("value", [16, 40, 256])
def test_a_range_of_whole_numbers_keeps_a_quarter_too(value: int) -> None:
    space = parse_space({"lstm": {"hidden_dim": {"low": 16, "high": 256, "log": False}}})[0]
    good = [with_params(record, lstm__hidden_dim=value) for record in records(10, 0)]
    found = next(each for each in narrowings(space, good, good) if each.name == "lstm.hidden_dim")
    assert isinstance(found.new, IntRange)
    assert found.new.contains(value)
    assert found.new.high - found.new.low >= 60


@pytest.mark.parametrize(("others", "kept"), [(0, True), (10, True), (30, False)])
def test_a_choice_goes_only_if_it_was_tried_often_enough(others: int, kept: bool) -> None:
    """Of 60 trials 12 are good; the chance that none of 30 others is good is 0.1 %, of 10 it is 11 %."""
    all_records = [
        with_params(record, training__optimizer="sgd" if number >= 60 - others else "adam")
        for number, record in enumerate(records(60, 0))
    ]
    found = found_of(all_records, all_records[:12], "training.optimizer")
    assert found.new.contains("sgd") is kept
    assert found.new.contains("adam")
    assert found.new.contains("adamw")  # nobody tried it
    assert bool(found.kept) is kept


def test_one_choice_is_left_only_where_all_others_were_tried_often_enough() -> None:
    def found_with(tried: int) -> Narrowing:
        all_records = [
            with_params(record, cnn__residual=number < 60 - tried) for number, record in enumerate(records(60, 0))
        ]
        return found_of(all_records, all_records[:12], "cnn.residual")

    assert found_with(5).new == PARAMETERS["cnn.residual"].default
    assert found_with(30).new == Fixed(True)


# ---------------------------------------------------------------------- where it is written


def stored(save_dir: Path, skill: Any) -> None:
    """A study of twelve good trials."""
    storage = StudyStorage(save_dir / "study.db", create="mine", attributes={"skill_gate": skill})
    for record in records(12, 0):
        params = {name: value for name, value in record.params.items() if name in SPACE.searched()}
        trial_id, _ = storage.start(params, distributions_of(SPACE, params), {"size_mb": 1.0})
        storage.finish(trial_id, State.COMPLETE, record.values, {})
    storage.close()


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``study/`` in the working directory, and beside it what must not be lost."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for folder in ("home", "bars", "study/retrained_model_1"):
        Path(folder).mkdir(parents=True)
    settings = load_settings(None, {"save_dir": "study"}, environment={})
    Path("study/config.yaml").write_text(dump_settings(settings), encoding="utf-8")
    stored(Path("study"), asdict(SKILL))
    for name in (
        "bars/X.csv",
        "my.yaml",
        "study/study.backup.db",
        "study/mine.yaml",
        "study/retrained_model_1/model.json",
    ):
        Path(name).write_text("kept\n", encoding="utf-8")
    os.mkfifo("pipe")
    Path("link.yaml").symlink_to("my.yaml")
    Path("loop").symlink_to("loop")
    return Path("study")


def narrow(*arguments: str) -> int:
    return cli.main(["narrow", "--save-dir", "study", *arguments])


LOST = "is there and was not written by narrow, so it is not replaced; name another file, or remove it"
AMONG = "lies among the study's own files; name a new .yaml file, such as {study}/narrowed.yaml"
PLACES = [
    ("bars/X.csv", f"bars/X.csv {LOST}"),
    ("my.yaml", f"my.yaml {LOST}"),
    ("study/mine.yaml", f"study/mine.yaml {LOST}"),
    ("study/config.yaml", "study/config.yaml is a file of the study itself; name another, such as narrowed.yaml"),
    ("study/study.backup.db", f"study/study.backup.db {AMONG}"),
    ("study/study.db-wal", f"study/study.db-wal {AMONG}"),
    ("study/retrained_model_1/model.json", f"study/retrained_model_1/model.json {AMONG}"),
    ("study/retrained_model_1/new.yaml", f"study/retrained_model_1/new.yaml {AMONG}"),
    ("bars/../study/x.db", f"bars/../study/x.db {AMONG}"),
    ("pipe", "pipe is no file, but a pipe or a device; name a file that is not there yet, such as narrowed.yaml"),
    ("link.yaml", "link.yaml is a link; name a file that is not there yet, such as narrowed.yaml"),
    ("loop", "loop is a link; name a file that is not there yet, such as narrowed.yaml"),
    ("bars", "bars is a directory; name a file in it, such as bars/narrowed.yaml"),
    ("my.yaml/x.yaml", "my.yaml/x.yaml can't be written: my.yaml is a file; name a directory"),
    ("my.yaml/a/x.yaml", "my.yaml/a/x.yaml can't be written: Not a directory; name another place"),
    ("x" * 252 + ".yaml", "must be a path of at most 4000 characters and 255 between two slashes, but got "),
    ("/proc/x.yaml", "/proc/x.yaml can't be written: No such file or directory; name another place"),
    ("s3://b/x.yaml", "must be a local file, but got 's3:/b/x.yaml'"),
]


@pytest.mark.mostly_slow(4)
@pytest.mark.parametrize(("output", "message"), PLACES, ids=lambda value: value[:40])
def test_nothing_is_lost_by_narrowing(
    study: Path, capsys: pytest.CaptureFixture[str], output: str, message: str
) -> None:
    def what_is_there() -> dict[Path, str]:
        return {
            path: path.read_text("utf-8") for path in Path().rglob("*[!b]") if path.is_file() and path.suffix != ".db"
        }

    before = what_is_there()
    assert narrow("--output", output) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert error.startswith("Error: --output ")
    assert message.replace("{study}", str(study.resolve())).removeprefix("x can't")[:120] in error
    assert what_is_there() == before
    assert not Path("~").exists()


def test_what_was_narrowed_before_is_replaced(study: Path) -> None:
    assert narrow() == 0
    first = (study / "narrowed.yaml").read_text(encoding="utf-8")
    assert narrow() == 0
    assert (study / "narrowed.yaml").read_text(encoding="utf-8") == first
    assert first.startswith(HEAD)
    assert load_settings(study / "narrowed.yaml", environment={}).save_dir == Path("study_narrowed")


def test_the_home_directory_is_written_out(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert narrow("--output", "~/new/x.yaml") == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith(f"Written to {Path.home()}/new/x.yaml; next: ")
    assert (Path.home() / "new/x.yaml").is_file()
    assert not Path("~").exists()


@pytest.mark.mostly_slow(2)
@pytest.mark.parametrize(
    "skill",
    [None, "abc", {"chance": "x", "n_validation": 1}, {"no": 1}, {"chance": 0, "n_validation": 1, "metric": "x"}],
    ids=str,
)
def test_a_damaged_study_is_told_in_one_line(study: Path, capsys: pytest.CaptureFixture[str], skill: Any) -> None:
    (study / "study.db").unlink()
    stored(study, skill)
    assert narrow() == 2
    assert capsys.readouterr().err == (
        "Error: study/study.db is damaged: its skill_gate tells no score to beat; name another study\n"
    )


@pytest.mark.slow
def test_a_study_is_narrowed_to_a_file_that_can_be_run(tiny: dict[str, Any], tmp_path: Path) -> None:
    tiny["study"] = {**tiny["study"], "time_objective": "estimated"}  # the same trials on a busy machine
    tiny["pruner"] = {"type": "none"}
    tiny["training"] = {"max_epochs": 6}
    tiny["data"] = {"source": "synthetic", "symbols": ["SYN1", "SYN2"], "lookback": 5, "train_share": 0.5}
    with CNNLSTMHyperparameterOptimizer(config=tiny, quiet=True) as optimizer:
        optimizer.optimize(n_trials=14)
    done = narrow_study(Path(tiny["save_dir"]), tmp_path / "narrowed.yaml")
    settings = load_settings(done.path)
    assert settings.save_dir.name == "results_narrowed"
    assert settings.data.lookback == 5
    changed = [
        name
        for name, domain in settings.search_space.domains.items()
        if domain != optimizer.settings.search_space.domains[name]
    ]
    assert [each.name for each in done.narrowings if not each.kept] == changed
    assert changed
    with CNNLSTMHyperparameterOptimizer(config=done.path, quiet=True, save_dir=tmp_path / "narrower") as optimizer:
        assert optimizer.optimize(n_trials=2)["n_trials_completed"] == 2
