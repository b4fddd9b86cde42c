"""The allocator keeps freed memory until it is returned; C libraries other than glibc are not touched."""

import ctypes
import importlib.util
import platform
import subprocess
import sys
from types import SimpleNamespace

import pytest

SCRIPT = """
from cnn_lstm_hyperopt.training.runtime.allocator import give_back_pages, keep_freed_pages
from cnn_lstm_hyperopt.training.runtime.memory import resident_mb

assert keep_freed_pages() is True
assert keep_freed_pages() is True
import torch
print(resident_mb())
big = [torch.ones(2_000_000) for _ in range(25)]  # 200 MB in blocks that malloc would map one by one
print(resident_mb())
del big
print(resident_mb())
give_back_pages()
print(resident_mb())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's allocator has these settings")
def test_freed_memory_stays_until_it_is_returned():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    before, used, freed, returned = map(float, done.stdout.split())
    assert used > before + 190
    assert freed > before + 190  # by default glibc would have returned it already
    assert returned < before + 20


@pytest.mark.parametrize(
    ("system", "library", "loads"),
    [
        ("linux", ("", ""), 0),
        ("linux", ("musl", "1.2"), 0),
        ("darwin", ("glibc", "2.36"), 0),
        ("win32", ("", ""), 0),
        ("linux", ("glibc", "2.36"), 1),
    ],
)
def test_another_c_library_is_not_touched_and_one_that_refuses_is_no_error(monkeypatch, system, library, loads):
    loaded, trimmed = [], []
    refusing = SimpleNamespace(mallopt=lambda option, value: 0, malloc_trim=trimmed.append)
    spec = importlib.util.find_spec("cnn_lstm_hyperopt.training.runtime.allocator")
    fresh = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fresh)  # without cached answers
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "libc_ver", lambda *_: library)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: loaded.append(name) or refusing)
    assert fresh.keep_freed_pages() is False
    fresh.give_back_pages()
    assert (len(loaded), len(trimmed)) == (loads, loads)
