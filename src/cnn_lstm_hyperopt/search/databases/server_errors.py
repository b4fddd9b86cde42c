"""Errors of a PostgreSQL server, translated into one line with a fix. The texts contain no password."""

import re
from pathlib import Path

from sqlalchemy.exc import DBAPIError, NoSuchModuleError, SQLAlchemyError

from cnn_lstm_hyperopt.errors import ConfigError, ConnectionLostError, HyperoptError, SaveDirError, StorageFailedError
from cnn_lstm_hyperopt.run_dir.paths import resume_command
from cnn_lstm_hyperopt.search.study_format import DamagedError
from cnn_lstm_hyperopt.utils.secrets import masked
from cnn_lstm_hyperopt.utils.text import printable

EXTRA = "pip install 'cnn-lstm-hyperopt[postgres]'"
_PROBLEMS = (
    (r"password authentication failed|no password supplied|authentication failed", "refuses the user or password", "check the"
     " user in the URL; the password comes from the URL, PGPASSWORD or ~/.pgpass", "server-login"),
    (r"role .* does not exist|is not permitted to log in|no pg_hba.conf entry", "does not let this user in", "check the user in"
     " the URL and the server's pg_hba.conf", "server-login"),
    (r'database ".*" does not exist', "has no such database", "create it (createdb NAME), or name another", "no-database"),
    (r"permission denied", "does not give this user the necessary rights", "ask for the right to create and write tables (GRANT)",
     "server-rights"),
    (r"read-only transaction", "allows no changes", "name the primary server", "server-read-only"),
    (r"too many clients|remaining connection slots|too many connections", "has no free connection", "raise max_connections, or"
     " start fewer workers", "server-full"),
    (r"could not translate host name|Name or service not known|failed to resolve host|nodename nor servname",
     "has an unknown host name", "check the host in the URL", "server-unreachable"),
    (r"invalid (URI|connection option|dsn)|invalid .*option", "has an unknown option", "check the part of the URL after ?",
     "bad-storage-url"),
    (r"refused|timeout|timed out|No such file|unreachable|starting up|shutting down|closed|terminat|connection",
     "can't be reached", "check that the server runs and that host and port are right", "server-unreachable"),
)  # fmt: skip
"""For each pattern in the text of an error: the problem, its fix, and the error code of this package."""
_LOST_STATES = ("08", "57P", "53300", "40001", "40P01", "25P03")
"""Beginnings of the server's error codes after which the same operation may succeed: lost connection, restart, deadlock."""


def not_opened(url: str, error: Exception) -> HyperoptError:
    """Return the error of a command that can't use the server."""
    if isinstance(error, (ImportError, NoSuchModuleError)):
        return ConfigError(
            f"study.storage: {url} needs the package psycopg; install it with: {EXTRA}",
            field="study.storage",
            code="postgres-not-installed",
        )
    if isinstance(error, DamagedError):
        return SaveDirError(
            f"{url} can't be opened as a study: it is damaged ({error}); restore the database from a backup of the server",
            field="study.storage",
            code="study-damaged",
        )
    problem, fix, code = _problem(error)
    return ConfigError(f"study.storage: {url} {problem} ({_line(error)}); {fix}", field="study.storage", code=code)


def failed(shown: str, save_dir: Path | None, error: Exception) -> HyperoptError:
    """Return the error of a run that can't read or write its study: ConnectionLostError if a later attempt may succeed."""
    resume = "resume the run" if save_dir is None else f"resume: {resume_command(save_dir)} (in Python: resume=True)"
    if isinstance(error, DamagedError):
        return StorageFailedError(
            f"{shown} is damaged: {error}. Restore the database from a backup of the server, then {resume}",
            code="study-damaged",
        )
    problem, fix, code = _problem(error)
    text = f"{shown} {problem} ({_line(error)}); finished trials are kept. Remedy: {fix}, then {resume}"
    return ConnectionLostError(text, code="connection-lost") if _is_lost(error) else StorageFailedError(text, code=code)


def _problem(error: Exception) -> tuple[str, str, str]:
    text = str(_root(error))
    for pattern, *found in _PROBLEMS:
        if re.search(pattern, text):
            problem, fix, code = found
            return problem, fix, code
    return "reports an error", "see the server's log", "server-error"


def _is_lost(error: Exception) -> bool:
    root = _root(error)
    state = getattr(root, "sqlstate", None)
    if state is not None:
        return str(state).startswith(_LOST_STATES)
    of_driver = next((each for each in _chain(error) if isinstance(each, DBAPIError)), None)
    if of_driver is not None and of_driver.connection_invalidated:
        return True
    return type(root).__name__ == "OperationalError"  # the driver has no error code while no connection exists


def _chain(error: BaseException | None) -> list[BaseException]:
    """Return an error and the errors that it wraps, the outermost first."""
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        orig = getattr(error, "orig", None)
        error = orig if isinstance(orig, BaseException) else error.__cause__
    return found


def _root(error: BaseException) -> BaseException:
    """Return the driver's error, or else the innermost error."""
    chain = _chain(error)
    of_driver = [each.orig for each in chain if isinstance(each, SQLAlchemyError) and isinstance(each, DBAPIError)]
    root = of_driver[-1] if of_driver else chain[-1]
    return root if root is not None else chain[-1]


def _line(error: BaseException) -> str:
    text = " ".join(str(_root(error)).split())
    return printable(masked(text), 200) if text else type(error).__name__
