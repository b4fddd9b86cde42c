"""The page of a report, as text: its numbers, and that names of the user are never more than text."""

import contextlib
import html
import itertools
import json
import re
from dataclasses import asdict, replace

import numpy as np
import optuna
import pandas as pd
import pytest
from sklearn.metrics import confusion_matrix

from builders import estimators
from builders.studies import plant_finals, searched
from cnn_lstm_hyperopt.cli import main
from cnn_lstm_hyperopt.errors import SaveDirError
from cnn_lstm_hyperopt.evaluation import Grade
from cnn_lstm_hyperopt.evaluation.grades import COLOURS
from cnn_lstm_hyperopt.reporting.console.terminal import Terminal
from cnn_lstm_hyperopt.reporting.html import charts, pictures, write_report
from cnn_lstm_hyperopt.reporting.html.confusion import MAX_CLASSES, confusion
from cnn_lstm_hyperopt.reporting.html.page import for_script
from cnn_lstm_hyperopt.reporting.html.study_files import read_content
from cnn_lstm_hyperopt.reporting.html.trial_table import TrialTable
from cnn_lstm_hyperopt.reporting.html.view import view
from cnn_lstm_hyperopt.reporting.report_page import ReportPage
from cnn_lstm_hyperopt.run_dir.lock import only_run
from cnn_lstm_hyperopt.run_dir.paths import resume_command
from cnn_lstm_hyperopt.search import SkillThreshold, StudyStorage
from cnn_lstm_hyperopt.search.importance import _ranks

HOSTILE = "<img src=x onerror=alert(1)>"
ORDER = ("score", "seconds", "mb")
METRICS = {"test_class_acc": 0.61, "test_class_acc_interval": [0.57, 0.65]}
TOO_HIGH = SkillThreshold(0.99, 2000)
_FIXED = estimators.TINY["search_space"]
FEW = {
    **_FIXED,
    "cnn": {**_FIXED["cnn"], "num_filters": [8, 16]},
    "lstm": {**_FIXED["lstm"], "hidden_dim": [16, 32, 64]},
    "training": {**_FIXED["training"], "learning_rate": [1e-5, 1e-1]},
}
"""A space of three parameters: a page has a chart of each pair."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return searched(tmp_path_factory.mktemp("searched") / "study", 90, name=HOSTILE)


@pytest.fixture(scope="module")
def page(folder):
    return text_of(folder)


def text_of(folder, **more):
    """The page without the pictures beside it, which take most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pictures, "PICTURES", {})
        return write_report(folder, **more).read_text(encoding="utf-8")


def test_a_hostile_name_is_text_and_the_page_asks_no_other_address_for_anything(page):
    assert HOSTILE not in page
    assert "<h1>&lt;img src=x onerror=alert(1)&gt;</h1>" in page
    own = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)  # Plotly's script names servers of maps
    assert re.findall(r"""(?:src|href)=["'](?!#|data:)[^"']*""", own) == []
    assert "@import" not in own
    assert "url(" not in own


def test_no_text_can_end_the_script_that_holds_the_numbers():
    value = {"a": ["</script><!--<script>&", "\u2028"]}
    written = for_script(value)
    assert not set("<>&") & set(written)
    assert json.loads(written) == value


def test_the_page_has_the_numbers_of_the_results(page, folder):
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    found = json.loads(re.search(r'id="payload">(.*?)</script>', page, re.DOTALL)[1])
    assert found["front"] == [trial["trial_number"] for trial in results["best_trials"]]
    columns = [dict(zip(found["trials"]["number"], found["trials"][name], strict=True)) for name in ORDER]
    for trial in results["best_trials"]:
        assert [column[trial["trial_number"]] for column in columns] == pytest.approx(trial["values"], rel=1e-5)
    content = read_content(folder)
    for record, score in zip(content.records, TrialTable(content).as_columns()["score"], strict=True):
        expected = record.values.score if record.values else min(record.curve, key=lambda point: point.loss).score
        assert score == pytest.approx(expected, rel=1e-5)  # a pruned trial has the score of its best epoch
    areas = charts.states(TrialTable(content)).data
    assert {area.name for area in areas} == {record.state.value for record in content.records}
    for area in areas:
        assert area.y[-1] == sum(record.state.value == area.name for record in content.records)
        assert all(a <= b for a, b in itertools.pairwise(area.y))


@pytest.mark.slow
def test_the_important_parameters_are_found_and_the_front_ranks_first(tmp_path):
    """Of 90 complete trials: the best tenth of fewer is too small."""
    folder = searched(tmp_path / "study", 90, pruner="none")
    content = read_content(folder)
    assert next(iter(content.importances["score"])) == "training.learning_rate"
    assert next(iter(content.importances["seconds"])) == "lstm.hidden_dim"
    assert [sum(found.values()) for found in content.importances.values()] == pytest.approx([1] * 4)
    assert all(name.split(".")[0] in ("cnn", "lstm", "fusion") for name in content.importances["size_mb"])
    trials = optuna.load_study(study_name=None, storage=f"sqlite:///{folder / 'study.db'}").trials
    ranks = _ranks([trial for trial in trials if trial.values], content.skill)
    assert {number for number, rank in ranks.items() if rank == 0} == {record.number for record in content.front}
    unskilled = [r.number for r in content.records if r.values and not content.skill.passes(r.values.score)]
    assert min(ranks[number] for number in unskilled) > max(rank for n, rank in ranks.items() if n not in unskilled)
    space = {"lstm": {"hidden_dim": 16}, "cnn": {"num_filters": 8}}
    fixed = read_content(searched(tmp_path / "fixed", 24, space=space, pruner="none"))
    assert fixed.importances["size_mb"] == {}


def test_confusion_is_that_of_scikit_learn():
    frame = pd.DataFrame(np.random.default_rng(3).integers(0, 3, (200, 2)), columns=["label", "class"])
    assert confusion(frame, ["down", "flat", "up"]).counts == confusion_matrix(frame["label"], frame["class"]).tolist()
    unseen = confusion(pd.DataFrame({"label": [0, 0], "class": [0, 0]}), ["calm", "wild"])
    assert (unseen.names, unseen.counts) == (["calm", "wild"], [[2, 0], [0, 0]])
    assert confusion(frame[:0], []) is confusion(frame + MAX_CLASSES, []) is None


@pytest.mark.mostly_slow(1)
@pytest.mark.parametrize("metric", ["accuracy", "mcc"])
@pytest.mark.parametrize("loaders", [False, True])
def test_data_and_retrained_models_are_shown_with_all_names_as_text(tmp_path, metric, loaders):
    folder = searched(tmp_path / "study", 25, metric=metric, space=FEW)
    plant_finals(folder, names=(HOSTILE, "wild"), loaders=loaders)
    page = text_of(folder)
    assert HOSTILE not in page
    assert html.escape(HOSTILE, quote=False) in page  # a class
    assert f'<th class="num">{metric}</th><th class="axis">' in page
    assert ("0.6100" if metric == "accuracy" else "0.2100") in page
    assert ("3 inputs" if loaders else "validation 5") in page
    assert 'data-chart="efficiency"' in page
    assert ("--save-dir again" in page) != loaders  # the command that reproduces the study
    assert "Walk-forward test" not in page
    scores = {"log_loss": 0.6789, "accuracy": None}
    period = {"first": "2023-01-02", "last": "2023-04-03", "windows": 1234, "train_windows": 5678}
    period |= {"finalists": [{"model_rank": 1, **scores}], "best_baseline": {"name": "persistence", **scores}}
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    (folder / "results.json").write_text(json.dumps({**results, "walk_forward": [period]}), encoding="utf-8")
    page = text_of(folder)
    for text in ("2023-01-02 to 2023-04-03", "1,234", "5,678", "0.6789", "persistence: log loss"):
        assert text in page


def test_activity_and_the_number_of_test_evaluations_come_from_the_study(tmp_path):
    folder = searched(tmp_path / "study", 5, space=FEW)
    with only_run(folder):  # only a report of another process shows the run as active
        running, ended = (text_of(folder, **more) for more in ({}, {"running": False}))
    verdicts = [re.search(r'id="verdict".*?</section>', page, re.DOTALL)[0] for page in (running, ended)]
    assert verdicts[0] != verdicts[1]
    assert "<b>0 ×</b>" in ended
    with contextlib.closing(StudyStorage(folder / "study.db")) as storage:
        storage.set_attribute("test_openings", [{"time": "2026-01-01T00:00:00+00:00", "trials": [1]}])
    assert "<b>1 ×</b>" in text_of(folder)


def test_a_verdict_that_is_older_than_the_front_is_not_repeated(tmp_path):
    old = {"skill": False, "sentence": "No skill so far: none of 2 trials.", "metric": "accuracy"}
    pbo = {"value": 0.25, "trials": 30, "dates": 300, "why": None}
    members = [{"model_rank": rank, "baseline": None, "weight": 0.5} for rank in (1, 2)]
    results = {"ensemble": {"members": members, "test_metrics": METRICS}, "overfitting": {"pbo": pbo}}
    folder = searched(tmp_path / "study", 30, pruner="none", verdict=old, space=FEW, **results)
    assert read_content(folder).front
    page = text_of(folder, running=True)
    assert "none of 2 trials" not in page
    assert all(part in page for part in ("2 members", "0.25 over 30 trials", "300 dates"))


def test_the_grade_is_the_heading_in_its_colour(tmp_path):
    grade = Grade.WORSE
    verdict = {"grade": grade.value, "sentence": "Model 1 has an accuracy of 50.0 %.", "metric": "accuracy"}
    folder = searched(tmp_path / "study", 5, verdict=verdict, skill=TOO_HIGH, space=FEW)
    page = text_of(folder)
    assert f'<section id="verdict" class="verdict {COLOURS[grade]}">\n  <h2>{grade.value.capitalize()}</h2>' in page
    assert all(f".verdict.{colour} h2" in page for colour in COLOURS.values())
    assert verdict["sentence"] in page
    for grade, colour in COLOURS.items():
        content = replace(read_content(folder), results={"verdict": {**verdict, "grade": grade.value}})
        found = view(TrialTable(content))["verdict"]
        assert (found["kind"], found["title"]) == (colour, grade.value.capitalize())
    content = read_content(folder)  # a front below chance is marked
    assert content.front
    assert not content.above_chance
    assert '<p class="note below-chance">' in page


def test_damaged_files_are_errors_and_a_study_without_results_has_a_page(tmp_path, capsys):
    with pytest.raises(SaveDirError):
        write_report(tmp_path)
    folder = searched(tmp_path / "study", 5, pruner="none", space=FEW)
    plant_finals(folder, names=("calm", "wild"))
    for path, text, code in (
        (folder / "retrained_model_1" / "predictions.csv", "x\n1\n", "file-damaged"),
        (folder / "results.json", "[1]", "results-damaged"),
    ):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(SaveDirError) as caught:
            write_report(folder)
        assert (caught.value.field, caught.value.code) == (path.name, code)
    ReportPage(Terminal()).on_report_due(folder)  # the run continues
    assert capsys.readouterr().out.startswith("Warning: ")
    for path in (folder / "results.json", study := folder / "study.db"):
        path.unlink()
    StudyStorage(study, create="x", attributes={}).close()
    with pytest.raises(SaveDirError):  # a study of another program
        write_report(folder)
    study.unlink()
    StudyStorage(study, create="x", attributes={"skill_gate": asdict(TOO_HIGH), "n_trials": 9}).close()
    page = text_of(folder)
    assert 'class="verdict open"' in page
    assert all(part in page for part in ("<b>0 of 9</b>", resume_command(folder)))


def test_the_command_writes_page_and_pictures(folder, page, capsys):
    assert main(["report", "--save-dir", str(folder)]) == 0
    assert capsys.readouterr().out.split()[-1] == str(folder / "report.html")
    figures = {path.stem: path.read_bytes()[:4] for path in (folder / "figures").iterdir()}
    names = {"pareto_front", "hypervolume", "learning_curves", "importance", "model_size"}
    assert figures == dict.fromkeys(names, b"\x89PNG")
