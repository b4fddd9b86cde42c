"""What tests of several folders use: a search that ends in seconds, on real bars."""

import functools
import importlib
import os
import secrets
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import alembic.util
import pytest
import sqlalchemy
import torch
import yaml
from hypothesis import HealthCheck, settings

from builders.speeds import write_speeds
from cnn_lstm_hyperopt.config import DataSettings
from cnn_lstm_hyperopt.data.dataset import Dataset, prepare_dataset
from cnn_lstm_hyperopt.evaluation import BASELINES
from cnn_lstm_hyperopt.training.cost_model import CostModel

if TYPE_CHECKING:
    from builders.postgres import Server

ROOT = Path(__file__).parents[1]
for _section in ("MLFLOW__ENABLED", "REPORT"):  # neither for each study; tracking/ and reporting/report/ have their own
    os.environ.setdefault(f"CNN_LSTM_HYPEROPT__{_section}", "false")

TINY = {
    "workers": 1,
    "study": {"n_trials": 6, "portfolio": False},
    "data": {
        "source": "embedded",
        "symbols": ["AAPL", "IBM"],
        "start": "2004-01-01",
        "end": "2008-12-31",
        "target": "volatility",
        "lookback": 10,
        "train_share": 0.5,
    },
    "training": {"max_epochs": 3, "min_epoch_steps": 1},
    "pruner": {"n_startup_trials": 2, "n_warmup_steps": 1},
    "sampler": {"n_startup_trials": 3},
    "mlflow": {"enabled": False},
    "retrain": {"top_k": 2, "full_epochs": 2, "confirm_seeds": 2, "seeds": 2},
    "search_space": {
        "cnn": {"num_filters": [4, 8], "attention_heads": [1, 2]},
        "lstm": {"hidden_dim": [8, 16], "num_layers": [1, 2], "attention_heads": [1, 2]},
        "fusion": {"dim": [8, 16], "attention_heads": [1, 2]},
        "training": {"batch_size": [64, 128], "learning_rate": [1e-3, 2e-2], "optimizer": ["adam", "rmsprop"]},
    },
}
"""Settings of a search whose trials take a fraction of a second and learn something."""


# No test depends on how long something takes, so neither do Hypothesis's; the rest is as it is here or in CI.
settings.register_profile(
    "unhurried", settings(), max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("unhurried")

# Optuna reads its migrations three times for each new study and once for each that is opened: most of their time. A file
# env.py is executed to migrate a database, so it is read each time.
_load, _load_once = alembic.util.load_python_file, functools.cache(alembic.util.load_python_file)
alembic.util.load_python_file = lambda folder, file: (_load if file == "env.py" else _load_once)(folder, file)


@sqlalchemy.event.listens_for(sqlalchemy.Engine, "connect")
def _do_not_wait_for_the_disk(connection: object, _: object) -> None:
    """While a study's file is created, whose thirty commits would wait for it; an open one has its own setting."""
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous=OFF")


@pytest.fixture(scope="session", autouse=True)
def speeds(tmp_path_factory: pytest.TempPathFactory) -> CostModel:
    """Speeds of one core, in a cache of the tests' own, where all processes find them."""
    return write_speeds(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def server() -> Iterator["Server"]:
    """A PostgreSQL server whose password this process has."""
    from builders import postgres
    from cnn_lstm_hyperopt.utils.passwords import without_password

    programs = postgres.programs()
    if programs is None:
        pytest.skip("no PostgreSQL server is installed (apt-get install postgresql)")
    with postgres.serving(programs) as running:
        without_password(running.url(password=running.password))
        yield running


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """URL of an empty bucket on a local server of S3, whose address and keys are in the environment."""
    s3fs = pytest.importorskip("s3fs")
    moto = pytest.importorskip("moto.server")
    running = moto.ThreadedMotoServer("127.0.0.1", port=0)
    running.start()
    host, port = running.get_host_and_port()
    for name, value in (("ENDPOINT_URL", f"http://{host}:{port}"), ("DEFAULT_REGION", "us-east-1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secrets.token_hex(20))
    s3fs.S3FileSystem.clear_instance_cache()  # instances know the server of an earlier test
    name = f"studies-{secrets.token_hex(4)}"
    s3fs.S3FileSystem().mkdir(name)
    yield f"s3://{name}"
    running.stop()


@pytest.fixture(scope="session")
def tiny_settings() -> dict[str, Any]:
    """:data:`TINY`, for fixtures of a wider scope; without a directory."""
    return TINY


@pytest.fixture
def tiny(tmp_path: Path) -> dict[str, Any]:
    """:data:`TINY` with a directory of its own."""
    return {**TINY, "save_dir": str(tmp_path / "results")}


@pytest.fixture
def tiny_file(tiny: dict[str, Any], tmp_path: Path) -> Path:
    """The same as a YAML file."""
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(tiny), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def apple() -> Callable[..., Dataset]:
    """``apple(lookback=10, …)``: the volatility of a single real symbol over four years, with the settings of data changed so."""

    def prepare(**changed: Any) -> Dataset:
        settings = {"start": date(2005, 1, 3), "end": date(2008, 12, 31), "lookback": 20, **changed}
        return prepare_dataset(DataSettings(source="embedded", symbols=("AAPL",), target="volatility", **settings))

    return prepare


LONGEST = (
    "test_demo.py",
    "test_disturbed_runs.py",
    "test_worker_faults.py",
    "test_noise_and_signal.py",
    "test_determinism.py",
    "test_real_runs.py",
    "test_browser.py",
    "test_server.py",
    "test_killed_final_phase.py",
    "test_export.py",
    "test_long_runs.py",
)
"""Files whose slow tests take minutes: they begin first, so that in the end no process is left alone with one of them."""


@pytest.hookimpl(tryfirst=True)  # before -m looks at the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks as ``slow`` or ``thorough`` what comes after the first n of ``mostly_slow(n)`` or ``mostly_thorough(n)``.

    What is ``thorough`` is ``slow``, too.
    """
    seen: Counter[tuple[str, str]] = Counter()
    for item in items:
        for later in ("slow", "thorough"):
            if (mark := item.get_closest_marker(f"mostly_{later}")) is not None:
                place = later, item.nodeid.partition("[")[0]
                seen[place] += 1
                if seen[place] > mark.args[0]:
                    item.add_marker(later)
        if item.get_closest_marker("thorough") is not None:
            item.add_marker("slow")
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


Cli = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def quick_final_round(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One thread, the two baselines that need no fitting, and a forecast of a few configurations."""
    quick = {name: BASELINES[name] for name in ("majority class", "persistence")}
    monkeypatch.setattr("cnn_lstm_hyperopt.evaluation.baselines.BASELINES", quick)  # whole: a dict keeps an order
    monkeypatch.setattr("cnn_lstm_hyperopt.search.cost_forecast.SAMPLED", 50)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """A report is its page alone: the pictures beside it take most of the time."""
    monkeypatch.setattr("cnn_lstm_hyperopt.reporting.html.pictures.PICTURES", {})


@pytest.fixture(scope="session")
def imported() -> Iterator[Callable[[str], ModuleType]]:
    """Imports a benchmark as it is when it is run: from its own folder."""
    folder = str(ROOT / "benchmarks")
    sys.path.insert(0, folder)
    yield importlib.import_module
    sys.path.remove(folder)


@pytest.fixture
def start_cli() -> Cli:
    """Starts the command line as a process of its own, as a user does."""

    def start(*arguments: str | Path) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "cnn_lstm_hyperopt", *map(str, arguments)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start
