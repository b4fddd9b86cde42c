"""Installs the wheel in dist/ into new environments and uses it there, as a stranger would: make check-release

    python scripts/check_release.py [--installers pip uv] [--keep]
    python scripts/check_release.py --matrix 3.11 3.12 3.13 -- -m "not slow"    # tests with several Pythons: make matrix

Each environment has an empty directory as HOME and works in another empty directory. If this process is root and has ``unshare``,
the repository is hidden from it. The script checks that versions agree, that the package comes from the environment, and that the
Python script of the README and the command line work; it prints installed MB and seconds.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
UNSET = ("PYTHONPATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV", "MLFLOW_TRACKING_URI")
"""Variables of this process that the new environments do not get."""
NOT_COPIED = (".*", "build", "dist", "site", "*.egg-info", "__pycache__", "demo_results", "hyperopt_results", "results")
"""Names in the repository that the matrix does not copy."""


def readme_script(readme: str) -> str:
    """Return the first Python block of the README, which is a complete script."""
    return re.findall(r"^```python\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)[0]


def versions() -> dict[str, str]:
    """Return the version of this release according to each file that states it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    changes = re.findall(r"^## \[(\d[^\]]*)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    cited = re.findall(r"^version: (.*)$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE)
    return {"pyproject.toml": project, "CHANGELOG.md": changes[0], "CITATION.cff": cited[0]}


def wheel() -> Path:
    """Return the only wheel in dist/."""
    found = sorted((ROOT / "dist").glob("*.whl"))
    if len(found) != 1:
        raise SystemExit(f"dist/ has {len(found)} wheels; run: make dist")
    return found[0]


class Place:
    """A new environment in an empty directory.

    Args:
        folder: empty directory.
        installer: ``pip`` or ``uv``.
        python: version of Python for ``uv``, such as ``3.13``; None for the Python of this process.
    """

    def __init__(self, folder: Path, installer: str, python: str | None = None) -> None:
        self.folder, self.installer, self._own_python = folder, installer, python is not None
        self.home, self.work, self.env = (folder / name for name in ("home", "work", "env"))
        for each in (self.home, self.work):
            each.mkdir()
        self.python = self.env / ("Scripts" if os.name == "nt" else "bin") / "python"
        self._uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
        if installer == "pip":
            self.run([sys.executable, "-m", "venv", str(self.env)])
        else:
            self.uv("venv", "--quiet", "--python", python or sys.executable, str(self.env))

    def uv(self, *words: str) -> None:
        """Run uv, whose cache stays where it is."""
        if self._uv is None:
            raise SystemExit("uv is missing; run: make check-release")
        kept = {"UV_CACHE_DIR": os.environ.get("UV_CACHE_DIR", str(Path.home() / ".cache" / "uv"))}
        if self._own_python:  # uv looks for installed Pythons in HOME
            kept["HOME"] = str(Path.home())
        self.run([self._uv, *words], kept)

    def install(self, *packages: str) -> None:
        """Install packages into the environment."""
        if self.installer == "pip":
            self.run([str(self.python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages])
        else:
            self.uv("pip", "install", "--quiet", "--python", str(self.python), *packages)

    def run(self, command: Sequence[str], more: Mapping[str, str] | None = None, *, hidden: bool = False) -> str:
        """Run a command in the working directory; return its output. With ``hidden``, the repository can't be seen."""
        variables = {name: value for name, value in os.environ.items() if name not in UNSET}
        variables |= {"HOME": str(self.home), **(more or {})}
        words = [*(_hiding() if hidden else []), *command]
        done = subprocess.run(words, cwd=self.work, env=variables, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode != 0:
            raise SystemExit(
                f"{' '.join(map(str, command))[:200]} failed with {done.returncode}:\n{done.stdout}{done.stderr}"
            )
        return done.stdout

    def megabytes(self) -> float:
        """Return the size of the environment in MB (10^6 bytes)."""
        return (
            sum(path.stat().st_size for path in self.env.rglob("*") if path.is_file() and not path.is_symlink()) / 1e6
        )


def _hiding() -> list[str]:
    """Return the beginning of a command for which the repository is empty; an empty list where that is impossible."""
    if os.name != "posix" or os.geteuid() != 0 or shutil.which("unshare") is None:
        return []
    return ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"', str(ROOT)]


def check(installer: str, folder: Path) -> None:
    """Install the wheel with an installer and use it."""
    begun = time.monotonic()
    place = Place(folder, installer)
    copied = shutil.copy(wheel(), folder)
    place.install(str(copied))
    installed = time.monotonic() - begun
    print(f"{installer}: installed in {installed:.0f} s, {place.megabytes():,.0f} MB", flush=True)
    where = "import cnn_lstm_hyperopt; print(cnn_lstm_hyperopt.__file__)"
    found = Path(place.run([str(place.python), "-c", where], hidden=True).strip())
    if place.env not in found.parents:
        raise SystemExit(f"the package comes from {found}, not from {place.env}")
    program = str(place.python.with_name("cnn-lstm-hyperopt"))
    version = place.run([program, "--version"], hidden=True).strip()
    if version != versions()["pyproject.toml"]:
        raise SystemExit(f"--version is {version}, not {versions()['pyproject.toml']}")
    script = place.work / "script.py"
    script.write_text(readme_script((ROOT / "README.md").read_text(encoding="utf-8")), encoding="utf-8")
    begun = time.monotonic()
    print(place.run([str(place.python), str(script)], hidden=True), end="")
    print(f"{installer}: the script of the README took {time.monotonic() - begun:.0f} s", flush=True)
    needed = ("study.db", "results.json", "report.html", "mlflow.db", "retrained_model_1/model.safetensors")
    missing = [name for name in needed if not (place.work / "results" / name).is_file()]
    if missing:
        raise SystemExit(f"the script wrote no {', '.join(missing)}")
    print(place.run([program, "status", "--save-dir", "results"], hidden=True), end="", flush=True)


def test_with(python: str, folder: Path, arguments: Sequence[str]) -> bool:
    """Run the tests on the installed wheel with a version of Python; return whether they passed."""
    place = Place(folder, "uv", python)
    begun = time.monotonic()
    place.install(f"cnn-lstm-hyperopt[dev] @ {wheel().as_uri()}")
    print(f"Python {python}: installed in {time.monotonic() - begun:.0f} s, {place.megabytes():,.0f} MB", flush=True)
    copy = place.work / "repository"  # its tests import the installed package
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*NOT_COPIED))
    variables = {name: value for name, value in os.environ.items() if name not in UNSET}
    command = [str(place.python), "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(command, cwd=copy, env=variables, check=False).returncode == 0  # noqa: S603


def main() -> None:
    """Read the arguments and check; exit with 1 at the first error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--installers", nargs="+", choices=["pip", "uv"], default=["pip", "uv"])
    parser.add_argument(
        "--matrix", nargs="+", metavar="VERSION", help="run the tests with these versions of Python instead"
    )
    parser.add_argument("--keep", action="store_true", help="keep the environments")
    parser.add_argument("arguments", nargs="*", help="arguments of pytest, after --")
    given = parser.parse_args()
    if len(set(versions().values())) != 1:
        raise SystemExit(f"the versions differ: {versions()}")
    failed = []
    for name in given.matrix or given.installers:
        folder = Path(tempfile.mkdtemp(prefix=f"release-{name}-"))
        try:
            if given.matrix is None:
                check(name, folder)
            elif not test_with(name, folder, given.arguments):
                failed.append(name)
        finally:
            if given.keep:
                print(f"{name}: kept in {folder}")
            else:
                shutil.rmtree(folder, ignore_errors=True)
    if failed:
        raise SystemExit(f"tests failed with Python {', '.join(failed)}")


if __name__ == "__main__":
    main()
