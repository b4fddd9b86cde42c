"""Import of a user's module by name."""

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable
from importlib.machinery import PathFinder
from types import ModuleType

from cnn_lstm_hyperopt.utils.bounded_process import end_copies
from cnn_lstm_hyperopt.utils.text import printable, shown_name, typed_line

FOLDERS_VARIABLE = "CNN_LSTM_HYPEROPT_MODULE_FOLDERS"
"""Environment variable with the folders of the modules that the parent process has imported, for a worker process."""


def import_own_module(name: str, error: Callable[[str, str], Exception]) -> ModuleType:
    """Return the module ``name``, which is in the current directory or installed.

    The named module is searched first in the current directory, then in the folders of :data:`FOLDERS_VARIABLE`. All other
    imports search these folders last, so a user's file with the name of a library does not replace the library.

    Args:
        name: name of the module, such as ``mine`` or ``package.mine``.
        error: function that returns the error for a text (after the name of the reference) and a code.

    Raises:
        Exception: the module does not exist, or its import raises an error. ``error`` makes this exception.
    """
    try:
        here = os.getcwd()
    except OSError as gone:
        text = f" can't be imported, because the working directory is gone ({gone.strerror}); go to another"
        raise error(text, "no-working-directory") from gone
    folders = [here, *filter(None, os.environ.get(FOLDERS_VARIABLE, "").split(os.pathsep))]
    sys.path += [folder for folder in folders if folder not in sys.path and not (folder == here and "" in sys.path)]
    importlib.invalidate_caches()
    process = os.getpid()
    try:
        try:
            for folder in folders:
                _import_from(folder, name.partition(".")[0])
            return importlib.import_module(name)
        finally:
            end_copies(process)
    except KeyboardInterrupt:
        raise
    except BaseException as raised:
        missing = raised.name if isinstance(raised, ModuleNotFoundError) else None
        if missing is None or not f"{name}.".startswith(f"{missing}."):
            text = f": importing {shown_name(name)} raises {typed_line(raised)}"
            raise error(text, "import-raises") from raised
        text = (
            f": there is no module {shown_name(missing)}, neither in the current directory {printable(here)} nor installed; start"
            " from the directory of the file, or name it as package.module:function"
        )
        raise error(text, "no-module") from raised


def _import_from(folder: str, name: str) -> None:
    """Import a module or package from a folder. Do nothing if a module of the same name is already loaded."""
    spec = None if name in sys.modules else PathFinder.find_spec(name, [folder])
    if spec is None or spec.loader is None:  # a folder without __init__.py is a package only if there is no other
        return
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
