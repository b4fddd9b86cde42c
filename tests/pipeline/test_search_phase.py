"""Results of a search that ends with an error."""

import pytest

from cnn_lstm_hyperopt.config import load_settings
from cnn_lstm_hyperopt.data.dataset import prepare_dataset
from cnn_lstm_hyperopt.errors import StorageFailedError
from cnn_lstm_hyperopt.execution import StopSignal
from cnn_lstm_hyperopt.pipeline.events import RunEvents
from cnn_lstm_hyperopt.pipeline.search_phase import search_and_write
from cnn_lstm_hyperopt.pipeline.session import open_session

pytestmark = pytest.mark.usefixtures("quick_final_round")


@pytest.mark.parametrize("blocked", [False, True])
@pytest.mark.parametrize("error", [KeyError("a bug"), StorageFailedError("full")])
def test_results_are_written_after_an_error_unless_the_storage_failed(tiny, caplog, error, blocked):
    class Failing(RunEvents):
        def on_search_start(self, *_):
            raise error

    settings = load_settings(tiny, environment={})
    file, is_bug = settings.save_dir / "results.json", isinstance(error, KeyError)
    with open_session(settings, prepare_dataset(settings.data), resume=False, events=Failing()) as session:
        if blocked:
            file.mkdir()
        with pytest.raises(type(error)):
            search_and_write(session, StopSignal())
    assert file.is_file() == (is_bug and not blocked)
    warnings = [record for record in caplog.records if record.name.endswith("search_phase")]
    assert len(warnings) == (is_bug and blocked)
