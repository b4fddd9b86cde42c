"""What a notebook shows of results, studies and reports."""

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from builders.errors import raises
from cnn_lstm_hyperopt import CNNLSTMHyperparameterOptimizer
from cnn_lstm_hyperopt.api.notebook import Results, report_frame
from cnn_lstm_hyperopt.errors import HyperoptError
from cnn_lstm_hyperopt.reporting.console.live_notebook import NotebookSearch
from cnn_lstm_hyperopt.run_dir.activity import Activity

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "results.json"


class Reader(HTMLParser):
    """Reads tags, the cells of all tables, and the text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: dict[str, list[dict[str, Any]]] = {}
        self.rows: list[list[str]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.setdefault(tag, []).append(dict(attrs))
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return Results(json.loads(EXAMPLE.read_text(encoding="utf-8")), tmp_path)


def test_results_show_grade_sentence_front_and_models(results: Results) -> None:
    page = Reader(results._repr_html_())
    assert results["verdict"]["sentence"] in page.text
    assert results["verdict"]["grade"].capitalize() in page.text
    trials = [row for row in page.rows if row[0] == "1" and len(row) == 6]
    assert [int(row[1]) for row in trials] == [results["best_trials"][0]["trial_number"]]
    assert float(trials[0][4]) == pytest.approx(results["best_trials"][0]["values"][2], abs=0.001)
    models = [row for row in page.rows if len(row) == 4][1:]
    assert [row[3] for row in models] == [entry["model_path"] for entry in results["retrained_models"]]
    assert results == json.loads(EXAMPLE.read_text(encoding="utf-8"))  # still a dict with the same content


def test_texts_of_the_user_are_no_markup(results: Results) -> None:
    results["study_name"] = "<script>alert(1)</script>"
    results["verdict"] = {"sentence": "<b>5 < 6</b>", "grade": "<i>", "colour": '"'}
    page = Reader(results._repr_html_())
    assert not {"script", "b", "i"} & page.tags.keys()
    assert "<b>5 < 6</b>" in page.text


def test_results_without_retraining_and_with_a_long_front(results: Results) -> None:
    few = {key: results[key] for key in ("study_name", "n_trials_completed", "best_trials")}
    few["best_trials"] = [{**results["best_trials"][0], "rank": rank} for rank in range(1, 31)]
    page = Reader(Results(few, results.save_dir)._repr_html_())
    assert len(page.rows) == 11
    assert "20 more" in page.text


def test_the_report_is_shown_whole_in_a_frame(results: Results, tmp_path: Path) -> None:
    with raises(HyperoptError, "no-report", "report"):
        results.show_report()
    (tmp_path / "report.html").write_text("<p title=\"a 'b'\">&lt; 5 & 6</p>", encoding="utf-8")
    (frame,) = Reader(report_frame(tmp_path, 400)._repr_html_()).tags["iframe"]
    assert frame["srcdoc"] == (tmp_path / "report.html").read_text(encoding="utf-8")
    assert frame["height"] == "400"
    assert "allow-same-origin" not in frame["sandbox"]


def test_an_optimizer_shows_its_study_before_and_after_the_first_results(results: Results, tmp_path: Path) -> None:
    optimizer = CNNLSTMHyperparameterOptimizer(save_dir=tmp_path, config="demo", quiet=True)
    assert "no results" in Reader(optimizer._repr_html_()).text
    (tmp_path / "results.json").write_text(json.dumps(results), encoding="utf-8")
    assert results["verdict"]["sentence"] in Reader(optimizer._repr_html_()).text


def test_the_progress_bar_shows_counts_and_at_most_eight_workers() -> None:
    view = NotebookSearch(total=30, done=2, status="2 complete · best <0.6>", left="left 1:20")
    view.show([Activity(number, 10 + number, 1.5, 700.0) for number in range(1, 11)])
    view.update(done=5, status="5 complete", left="left 1:00")
    page = Reader(view._repr_html_())
    assert page.tags["progress"] == [{"value": "5", "max": "30"}]
    assert all(text in page.text for text in ("5/30", "left 1:00", "worker 8: trial 18", "2 more"))
    assert "worker 9" not in page.text
    view.stop()
    assert "worker" not in Reader(view._repr_html_()).text
