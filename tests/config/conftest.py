"""Writing a YAML file and reading it as settings, and random search spaces."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cnn_lstm_hyperopt.config import Settings, load_settings
from cnn_lstm_hyperopt.errors import ConfigError


@pytest.fixture(scope="session")
def read_text(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Settings]:
    """Reads a YAML text as a user's file."""
    path = tmp_path_factory.mktemp("yaml") / "my.yaml"

    def read(text: str, overrides: dict[str, Any] | None = None, environment: dict[str, str] | None = None) -> Settings:
        path.write_text(text, encoding="utf-8")
        return load_settings(path, overrides, environment)

    return read


@pytest.fixture(scope="session")
def faults_of() -> Callable[[dict[str, Any]], str]:
    """The text of the ConfigError that a nested dict raises."""

    def faults(raw: dict[str, Any]) -> str:
        with pytest.raises(ConfigError) as caught:
            load_settings(None, raw)
        return str(caught.value)

    return faults


@pytest.fixture
def missing(tmp_path: Path) -> Path:
    return tmp_path / "nowhere.yaml"
