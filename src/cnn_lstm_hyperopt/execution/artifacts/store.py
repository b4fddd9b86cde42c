"""Interface of the places where workers exchange files, and its members: a folder, and an object store."""

import abc
import contextlib
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from cnn_lstm_hyperopt.errors import ConfigError, StorageFailedError
from cnn_lstm_hyperopt.utils.atomic_io import is_part, written_beside
from cnn_lstm_hyperopt.utils.secrets import masked
from cnn_lstm_hyperopt.utils.text import install_command, printable, typed_line

_LIMITS: Mapping[str, Mapping[str, Any]] = {
    "s3": {"config_kwargs": {"connect_timeout": 5, "read_timeout": 15, "retries": {"max_attempts": 2}}}
}
"""Arguments of the file systems of fsspec, by scheme: limits in seconds for a server that does not answer."""


class ArtifactStore(abc.ABC):
    """Interface of a place for files, which have names such as ``study/checkpoints/trial_00001.pt``.

    A file appears under its name completely or not at all. All methods raise StorageFailedError if the place can't be used.

    Attributes:
        url: URL of the place. It contains no credentials.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    def put(self, name: str, path: Path) -> None:
        """Copy a local file to the place, where it replaces a file of the same name."""
        with self._faults("written"):
            self._put(name, path)

    def get(self, name: str, path: Path) -> bool:
        """Copy a file of the place to a local path. Return False if there is no file of this name."""
        with self._faults("read"):
            with contextlib.suppress(FileNotFoundError), written_beside(path) as beside:
                self._get(name, beside)
                return True
            return False

    def exists(self, name: str) -> bool:
        """Return whether there is a file of this name."""
        with self._faults("read"):
            return self._exists(name)

    def delete(self, name: str) -> None:
        """Remove a file; a missing file is no error."""
        with self._faults("written"), contextlib.suppress(FileNotFoundError):
            self._delete(name)

    def names(self, folder: str) -> list[str]:
        """Return the names of the files in a folder, such as ``trial_00001.pt``; none if there is no such folder."""
        with self._faults("read"):
            with contextlib.suppress(FileNotFoundError):
                return self._names(folder)
            return []

    @contextlib.contextmanager
    def _faults(self, done: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # each object store has its own types of errors
            reason = printable(masked(typed_line(error)))
            raise StorageFailedError(
                f"study.artifacts: {self.url} can't be {done} ({reason}); check the URL, the network and your rights there",
                code="artifacts-failed",
            ) from error

    @abc.abstractmethod
    def _put(self, name: str, path: Path) -> None: ...

    @abc.abstractmethod
    def _get(self, name: str, path: Path) -> None:
        """Write the content of a file to ``path``, or raise FileNotFoundError."""

    @abc.abstractmethod
    def _exists(self, name: str) -> bool: ...

    @abc.abstractmethod
    def _delete(self, name: str) -> None:
        """Remove a file; a missing file may raise FileNotFoundError."""

    @abc.abstractmethod
    def _names(self, folder: str) -> list[str]: ...


class FolderStore(ArtifactStore):
    """A folder, which must exist: otherwise files could go to a disk that is not mounted."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._root = Path(unquote(urlsplit(url).path))

    def _put(self, name: str, path: Path) -> None:
        target = self._path(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        with written_beside(target) as beside:
            shutil.copyfile(path, beside)

    def _get(self, name: str, path: Path) -> None:
        shutil.copyfile(self._path(name), path)

    def _exists(self, name: str) -> bool:
        return self._path(name).is_file()

    def _delete(self, name: str) -> None:
        self._path(name).unlink()

    def _names(self, folder: str) -> list[str]:
        return [path.name for path in self._path(folder).iterdir() if not is_part(path)]

    def _path(self, name: str) -> Path:
        if not self._root.is_dir():
            raise NotADirectoryError(f"there is no folder {self._root}")
        return self._root / name


class ObjectStore(ArtifactStore):
    """A file system of the library fsspec whose files are complete when they appear, such as ``s3://``.

    The library finds the credentials in the environment.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url)
        from fsspec.core import url_to_fs

        try:
            self._files: Any
            self._files, self._root = url_to_fs(url, use_listings_cache=False, **_LIMITS.get(urlsplit(url).scheme, {}))
        except ImportError as error:
            raise ConfigError(
                f"study.artifacts: {url} needs the package s3fs: {install_command('s3')}",
                field="study.artifacts",
                code="s3fs-not-installed",
            ) from error

    def _put(self, name: str, path: Path) -> None:
        self._files.put_file(str(path), self._path(name))

    def _get(self, name: str, path: Path) -> None:
        self._files.get_file(self._path(name), str(path))

    def _exists(self, name: str) -> bool:
        return bool(self._files.exists(self._path(name)))

    def _delete(self, name: str) -> None:
        self._files.rm_file(self._path(name))

    def _names(self, folder: str) -> list[str]:
        found = self._files.ls(self._path(folder), detail=False)
        return [str(path).rstrip("/").rpartition("/")[2] for path in found]

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"


def open_store(url: str) -> ArtifactStore:
    """Return the place of a URL.

    Raises:
        ConfigError: a package for the URL is missing.
    """
    return FolderStore(url) if url.startswith("file:") else ObjectStore(url)
