"""A real PostgreSQL server in a temporary folder, and processes that run cheap trials of a study on it.

Run as a module, this file is such a process: ``python -m builders.postgres URL NAME TRIALS LEASE_SECONDS``.
"""

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from builders.records import make_plan
from cnn_lstm_hyperopt.search import PostgresServer, Study, StudyStorage, optimise

USER = "tester"


def programs() -> Path | None:
    """The folder of PostgreSQL's programs: the newest of Debian's package, else the search path; None without a server."""
    packaged = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"), key=lambda path: int(path.parts[-3]))
    found = packaged[-1] if packaged else shutil.which("pg_ctl")
    return None if found is None else Path(found).parent


class Server:
    """A server that accepts connections with a password. It belongs to an ordinary user, since root can't start one."""

    def __init__(self, folder: Path, bin_folder: Path) -> None:
        self.folder, self._bin = folder, bin_folder
        self.password = secrets.token_hex(8)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        if os.getuid() == 0:
            shutil.chown(folder, "nobody", "nogroup")
        folder.chmod(0o755)
        pwfile = folder / "password"
        pwfile.write_text(self.password, encoding="ascii")
        pwfile.chmod(0o644)
        how = ("--auth=scram-sha-256", "--encoding=UTF8", "--no-sync", "-U", USER, f"--pwfile={pwfile}")
        self._as_user("initdb", "-D", str(folder / "data"), *how)
        pwfile.unlink()
        self.control("start")

    def url(self, database: str = "postgres", *, user: str = USER, password: str = "") -> str:
        """The URL of a database, without password unless one is given."""
        secret = f":{password}" if password else ""
        return f"postgresql+psycopg://{user}{secret}@127.0.0.1:{self.port}/{database}"

    def control(self, what: str, *more: str) -> None:
        """Start, stop or restart the server."""
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        log = str(self.folder / "log")
        self._as_user(
            "pg_ctl", "-D", str(self.folder / "data"), "-w", "-t", "120", "-l", log, "-o", options, *more, what
        )

    def sql(self, statement: str) -> str:
        """Run a statement with the server's own client; its rows as text."""
        command = [str(self._bin / "psql"), "-h", "127.0.0.1", "-p", str(self.port), "-U", USER, "-At", "-c", statement]
        environment = {**os.environ, "PGPASSWORD": self.password}
        return subprocess.run(
            [*command, "postgres"], env=environment, check=True, capture_output=True, text=True
        ).stdout.strip()

    def _as_user(self, program: str, *arguments: str) -> None:
        user = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] if os.getuid() == 0 else []
        with (self.folder.parent / f"{self.folder.name}.out").open("a") as output:
            subprocess.run(
                [*user, str(self._bin / program), *arguments], check=True, cwd="/", stdout=output, stderr=output
            )


@contextlib.contextmanager
def serving(bin_folder: Path) -> Iterator[Server]:
    """Start a server, and stop it at the end."""
    with tempfile.TemporaryDirectory(prefix="pg") as base:
        Path(base).chmod(0o755)
        folder = Path(base) / "server"
        folder.mkdir()
        server = Server(folder, bin_folder)
        try:
            yield server
        finally:
            server.control("stop", "-m", "immediate")


def evaluate(params, seed):
    """Two epochs of a cheap function; the score depends on the seed alone."""
    for epoch in (1, 2):
        yield epoch, 0.5 + (seed % 1000) / 2500, float(epoch), 2.0


def plan(n_trials: int):
    """The same plan in every process."""
    return make_plan(None, n_trials=n_trials, max_epochs=2)


def work(url: str, name: str, n_trials: int, lease_seconds: float) -> None:
    """Run trials until the study has all of them."""
    storage = StudyStorage(PostgresServer(url, name, lease_seconds=lease_seconds))
    study = Study(storage, plan(n_trials))
    while study.n_finished() < n_trials:
        optimise(study, evaluate)
        time.sleep(0.1)
    storage.close()


if __name__ == "__main__":
    work(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
