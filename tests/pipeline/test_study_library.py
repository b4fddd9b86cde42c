"""A finished search adds its results to the study library, and the next study begins with configurations from there."""

import json

import pytest

from cnn_lstm_hyperopt.config import load_settings
from cnn_lstm_hyperopt.execution import StopSignal
from cnn_lstm_hyperopt.pipeline.events import RunEvents
from cnn_lstm_hyperopt.pipeline.search_phase import search
from cnn_lstm_hyperopt.pipeline.session import open_session
from cnn_lstm_hyperopt.search import ranked_front

pytestmark = pytest.mark.slow


@pytest.fixture
def searched(tiny, apple, tmp_path):
    """Search so many trials with a seed; return the records, the front and the warnings."""
    dataset = apple(lookback=10)

    def run(seed, n_trials, place, *, resume=False, **more):
        study = {**tiny["study"], "n_trials": n_trials, "seed": seed, "library": str(tmp_path / "library"), **more}
        settings = load_settings({**tiny, "study": study, "save_dir": str(tmp_path / place)}, environment={})
        warnings = []

        class Heard(RunEvents):
            def on_warning(self, text):
                warnings.append(text)

        with open_session(settings, dataset, resume=resume, events=Heard()) as session:
            search(session, StopSignal())
            records = session.study.records()
            return records, ranked_front(records, session.study.plan.skill), warnings

    return run


def test_a_study_begins_with_configurations_of_an_earlier_one(searched, tmp_path):
    records, front, _ = searched(0, 22, "first")
    (path,) = (tmp_path / "library").iterdir()
    stored = json.loads(path.read_text())
    complete = [record for record in records if record.values is not None]
    assert len(stored["trials"]) == len(complete)
    assert sum(trial["on_front"] for trial in stored["trials"]) == len(front) > 0
    assert "AAPL" not in path.read_text()

    later, later_front, warnings = searched(1, 3, "second")
    keys = [sorted(record.params.items()) for record in front]
    begun = [record for record in later if record.attributes.get("origin") == "library"]
    assert begun
    assert all(sorted(record.params.items()) in keys for record in begun)
    assert any("nothing was added" in text for text in warnings) == (not later_front)

    searched(0, 23, "first", resume=True)  # the same study replaces its file
    assert len(list((tmp_path / "library").iterdir())) == 1 + bool(later_front)
    assert len(json.loads(path.read_text())["trials"]) >= len(complete)


def test_a_library_whose_configurations_are_all_enqueued_replaces_the_portfolio(searched, tmp_path):
    searched(0, 22, "first")
    later, *_ = searched(1, 12, "second", enqueue=str(tmp_path / "first"), portfolio=True)
    origins = {record.attributes.get("origin") for record in later} - {None}
    assert "enqueued" in origins
    assert origins <= {"enqueued", "library"}
