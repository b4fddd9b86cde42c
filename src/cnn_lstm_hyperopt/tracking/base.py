"""Interface of trackers."""

import abc
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from cnn_lstm_hyperopt.config import Settings
from cnn_lstm_hyperopt.errors import ConfigError
from cnn_lstm_hyperopt.tracking.target import Target
from cnn_lstm_hyperopt.utils.text import install_command

if TYPE_CHECKING:
    from cnn_lstm_hyperopt.tracking.exporter import StudyExporter


class Tracker(abc.ABC):
    """Interface of trackers: the facts of a tracker, its place and its exporter.

    The module of a tracker imports the tracker's library only in :meth:`exporter`, which runs in the exporting process.
    """

    name: ClassVar[str]
    """Name of the tracker in the settings."""
    place: ClassVar[int]
    """Position of the tracker in lists of trackers."""
    label: ClassVar[str]
    """Name of the tracker in messages."""
    description: ClassVar[str]
    """Description of the tracker in a few words, for help texts and documentation."""
    default: ClassVar[bool] = False
    """Whether the command ``track`` writes to this tracker if the user names none."""
    package: ClassVar[str]
    """Package that the tracker needs."""
    extra: ClassVar[str | None] = None
    """Optional extra of this package that installs ``package``; None: it is always installed."""
    environment: ClassVar[Mapping[str, str]] = {}
    """Values of environment variables for the exporting process, unless the user has set other values."""

    @classmethod
    def chosen(cls, settings: Settings) -> bool:
        """Return whether the settings choose this tracker."""
        return cls.name in settings.tracking.trackers

    @classmethod
    def wait_limit(cls, settings: Settings) -> tuple[float, str]:
        """Return the maximum time in seconds that the end of a run waits for the export, and the name of this setting."""
        return settings.tracking.wait_seconds, "tracking.wait_seconds"

    @classmethod
    def check(cls, settings: Settings) -> None:
        """Check that the tracker can be used with the settings.

        Raises:
            ConfigError: the tracker's package is missing, or its target is wrong.
        """
        if cls.extra is not None and importlib.util.find_spec(cls.package) is None:
            text = f"tracking.trackers={cls.name} needs the package {cls.package}: {install_command(cls.extra)}"
            raise ConfigError(text, field="tracking.trackers", code="missing-extra")
        cls.target(settings)

    @classmethod
    @abc.abstractmethod
    def target(cls, settings: Settings) -> Target:
        """Return the place to which the study is exported.

        Raises:
            ConfigError: the place can't be used.
        """

    @classmethod
    @abc.abstractmethod
    def exporter(cls, save_dir: Path, target: Mapping[str, Any], status_file: Path) -> "StudyExporter":
        """Return the exporter of the study in ``save_dir``. ``target`` has the fields of the target."""
