"""Checks of arguments and settings that do not fit together with DataLoaders."""

from pathlib import Path
from typing import Any

from cnn_lstm_hyperopt.config import DataSettings
from cnn_lstm_hyperopt.errors import ConfigError, Violation
from cnn_lstm_hyperopt.utils.text import shown


def refuse_facts_of_loaders(**given: Any) -> None:
    """Refuse arguments that describe DataLoaders if no DataLoaders are given."""
    for name, value in given.items():
        if value is not None:
            text = f"{name} describes data_loaders, but got {shown(value)} without them; leave it out, or give data_loaders"
            raise ConfigError(text, field=name, code="needs-loaders")


_NOT_CHECKED = {"cv_folds", "horizon", "train_share", "feature_columns", "features"}
"""Settings of the data section that this module does not check for DataLoaders.

These settings apply to DataLoaders, or pydantic refuses them for DataLoaders.
"""


def require_only_what_loaders_need(asked: DataSettings) -> None:
    """Refuse settings of the data section that have no effect on DataLoaders, unless they have their default values."""
    usual = DataSettings().model_dump()
    given = {
        name: value
        for name, value in asked.model_dump().items()
        if name not in _NOT_CHECKED and value != usual[name] and value != "loaders"
    }
    if "data_dir" in given:
        del given["source"]  # data_dir implies the source
    if given:
        named = ", ".join(
            f"data.{name}={shown(str(value) if isinstance(value, Path) else value)}" for name, value in given.items()
        )
        them = "it" if len(given) == 1 else "them"
        raise ConfigError(
            f"{named}: data_loaders bring their own windows, labels and split; leave {them} out, or give bars instead of"
            " data_loaders",
            violations=[Violation(f"data.{name}", "unused-with-loaders") for name in given],
        )
