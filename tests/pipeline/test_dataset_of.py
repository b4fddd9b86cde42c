"""A new study has the groups of features that its space may use; a resumed one keeps those of its data."""

import json

import pytest

from cnn_lstm_hyperopt.config import load_settings
from cnn_lstm_hyperopt.pipeline.run import dataset_of

DATA = {"source": "embedded", "symbols": ["AAPL"], "start": "2010-01-01", "lookback": 10}


@pytest.mark.parametrize(
    ("stored", "groups"),
    [
        ({"features": ["close_return"]}, ()),  # of an earlier version
        ({"feature_groups": ["volume_ratios"]}, ("volume_ratios",)),
        (None, ("relative_ranges",)),  # a damaged file, which the run writes again
    ],
)
def test_a_resumed_study_keeps_its_groups_of_features(stored, groups, tmp_path):
    space = {"inputs": {"market": True}}  # one symbol is no market
    settings = load_settings({"data": DATA, "search_space": space, "save_dir": str(tmp_path)}, environment={})
    (tmp_path / "data.json").write_text("{" if stored is None else json.dumps(stored))
    assert tuple(dataset_of(settings, resume=True).for_trials().columns) == groups
    assert tuple(dataset_of(settings, resume=False).for_trials().columns) == ("relative_ranges",)
