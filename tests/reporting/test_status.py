"""``status``: how far a study is and what to run next, in every situation it can be in."""

import json
import subprocess
from dataclasses import asdict

import pytest

from cnn_lstm_hyperopt.config import dump_settings, load_settings
from cnn_lstm_hyperopt.errors import SaveDirError
from cnn_lstm_hyperopt.reporting.status import status_facts, status_lines
from cnn_lstm_hyperopt.run_dir.activity import Activity, write_activity
from cnn_lstm_hyperopt.run_dir.lock import only_run
from cnn_lstm_hyperopt.run_dir.paths import RUN_LOCK
from cnn_lstm_hyperopt.search import SkillThreshold, State, StudyStorage, Values

SKILL = SkillThreshold(0.5, 100)
MODEL = {"model_rank": 1, "config_params": {}}


def attributes(total, source="embedded", skill=SKILL):
    """What a run makes its study with."""
    return {"made_with": {"data.source": source}, "skill_gate": asdict(skill), "n_trials": total}


@pytest.fixture
def make_study(tmp_path):
    """A directory with a study of these trials: states, the values of complete ones, or the reasons of pruned ones."""

    def make(*trials, total=3, source="embedded", results=None, skill=SKILL):
        storage = StudyStorage(tmp_path / "study.db", create="my study", attributes=attributes(total, source, skill))
        for trial in trials:
            trial_id, _ = storage.start({}, {}, {"size_mb": 1.0})
            if isinstance(trial, tuple):
                storage.finish(trial_id, State.COMPLETE, Values(*trial), {})
            elif isinstance(trial, str):
                storage.finish(trial_id, State.PRUNED, None, {"reason": trial})
            elif trial is not State.RUNNING:
                storage.finish(trial_id, trial, None, {"reason": "median: x"})
        storage.close()
        if results is not None:
            (tmp_path / "results.json").write_text(json.dumps(results))
        return status_lines(tmp_path)

    return make


def test_an_unfinished_study_says_how_far_it_is_and_to_resume(make_study, tmp_path):
    lines = make_study((0.7, 12.34, 0.5), (0.65, 20, 0.25), State.PRUNED, State.FAIL, State.RUNNING, total=10)
    assert lines == [
        f"Study my study in {tmp_path}: 3 of 10 trials finished (2 complete, 1 pruned), 1 failed,"
        " 1 cut off and waiting to go on",
        "Pruned: 1 by median",
        "Front: 2 trials; most accurate is trial 0: accuracy 0.7000, 12.3 s, 0.500 MB",
        f"Next: cnn-lstm-hyperopt resume --save-dir {tmp_path}",
    ]


def test_what_was_pruned_is_told_by_reason(make_study, tmp_path):
    reasons = ["front: a", "front: b", "limit: c"]
    lines = make_study((0.7, 12.34, 0.5), *reasons, total=10)
    assert lines[:3] == [
        f"Study my study in {tmp_path}: 4 of 10 trials finished (1 complete, 3 pruned), 0 failed,"
        " 0 cut off and waiting to go on",
        "Pruned: 2 by front, 1 by limit",
        "Front: 1 trial; most accurate is trial 0: accuracy 0.7000, 12.3 s, 0.500 MB",
    ]


def test_a_new_study_has_no_front_yet(make_study, tmp_path):
    lines = make_study(total=5)
    assert "0 of 5 trials finished" in lines[0]
    assert lines[1] == "Front: empty, no trial is complete yet"
    assert lines[2] == f"Next: cnn-lstm-hyperopt resume --save-dir {tmp_path}"


def test_the_front_is_told_in_the_studys_metric(make_study):
    skill = SkillThreshold.on("log_loss", [[0, 1] * 500])
    assert make_study((-0.65, 12.34, 0.5), (-0.6928, 1, 0.1), skill=skill)[1] == (
        "Front: 1 trial; best is trial 0: negative log loss -0.6500, 12.3 s, 0.500 MB"
    )


def test_a_front_below_chance_is_said_to_be(make_study, tmp_path):
    line = make_study((0.0, 1, 1), skill=SkillThreshold.on("mcc", [[0, 1] * 50]))[1]
    assert line == (
        "Front: 1 trial, none of which beats chance (mcc above 0.2000); best is trial 0: mcc 0.0000, 1.0 s, 1.000 MB"
    )
    facts = status_facts(tmp_path)
    assert (facts["front"], facts["front_above_chance"]) == ([0], False)


def test_a_finished_search_without_results_is_resumed_to_write_them(make_study):
    assert make_study((0.7, 1, 1), State.PRUNED, State.PRUNED)[-1].endswith("(writes the results)")


def test_a_finished_search_is_followed_by_retraining(make_study, tmp_path):
    lines = make_study(*[(0.7, 1, 1)] * 3, results={"retrained_models": []})
    assert lines[-1] == f"Next: cnn-lstm-hyperopt resume --save-dir {tmp_path} --retrain-best"


def test_a_finished_search_below_chance_can_be_retrained(make_study, tmp_path):
    lines = make_study(*[(0.5, 1, 1)] * 3, results={"retrained_models": []})
    assert lines[-1] == f"Next: cnn-lstm-hyperopt resume --save-dir {tmp_path} --retrain-best"


def test_a_finished_search_without_a_front_has_nothing_to_retrain(make_study, tmp_path):
    lines = make_study(*[State.PRUNED] * 3, results={"retrained_models": []})
    assert lines[-1] == (
        "Done, and there is nothing to retrain. Next: another target, other data, or more trials: cnn-lstm-hyperopt resume"
        f" --save-dir {tmp_path} --n-trials 6"
    )


def test_when_all_is_done_it_says_where_the_results_are(make_study, tmp_path):
    lines = make_study(*[(0.7, 1, 1)] * 3, results={"retrained_models": [MODEL, MODEL]})
    assert lines[-1] == f"Done: 2 models retrained and tested; see {tmp_path / 'results.json'}"


def test_more_trials_asked_for_later_come_before_retraining(make_study):
    assert make_study((0.7, 1, 1), total=2, results={"retrained_models": [MODEL]})[-1].startswith(
        "Next: cnn-lstm-hyperopt resume"
    )


def test_dates_and_groups_of_loaders_are_given_again(make_study, tmp_path):
    splits = {
        "train": {"windows": 9, "groups": 3},
        "validation": {"windows": 9},
        "test": {"windows": 9, "first": "2020-01-01"},
    }
    (tmp_path / "data.json").write_text(json.dumps({"source": "DataLoaders", "splits": splits}), encoding="utf-8")
    assert make_study((0.7, 1, 1), source="loaders", results=None)[-1].startswith(
        f"Next: in Python, CNNLSTMHyperparameterOptimizer(data_loaders, save_dir={str(tmp_path)!r}, dates=dates, groups=groups,"
        " resume=True)"
    )


@pytest.mark.parametrize(
    ("done", "results", "rest"),
    [
        (2, None, ""),
        (3, None, " (writes the results)"),
        (3, {"retrained_models": []}, ".retrain_best_models()"),
    ],
)
def test_a_study_on_a_users_loaders_goes_on_in_python(make_study, tmp_path, done, results, rest):
    """The command line can't have them."""
    lines = make_study(*[(0.7, 1, 1)] * done, source="loaders", results=results)
    assert lines[-1] == (
        f"Next: in Python, CNNLSTMHyperparameterOptimizer(data_loaders, save_dir={str(tmp_path)!r}, resume=True){rest}"
    )


def test_a_directory_with_a_space_is_quoted(tmp_path):
    folder = tmp_path / "my results"
    folder.mkdir()
    StudyStorage(folder / "study.db", create="x", attributes=attributes(2)).close()
    assert status_lines(folder)[-1] == f"Next: cnn-lstm-hyperopt resume --save-dir '{folder}'"


def test_while_a_run_is_at_work_there_is_nothing_to_do(make_study, tmp_path):
    with only_run(tmp_path):
        assert make_study((0.7, 1, 1))[-1] == "A run is at work on it now."
    assert status_lines(tmp_path)[-1].startswith("Next: cnn-lstm-hyperopt resume")


def test_what_a_killed_run_left_is_no_run(make_study, tmp_path):
    (tmp_path / RUN_LOCK).touch()
    assert make_study((0.7, 1, 1))[-1].startswith("Next: cnn-lstm-hyperopt resume")


def test_asking_changes_nothing_and_may_happen_while_it_runs(tmp_path):
    storage = StudyStorage(tmp_path / "study.db", create="x", attributes=attributes(2))
    trial_id, _ = storage.start({}, {}, {"size_mb": 1.0})
    assert status_lines(tmp_path)[0].endswith("1 cut off and waiting to go on")
    with only_run(tmp_path):
        assert status_lines(tmp_path)[0].endswith("0 failed, 1 running")
    storage.finish(trial_id, State.COMPLETE, Values(0.7, 1, 1), {})
    assert "1 of 2 trials finished" in status_lines(tmp_path)[0]
    assert [r.state for r in storage.records()] == [State.COMPLETE]
    storage.close()


def test_a_directory_without_a_study_says_so_and_stays_as_it_is(tmp_path):
    with pytest.raises(SaveDirError, match="does not exist"):
        status_lines(tmp_path)
    assert list(tmp_path.iterdir()) == []


def retraining(tmp_path, *, enabled=True):
    """The settings of a study that confirms and retrains."""
    retrain = {"enabled": enabled, "top_k": 1, "confirm_seeds": 4, "seeds": 2}
    settings = load_settings({"data": {"source": "embedded"}, "retrain": retrain}, {"save_dir": str(tmp_path)})
    (tmp_path / "config.yaml").write_text(dump_settings(settings))


def set_attributes(tmp_path, **values):
    storage = StudyStorage(tmp_path / "study.db")
    for name, value in values.items():
        storage.set_attribute(name, value)
    storage.close()


def test_a_run_that_was_to_retrain_says_so_without_a_flag(make_study, tmp_path):
    retraining(tmp_path)
    lines = make_study(*[(0.7, 1, 1)] * 3, results={"retrained_models": []})
    assert lines[-1] == f"Next: cnn-lstm-hyperopt resume --save-dir {tmp_path}"
    retraining(tmp_path, enabled=False)
    assert status_lines(tmp_path)[-1] == f"Next: cnn-lstm-hyperopt resume --save-dir {tmp_path} --retrain-best"


def test_a_confirmation_that_was_cut_off_says_how_far_it_is(make_study, tmp_path):
    """Scores beyond what is asked for, and of trials that are no candidates any more, count for nothing."""
    retraining(tmp_path)
    make_study((0.7, 2, 1), (0.65, 1, 1), (0.6, 1, 2), results={"retrained_models": []})
    set_attributes(tmp_path, confirmation_readings={"0": [0.7] * 9, "1": [0.6], "2": [0.6, 0.6]})
    assert status_lines(tmp_path)[-2:] == [
        "Confirmation: 5 of 8 trainings done",
        f"Next: cnn-lstm-hyperopt resume --save-dir {tmp_path}",
    ]
    with only_run(tmp_path):
        assert status_lines(tmp_path)[-2:] == ["Confirmation: 5 of 8 trainings done", "A run is at work on it now."]


def test_a_retraining_that_was_cut_off_says_how_far_it_is(make_study, tmp_path):
    retraining(tmp_path)
    make_study((0.7, 2, 1), (0.65, 1, 1), State.PRUNED, results={"retrained_models": []})
    scores = {"0": [0.7] * 4, "1": [0.6] * 4}
    set_attributes(tmp_path, confirmation_readings=scores, retrainings={"0_1": {}})
    assert status_lines(tmp_path)[-3:] == [
        "Confirmation: 8 of 8 trainings done",
        "Retraining: 1 of 2 trainings begun",
        f"Next: cnn-lstm-hyperopt resume --save-dir {tmp_path}",
    ]


def test_results_that_are_older_than_the_search_are_to_be_written_anew(make_study):
    results = {"retrained_models": [], "n_trials_completed": 2}
    assert make_study(*[(0.7, 1, 1)] * 3, results=results)[-1].endswith("(writes the results)")


def test_trials_that_were_cut_off_are_counted_with_those_whose_process_is_gone(make_study, tmp_path):
    make_study((0.7, 1, 1), State.RUNNING, State.RUNNING, total=9)
    storage = StudyStorage(tmp_path / "study.db")
    storage.pause(2)
    storage.close()
    assert status_lines(tmp_path)[0].endswith("2 cut off and waiting to go on")
    with only_run(tmp_path):
        assert status_lines(tmp_path)[0].endswith("1 running, 1 waiting to go on")


def test_a_run_that_ended_before_it_had_a_study_is_begun_again(tmp_path):
    retraining(tmp_path)
    assert status_lines(tmp_path) == [
        f"{tmp_path} holds config.yaml and no study: the run ended before it had made one.",
        f"Next: cnn-lstm-hyperopt resume --save-dir {tmp_path}",
    ]
    with only_run(tmp_path):
        assert status_lines(tmp_path) == [f"{tmp_path} holds no study yet.", "A run is at work on it now."]


@pytest.mark.mostly_slow(8)
@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[1]",
        "\x00" * 9,
        "5",
        "null",
        "[" * 100_000,
        '{"n_trials_completed": "3"}',
        '{"retrained_models": 5}',
        '{"retrained_models": [{"x": 1}]}',
        '{"verdict": 7}',
        '{"verdict": {"sentence": 7}}',
        '{"verdict": {"sentence": "s", "shrinkage": {}}}',
        '{"confirmation": [1]}',
        '{"confirmation": {"candidates": [{}]}}',
        '{"retraining_failures": [{"model_rank": "1"}]}',
    ],
    ids=lambda content: content[:40],
)
def test_damaged_results_are_named(make_study, tmp_path, content):
    make_study(*[(0.7, 1, 1)] * 3)
    (tmp_path / "results.json").write_text(content)
    *_, what, then = status_lines(tmp_path)
    assert what.startswith(f"{tmp_path / 'results.json'} is damaged: ")
    assert then == f"Next: remove it, then cnn-lstm-hyperopt resume --save-dir {tmp_path} writes it anew"


def test_a_damaged_study_names_its_copy_and_how_to_put_it_in_place(make_study, tmp_path):
    make_study((0.7, 1, 1), State.PRUNED, State.FAIL)
    storage = StudyStorage(tmp_path / "study.db")
    storage.back_up()
    storage.close()
    (tmp_path / "study.db").write_bytes((tmp_path / "study.db").read_bytes()[:20_000])
    with pytest.raises(SaveDirError, match=r"holds 2 finished trials; restore it with: cd .* && cp study") as told:
        status_lines(tmp_path)
    command = str(told.value).split("with: ")[1].split(", then")[0]
    subprocess.run(["sh", "-c", command], check=True)
    assert "2 of 3 trials finished" in status_lines(tmp_path)[0]


def test_the_verdict_and_the_openings_of_the_test_are_told(make_study, tmp_path):
    make_study(
        *[(0.7, 1, 1)] * 3,
        results={"retrained_models": [MODEL], "verdict": {"sentence": "So it is.", "grade": "no better than chance"}},
    )
    storage = StudyStorage(tmp_path / "study.db")
    storage.set_attribute("test_openings", [{}, {}])
    storage.close()
    lines = status_lines(tmp_path)
    assert lines[-3:-1] == ["Verdict: no better than chance. So it is.", "The test period was opened 2 times."]


def test_a_verdict_can_not_play_with_the_terminal(make_study, tmp_path):
    make_study(*[(0.7, 1, 1)] * 3, results={"retrained_models": [MODEL], "verdict": {"sentence": "\x1b[2JSkill: 99 %"}})
    assert status_lines(tmp_path)[-2] == "\\x1b[2JSkill: 99 %"


def test_machines_are_told_the_same(make_study, tmp_path):
    make_study((0.8, 10.0, 2.0), "median: x", "limit: y", State.FAIL, State.RUNNING, total=9)
    facts = json.loads(json.dumps(status_facts(tmp_path), allow_nan=False))
    assert (facts["study_name"], facts["running"], facts["n_trials"], facts["n_trials_completed"]) == (
        "my study",
        False,
        9,
        3,
    )
    assert facts["counts"] == {"RUNNING": 1, "WAITING": 0, "COMPLETE": 1, "PRUNED": 2, "FAIL": 1}
    assert facts["pruned_by"] == {"limit": 1, "median": 1}
    assert (facts["front"], facts["best"]) == ([0], {"trial_number": 0, "values": [0.8, 10.0, 2.0]})
    assert facts["next"] == [status_lines(tmp_path)[-1]]
    assert (facts["verdict"], facts["test_openings"], facts["damaged"]) == (None, 0, None)


def test_machines_find_the_same_keys_before_there_is_a_study(make_study, tmp_path):
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "config.yaml").write_text("", encoding="utf-8")
    begun = status_facts(tmp_path / "begun")
    assert begun["study_name"] is None
    make_study((0.8, 10.0, 2.0), total=1)
    assert list(begun) == list(status_facts(tmp_path))


def test_machines_are_told_that_results_are_damaged(make_study, tmp_path):
    make_study((0.8, 10.0, 2.0), total=1)
    (tmp_path / "results.json").write_text("[]", encoding="utf-8")
    assert status_facts(tmp_path)["damaged"] == "it holds a list"


def test_what_a_run_at_work_is_at_is_told(make_study, tmp_path):
    make_study(State.RUNNING, total=3)
    write_activity(tmp_path, [Activity(0, 0, 2.0, 300.0)])
    with only_run(tmp_path):
        assert status_lines(tmp_path)[-1] == "A run is at work on it now: trial 0 at epoch 2.0 · 300 MB."
        assert status_facts(tmp_path)["at_work"] == [{"worker": 0, "trial": 0, "epoch": 2.0, "memory_mb": 300.0}]
    assert status_facts(tmp_path)["at_work"] == []  # a file that a killed run has left says nothing
