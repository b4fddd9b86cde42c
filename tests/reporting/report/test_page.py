"""The page of a report, as text: what is in it, and that nothing of a user's can be more than text."""

import itertools
import json
import re

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import confusion_matrix

from cnn_lstm_hyperopt.cli import main
from cnn_lstm_hyperopt.exceptions import SaveDirError
from cnn_lstm_hyperopt.reporting.report import write_report
from cnn_lstm_hyperopt.reporting.report.content import read_content
from cnn_lstm_hyperopt.reporting.report.payload import payload
from cnn_lstm_hyperopt.reporting.report.predictions import confusion
from searched import searched

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


def test_no_text_can_end_the_script_that_holds_the_numbers(folder):
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert "</script" not in json.dumps(numbers_of(write_report(folder).read_text(encoding="utf-8")))
    assert results["study_name"] == HOSTILE


def test_the_page_asks_no_other_address_for_anything(page):
    own = re.sub(
        r"<script>.*?</script>", "", page, flags=re.DOTALL
    )  # Plotly's script names servers of maps, which no chart has
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
    columns = payload(content)["trials"]
    for record, score in zip(content.records, columns["score"], strict=True):
        expected = record.values.score if record.values else min(record.curve, key=lambda point: point.loss).score
        assert score == pytest.approx(expected, rel=1e-5)


def test_states_over_time_end_in_the_counts(folder):
    content = read_content(folder)
    for state, counts in payload(content)["states"].items():
        assert counts[-1] == sum(record.state.value == state for record in content.records)
        assert all(a <= b for a, b in itertools.pairwise(counts))


def test_what_decides_is_found(folder):
    shares = read_content(folder).importances
    assert next(iter(shares["score"])) == "training.learning_rate"
    assert next(iter(shares["seconds"])) == "lstm.hidden_dim"
    for found in shares.values():
        assert sum(found.values()) == pytest.approx(1)


def test_confusion_is_that_of_scikit_learn():
    generator = np.random.default_rng(3)
    frame = pd.DataFrame(generator.integers(0, 3, (200, 2)), columns=["label", "class"])
    found = confusion(frame, ["down", "flat", "up"])
    counts = [[int(cell["count"].replace(",", "")) for cell in row["cells"]] for row in found["rows"]]
    assert counts == confusion_matrix(frame["label"], frame["class"]).tolist()


def test_confusion_names_classes_that_nobody_said():
    found = confusion(pd.DataFrame({"label": [0, 0], "class": [0, 0]}), ["calm", "wild"])
    assert found["names"] == ["calm", "wild"]
    assert [[cell["count"] for cell in row["cells"]] for row in found["rows"]] == [["2", "0"], ["0", "0"]]


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
