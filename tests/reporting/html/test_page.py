"""The page of a report, as text: what is in it, and that nothing of a user's can be more than text."""

import html
import itertools
import json
import re

import numpy as np
import optuna
import pandas as pd
import pytest
from sklearn.metrics import confusion_matrix

from builders.studies import plant_finals, searched
from cnn_lstm_hyperopt.cli import main
from cnn_lstm_hyperopt.errors import SaveDirError
from cnn_lstm_hyperopt.evaluation.grades import COLOURS
from cnn_lstm_hyperopt.reporting.html import charts, write_report
from cnn_lstm_hyperopt.reporting.html.confusion import confusion
from cnn_lstm_hyperopt.reporting.html.page import for_script
from cnn_lstm_hyperopt.reporting.html.study_files import read_content
from cnn_lstm_hyperopt.reporting.html.trial_table import TrialTable
from cnn_lstm_hyperopt.run_dir.lock import only_run
from cnn_lstm_hyperopt.search import SkillThreshold, StudyStorage
from cnn_lstm_hyperopt.search.importance import _ranks

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return searched(tmp_path_factory.mktemp("searched") / "study", 90, name=HOSTILE)


@pytest.fixture(scope="module")
def page(folder):
    return write_report(folder).read_text(encoding="utf-8")


def numbers_of(page):
    return json.loads(re.search(r'id="payload">(.*?)</script>', page, re.DOTALL)[1])


def test_the_command_says_where_the_page_is(folder, capsys):
    assert main(["report", "--save-dir", str(folder)]) == 0
    assert capsys.readouterr().out == f"Written to {folder / 'report.html'}\n"


def test_a_hostile_name_is_text(page):
    assert HOSTILE not in page
    assert "<h1>&lt;img src=x onerror=alert(1)&gt;</h1>" in page


def test_no_text_can_end_the_script_that_holds_the_numbers():
    value = {"a": ["</script><!--<script>&", "\u2028"]}
    written = for_script(value)
    assert not set("<>&") & set(written)
    assert json.loads(written) == value


def test_the_page_asks_no_other_address_for_anything(page):
    # Plotly's script names servers of maps, which no chart has.
    own = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert re.findall(r"""(?:src|href)=["'](?!#|data:)[^"']*""", own) == []
    assert "@import" not in own
    assert "url(" not in own


def test_the_front_is_that_of_the_results(page, folder):
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    found = numbers_of(page)
    assert found["front"] == [trial["trial_number"] for trial in results["best_trials"]]
    rows = {number: row for row, number in enumerate(found["trials"]["number"])}
    for trial in results["best_trials"]:
        row = rows[trial["trial_number"]]
        drawn = [found["trials"][name][row] for name in ("score", "seconds", "mb")]
        assert drawn == pytest.approx(trial["values"], rel=1e-5)


def test_pruned_trials_have_the_score_that_they_had_reached(folder):
    content = read_content(folder)
    scores = TrialTable(content).as_columns()["score"]
    for record, score in zip(content.records, scores, strict=True):
        expected = record.values.score if record.values else min(record.curve, key=lambda point: point.loss).score
        assert score == pytest.approx(expected, rel=1e-5)


def test_states_over_time_end_in_the_counts(folder):
    content = read_content(folder)
    areas = charts.states(TrialTable(content)).data
    assert {area.name for area in areas} == {record.state.value for record in content.records}
    for area in areas:
        assert area.y[-1] == sum(record.state.value == area.name for record in content.records)
        assert all(a <= b for a, b in itertools.pairwise(area.y))


def test_what_decides_is_found(tmp_path):
    """Of ninety that all go on to their end: the best tenth of fewer is too few to tell."""
    shares = read_content(searched(tmp_path / "study", 90, pruner="none")).importances
    assert next(iter(shares["score"])) == "training.learning_rate"
    assert next(iter(shares["seconds"])) == "lstm.hidden_dim"
    for found in shares.values():
        assert sum(found.values()) == pytest.approx(1)


def test_trials_that_have_learnt_nothing_are_not_near_the_front(tmp_path):
    """Small ones of them are on the front of all trials, where nobody looks for skill."""
    folder = searched(tmp_path / "study", 30, pruner="none")
    content = read_content(folder)
    ranks = _ranks(
        [
            trial
            for trial in optuna.load_study(study_name=None, storage=f"sqlite:///{folder / 'study.db'}").trials
            if trial.values
        ],
        content.skill,
    )
    assert {number for number, rank in ranks.items() if rank == 0} == {record.number for record in content.front}
    unskilled = [r.number for r in content.records if r.values and not content.skill.passes(r.values.score)]
    assert unskilled
    assert min(ranks[number] for number in unskilled) > max(rank for n, rank in ranks.items() if n not in unskilled)


def test_confusion_is_that_of_scikit_learn():
    generator = np.random.default_rng(3)
    frame = pd.DataFrame(generator.integers(0, 3, (200, 2)), columns=["label", "class"])
    found = confusion(frame, ["down", "flat", "up"])
    assert found.counts == confusion_matrix(frame["label"], frame["class"]).tolist()


def test_confusion_names_classes_that_nobody_said():
    found = confusion(pd.DataFrame({"label": [0, 0], "class": [0, 0]}), ["calm", "wild"])
    assert found.names == ["calm", "wild"]
    assert found.counts == [[2, 0], [0, 0]]


@pytest.mark.mostly_slow(1)
@pytest.mark.parametrize("metric", ["accuracy", "mcc"])
@pytest.mark.parametrize("loaders", [False, True])
def test_data_and_retrained_models_are_shown_with_all_names_as_text(tmp_path, metric, loaders):
    folder = searched(tmp_path / "study", 25, metric=metric)
    plant_finals(folder, names=(HOSTILE, "wild"), loaders=loaders)
    page = write_report(folder).read_text(encoding="utf-8")
    assert HOSTILE not in page
    assert html.escape(HOSTILE, quote=False) in page  # a class
    assert f'<th class="num">{metric}</th><th class="axis">' in page
    assert ("0.6100" if metric == "accuracy" else "0.2100") in page
    assert ("3 inputs, without names" if loaders else "purge train as far as each label looks, validation 5") in page
    assert 'data-chart="efficiency"' in page
    assert ("DataLoaders of a program of your own" in page) == loaders


def test_a_run_that_writes_its_own_report_is_not_at_work_any_more(tmp_path):
    folder = searched(tmp_path / "study", 5)
    with only_run(folder):
        assert "The run is at work" in write_report(folder).read_text(encoding="utf-8")
        assert "The run is at work" not in write_report(folder, running=False).read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_verdict_of_a_time_before_the_front_is_not_repeated(tmp_path):
    old = {"skill": False, "sentence": "No skill so far: none of 2 trials has learnt anything.", "metric": "accuracy"}
    folder = searched(tmp_path / "study", 30, verdict=old)
    assert read_content(folder).front
    page = write_report(folder).read_text(encoding="utf-8")
    assert "none of 2 trials" not in page
    assert "No verdict yet" in page


@pytest.mark.parametrize(("grade", "colour"), [(grade.value, colour) for grade, colour in COLOURS.items()])
def test_the_grade_is_the_heading_in_its_colour(tmp_path, grade, colour):
    verdict = {"grade": grade, "skill": False, "sentence": "Model 1 has an accuracy of 50.0 %.", "metric": "accuracy"}
    folder = searched(tmp_path / "study", 5, verdict=verdict, skill=SkillThreshold(0.99, 2000))
    page = write_report(folder).read_text(encoding="utf-8")
    assert f'<section id="verdict" class="verdict {colour}">\n  <h2>{grade.capitalize()}</h2>' in page
    assert f".verdict.{colour} h2" in page
    assert "Model 1 has an accuracy of 50.0 %." in page


def test_a_front_below_chance_is_shown_and_marked(tmp_path):
    folder = searched(tmp_path / "study", 8, skill=SkillThreshold(0.99, 2000))
    content = read_content(folder)
    assert content.front
    assert not content.above_chance
    page = write_report(folder).read_text(encoding="utf-8")
    assert "marked <code>above_chance: false</code>" in page
    assert "not above chance" in page


def test_what_does_not_vary_decides_about_nothing(tmp_path):
    space = {"lstm": {"hidden_dim": 16}, "cnn": {"num_filters": 8}}
    folder = searched(tmp_path / "study", 24, space=space, pruner="none")
    assert read_content(folder).importances["size_mb"] == {}


def test_an_opened_test_period_is_told_whatever_the_results_say(tmp_path):
    folder = searched(tmp_path / "study", 5)
    storage = StudyStorage(folder / "study.db")
    storage.set_attribute("test_openings", [{"time": "2026-01-01T00:00:00+00:00", "trials": [1]}])
    storage.close()
    page = write_report(folder).read_text(encoding="utf-8")
    assert "<b>once</b><span>the test period was opened</span>" in page
    assert "The test period is closed" not in page


def test_a_study_without_trials_has_a_page_that_says_so(tmp_path):
    folder = searched(tmp_path / "empty", 1)
    (folder / "results.json").unlink()
    text = write_report(folder).read_text(encoding="utf-8")
    assert "No verdict yet" in text
    assert "No model has been tested yet" in text


def test_a_directory_without_a_study_is_told(tmp_path):
    with pytest.raises(SaveDirError, match="does not exist"):
        write_report(tmp_path)


def test_damaged_results_are_told_with_the_cure(folder, tmp_path):
    other = searched(tmp_path / "damaged", 2)
    (other / "results.json").write_text("[1]", encoding="utf-8")
    with pytest.raises(SaveDirError, match=r"results\.json is damaged: it holds a list; remove it"):
        write_report(other)


def test_figures_are_pictures(folder, page):
    names = {path.name for path in (folder / "figures").iterdir()}
    assert names == {"pareto_front.png", "hypervolume.png", "learning_curves.png", "importance.png", "model_size.png"}
    for path in (folder / "figures").iterdir():
        assert path.read_bytes().startswith(b"\x89PNG")
