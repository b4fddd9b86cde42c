"""Parts of the build that pyproject.toml can't express: config files in the wheel, and the README of the package index."""

import re
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SOURCE, TARGET = Path("configs/hyperopt"), "cnn_lstm_hyperopt/config/profile_files"
NOTE = (
    "The pictures, and the pages whose paths are in parentheses below, are in the source distribution (`.tar.gz`) of this"
    " version.\n"
)


class BuildWithProfiles(build_py):
    """Copies the config files in configs/hyperopt into the wheel."""

    def run(self):
        super().run()
        if self.editable_mode:  # an editable installation reads the repository
            return
        folder = Path(self.build_lib) / TARGET
        self.mkpath(str(folder))
        for path in sorted(SOURCE.glob("*.yaml")):
            self.copy_file(str(path), str(folder / path.name))


def index_readme(readme: str) -> str:
    """Return the README for a package index, on which links to files of the repository lead nowhere.

    The project has no public address, so a link to a file becomes its text and the path, and pictures are left out. Web links
    and code blocks stay.
    """
    title, blank, rest = readme.partition("\n\n")
    blocks = re.split(r"(^```.*?^```\n)", rest, flags=re.MULTILINE | re.DOTALL)
    return title + blank + NOTE + blank[:1] + "".join(b if b.startswith("```") else _without_links(b) for b in blocks)


def _without_links(text: str) -> str:
    text = re.sub(r"^!\[[^\]]*\]\((?!https?:)[^)]*\)\n\n?", "", text, flags=re.MULTILINE)
    return re.sub(r"\[([^\]]+)\]\((?!https?:)([^)#\s]+)(?:#[^)]*)?\)", _text_and_path, text)


def _text_and_path(link: re.Match[str]) -> str:
    text, path = link.groups()
    return f"`{path}`" if text == Path(path).stem else f"{text} (`{path}`)"


if __name__ == "__main__":
    text = index_readme(Path("README.md").read_text(encoding="utf-8"))
    setup(
        cmdclass={"build_py": BuildWithProfiles},
        long_description=text,
        long_description_content_type="text/markdown",
    )
