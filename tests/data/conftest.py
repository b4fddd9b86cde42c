"""Bars for the data layer's tests."""

from collections.abc import Callable

import pandas as pd
import pytest

from builders.frames import random_frame


@pytest.fixture(scope="session")
def make_frame() -> Callable[..., pd.DataFrame]:
    return random_frame
