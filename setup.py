"""Copies the config files in configs/hyperopt into the wheel. All other settings of the build are in pyproject.toml."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SOURCE, TARGET = Path("configs/hyperopt"), "cnn_lstm_hyperopt/config/profile_files"


class BuildWithProfiles(build_py):
    def run(self):
        super().run()
        if self.editable_mode:  # an editable installation reads the repository
            return
        folder = Path(self.build_lib) / TARGET
        self.mkpath(str(folder))
        for path in sorted(SOURCE.glob("*.yaml")):
            self.copy_file(str(path), str(folder / path.name))


setup(cmdclass={"build_py": BuildWithProfiles})
