"""A new study has the groups of features that its space may use; a resumed one keeps those of its data."""

import json

import pytest

from cnn_lstm_hyperopt.config import PARAMETERS, load_settings
from cnn_lstm_hyperopt.pipeline.run import dataset_of
from cnn_lstm_hyperopt.run_dir.paths import STUDY_FILE
from cnn_lstm_hyperopt.search import StudyStorage

DATA = {"source": "embedded", "symbols": ["AAPL"], "start": "2010-01-01", "lookback": 10}
STORED = {f"search_space.{name}": "as it was" for name in PARAMETERS}
EARLIER = {name: value for name, value in STORED.items() if ".inputs." not in name}


@pytest.mark.parametrize(
    ("made_with", "data", "groups"),
    [
        (EARLIER, {"features": ["close_return"]}, ()),
        (STORED, {"feature_groups": ["volume_ratios"]}, ("volume_ratios",)),
        (STORED, None, ("relative_ranges",)),  # a missing file, which the run writes again
        (EARLIER, None, ()),
    ],
)
def test_a_resumed_study_keeps_its_groups_of_features(made_with, data, groups, tmp_path):
    space = {} if made_with is EARLIER else {"inputs": {"market": True}}  # one symbol is no market
    settings = load_settings({"data": DATA, "search_space": space, "save_dir": str(tmp_path)}, environment={})
    StudyStorage(tmp_path / STUDY_FILE, create="study", attributes={"made_with": made_with}).close()
    if data is not None:
        (tmp_path / "data.json").write_text(json.dumps(data))
    assert tuple(dataset_of(settings, resume=True).for_trials().columns) == groups
    assert tuple(dataset_of(settings, resume=False).for_trials().columns) == ("relative_ranges",)
