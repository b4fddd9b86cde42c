"""Writing a YAML file and reading it as settings."""

from collections.abc import Callable
from typing import Any

import pytest

from cnn_lstm_hyperopt.config import Settings, load_settings


@pytest.fixture(scope="session")
def read_text(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Settings]:
    """Read a YAML text as a file."""
    path = tmp_path_factory.mktemp("yaml") / "my.yaml"

    def read(text: str, overrides: dict[str, Any] | None = None, environment: dict[str, str] | None = None) -> Settings:
        path.write_text(text, encoding="utf-8")
        return load_settings(path, overrides, environment)

    return read
