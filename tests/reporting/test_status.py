"""``status``: progress and next command of a study, in every state."""

import contextlib
import json
from dataclasses import asdict

import pytest

from cnn_lstm_hyperopt.config import dump_settings, load_settings
from cnn_lstm_hyperopt.errors import SaveDirError
from cnn_lstm_hyperopt.reporting.status import status_facts, status_lines
from cnn_lstm_hyperopt.run_dir.activity import Activity, write_activity
from cnn_lstm_hyperopt.run_dir.lock import only_run
from cnn_lstm_hyperopt.run_dir.paths import RUN_LOCK, resume_command
from cnn_lstm_hyperopt.search import SkillThreshold, State, StudyStorage, Values

SKILL = SkillThreshold(0.5, 100)
MODEL = {"model_rank": 1, "config_params": {}}
GOOD, RUNNING, PRUNED, FAIL = (0.7, 1, 1), State.RUNNING, State.PRUNED, State.FAIL


@pytest.fixture
def make_study(tmp_path):
    """Make a study of trials (values of complete ones, reasons of pruned ones, or states); return the status lines."""

    def make(*trials, total=3, source="embedded", results=None, skill=SKILL):
        attributes = {"made_with": {"data.source": source}, "skill_gate": asdict(skill), "n_trials": total}
        with contextlib.closing(
            StudyStorage(tmp_path / "study.db", create="my study", attributes=attributes)
        ) as storage:
            for trial in trials:
                trial_id, _ = storage.start({}, {}, {"size_mb": 1.0})
                if trial is not RUNNING:
                    values = Values(*trial) if isinstance(trial, tuple) else None
                    state = FAIL if trial is FAIL else PRUNED if values is None else State.COMPLETE
                    storage.finish(
                        trial_id, state, values, {"reason": trial if isinstance(trial, str) else "median: x"}
                    )
        if results is not None:
            (tmp_path / "results.json").write_text(json.dumps(results))
        return status_lines(tmp_path)

    return make


def set_attributes(tmp_path, **values):
    with contextlib.closing(StudyStorage(tmp_path / "study.db")) as storage:
        for name, value in values.items():
            storage.set_attribute(name, value)


def retraining(tmp_path, *, enabled=True, periods=1):
    """Write the settings of a study that confirms and retrains."""
    retrain = {"enabled": enabled, "top_k": 1, "confirm_seeds": 4, "seeds": 2}
    config = {"data": {"source": "embedded"}, "retrain": retrain, "evaluation": {"test_periods": periods}}
    settings = load_settings(config, {"save_dir": str(tmp_path)})
    (tmp_path / "config.yaml").write_text(dump_settings(settings))


@pytest.mark.wording
def test_an_unfinished_study(make_study, tmp_path):
    lines = make_study((0.7, 12.34, 0.5), (0.65, 20, 0.25), PRUNED, FAIL, RUNNING, total=10)
    assert lines == [
        f"Study my study in {tmp_path}: 3 of 10 trials finished (2 complete, 1 pruned), 1 failed, 1 interrupted",
        "Pruned: 1 by median",
        "Front: 2 trials; most accurate is trial 0: accuracy 0.7000, 12.3 s, 0.500 MB",
        f"Next: {resume_command(tmp_path)}",
    ]


ON = {metric: SkillThreshold.on(metric, [[0, 1] * 50]) for metric in ("log_loss", "mcc")}


@pytest.mark.parametrize(
    ("skill", "trials", "parts", "facts"),
    [
        (SKILL, [], ["empty"], ([], None)),
        (ON["log_loss"], [(-0.45, 12.34, 0.5), (-0.6928, 1, 0.1)], ["loss -0.4500, 12.3 s"], ([0], True)),
        (ON["mcc"], [(0.0, 1, 1)], ["1 trial, ", "(mcc above 0.2000)", "mcc 0.0000"], ([0], False)),
    ],
)
def test_the_front_is_shown_in_the_metric_of_the_study(make_study, tmp_path, skill, trials, parts, facts):
    line = next(line for line in make_study(*trials, skill=skill) if line.startswith("Front: "))
    assert all(part in line for part in parts)
    found = status_facts(tmp_path)
    assert (found["front"], found["front_above_chance"]) == facts
    (tmp_path / "results.json").write_text(json.dumps({"verdict": {"sentence": "It has 0.2000.", "grade": "x"}}))
    assert "\n".join(status_lines(tmp_path)).count("0.2000") == 1  # the verdict says it, the front does not repeat it


NONE, TWO, OLD = ({"retrained_models": models} for models in ([], [MODEL, MODEL], [MODEL]))


@pytest.mark.parametrize(
    ("trials", "results", "retrain", "end"),
    [
        ([GOOD], None, None, "{resume}"),
        ([GOOD, PRUNED, PRUNED], None, None, "{resume}"),
        ([GOOD] * 3, {**NONE, "n_trials_completed": 2}, None, "{resume}"),
        ([GOOD] * 3, NONE, None, "{resume} --retrain-best"),
        ([GOOD] * 3, NONE, False, "{resume} --retrain-best"),
        ([GOOD] * 3, NONE, True, "{resume}"),
        ([(0.5, 1, 1)] * 3, NONE, None, "{resume} --retrain-best"),
        ([PRUNED] * 3, NONE, None, "{resume} --n-trials 6"),
        ([GOOD] * 3, TWO, None, "predict --model {folder}/retrained_model_1 --data-dir DIR --last"),
        ([GOOD], OLD, None, "{resume}"),
    ],
)
def test_the_last_line_says_what_to_do(make_study, tmp_path, trials, results, retrain, end):
    if retrain is not None:
        retraining(tmp_path, enabled=retrain)
    last = make_study(*trials, results=results)[-1].partition(" (")[0]
    assert last.endswith(end.format(resume=resume_command(tmp_path), folder=tmp_path))


@pytest.mark.parametrize(("done", "rest"), [(2, ""), (3, ""), (4, ".retrain_best_models()")])
@pytest.mark.parametrize("marks", [False, True])
def test_a_study_on_dataloaders_is_resumed_in_python(make_study, tmp_path, done, rest, marks):
    """Dates and groups must be given again."""
    splits = {"train": {"windows": 9, "groups": 3}, "test": {"windows": 9, "first": "2020-01-01"}}
    if marks:
        (tmp_path / "data.json").write_text(json.dumps({"source": "DataLoaders", "splits": splits}), encoding="utf-8")
    given = "dates=dates, groups=groups, " if marks else ""
    last = make_study(*[GOOD] * done, source="loaders", results={"retrained_models": []} if done > 3 else None)[-1]
    call = f"CNNLSTMHyperparameterOptimizer(data_loaders, save_dir={str(tmp_path)!r}, {given}resume=True){rest}"
    assert call in last


def test_a_running_study_is_read_without_a_change(make_study, tmp_path):
    make_study(GOOD, RUNNING, total=2)
    (tmp_path / RUN_LOCK).touch()  # of a killed run
    write_activity(tmp_path, [Activity(0, 1, 2.0, 300.0)])
    assert status_lines(tmp_path)[0].endswith("1 interrupted")
    assert status_facts(tmp_path)["at_work"] == []
    with only_run(tmp_path):
        first, *_, last = status_lines(tmp_path)
        assert first.endswith("1 running")
        assert "resume" not in last
        assert "trial 1 at epoch 2.0 · 300 MB" in last
        assert status_facts(tmp_path)["at_work"] == [{"worker": 0, "trial": 1, "epoch": 2.0, "memory_mb": 300.0}]
        with contextlib.closing(StudyStorage(tmp_path / "study.db")) as storage:
            assert [record.state for record in storage.records()] == [State.COMPLETE, RUNNING]
            storage.pause(2)
        assert status_lines(tmp_path)[0].endswith("0 running, 1 interrupted")


def test_a_directory_without_a_study_stays_empty_and_one_with_a_space_is_quoted(tmp_path):
    with pytest.raises(SaveDirError):
        status_lines(tmp_path)
    assert list(tmp_path.iterdir()) == []
    folder = tmp_path / "my results"
    folder.mkdir()
    StudyStorage(folder / "study.db", create="x", attributes={"n_trials": 2}).close()
    assert status_lines(folder)[-1].endswith(f" resume --save-dir '{folder}'")


FULL = {"confirmation_readings": {"0": [0.7] * 4, "1": [0.6] * 4}}


@pytest.mark.parametrize(
    ("attributes", "periods", "counts"),
    [
        # trial 2 is no candidate
        ({"confirmation_readings": {"0": [0.7] * 9, "1": [], "2": [0.6, 0.6]}}, 1, ["4 of 5"]),
        ({**FULL, "retrainings": {"0_1": {}}}, 1, ["8 of 8", "1 of 2"]),
        ({**FULL, "retrainings": {"0_1": {}, "0_2": {}, "0_1_2": {}}}, 4, ["8 of 8", "3 of 8"]),
    ],
)
def test_an_interrupted_final_phase_shows_its_progress(make_study, tmp_path, attributes, periods, counts):
    retraining(tmp_path, periods=periods)
    before = len(make_study((0.7, 2, 1), (0.65, 1, 1), (0.6, 1, 2), results={"retrained_models": []}))
    set_attributes(tmp_path, **attributes)
    lines = status_lines(tmp_path)
    assert len(lines) == before + len(counts)
    assert all(count in line for count, line in zip(counts, lines[-1 - len(counts) : -1], strict=True))
    assert lines[-1] == f"Next: {resume_command(tmp_path)}"
    with only_run(tmp_path):
        assert status_lines(tmp_path)[-1 - len(counts) : -1] == lines[-1 - len(counts) : -1]


def test_a_run_that_ended_before_its_study_is_started_again(make_study, tmp_path):
    retraining(tmp_path)
    assert status_lines(tmp_path)[-1] == f"Next: {resume_command(tmp_path)}"
    facts = status_facts(tmp_path)
    assert facts["study_name"] is None
    with only_run(tmp_path):
        assert not any("resume" in line for line in status_lines(tmp_path))
    make_study(GOOD)
    assert list(facts) == list(status_facts(tmp_path))


DAMAGED = [
    *("", "{", "[1]", "\x00" * 9, "5", "null", "[" * 100_000),
    '{"n_trials_completed": "3"}',
    *(f'{{"retrained_models": {value}}}' for value in ("5", '[{"x": 1}]')),
    *(f'{{"verdict": {value}}}' for value in ("7", '{"sentence": 7}', '{"sentence": "s", "shrinkage": {}}')),
    *(f'{{"confirmation": {value}}}' for value in ("[1]", '{"candidates": [{}]}')),
    '{"retraining_failures": [{"model_rank": "1"}]}',
    '{"refit_failure": {"seed_failures": [1]}}',
]


def test_damaged_results_are_named(make_study, tmp_path):
    make_study(*[GOOD] * 3)
    for content in DAMAGED:
        (tmp_path / "results.json").write_text(content)
        *_, what, then = status_lines(tmp_path)
        assert what.startswith(f"{tmp_path / 'results.json'} "), content[:40]
        assert then.endswith(resume_command(tmp_path))
        assert status_facts(tmp_path)["damaged"]


def test_the_verdict_and_the_evaluations_of_the_test_set(make_study, tmp_path):
    verdict = {"sentence": "\x1b[2JSo it is.", "grade": "no better than chance"}
    make_study(*[GOOD] * 3, results={"retrained_models": [MODEL], "verdict": verdict})
    set_attributes(tmp_path, test_openings=[{}, {}])
    verdict_line, times = status_lines(tmp_path)[-4:-2]
    assert all(part in verdict_line for part in ("no better than chance", "\\x1b[2JSo it is."))  # no control characters
    assert "2 times" in times


def test_programs_get_the_same_facts(make_study, tmp_path):
    make_study((0.8, 10.0, 2.0), "median: x", "limit: y", FAIL, RUNNING, total=9)
    facts = json.loads(json.dumps(status_facts(tmp_path), allow_nan=False))
    expected = {"study_name": "my study", "running": False, "n_trials": 9, "n_trials_completed": 3}
    expected |= {"counts": {"RUNNING": 1, "WAITING": 0, "COMPLETE": 1, "PRUNED": 2, "FAIL": 1}}
    expected |= {"pruned_by": {"limit": 1, "median": 1}, "front": [0], "next": [status_lines(tmp_path)[-1]]}
    expected |= {"best": {"trial_number": 0, "values": [0.8, 10.0, 2.0]}}
    expected |= {"verdict": None, "test_openings": 0, "damaged": None}
    assert {name: facts[name] for name in expected} == expected
