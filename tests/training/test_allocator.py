"""The allocator: freed memory is kept until it is handed back, and elsewhere than on glibc nothing is touched."""

import ctypes
import platform
import subprocess
import sys
from collections.abc import Iterator

import pytest

from cnn_lstm_hyperopt.training.runtime import allocator
from cnn_lstm_hyperopt.training.runtime.allocator import give_back_pages, keep_freed_pages

needs_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's allocator can be told")

SCRIPT = """
from cnn_lstm_hyperopt.training.runtime.allocator import give_back_pages, keep_freed_pages
from cnn_lstm_hyperopt.training.runtime.memory import resident_mb

def show(what):
    print(what, resident_mb())

assert keep_freed_pages() is True
import torch
show("before")
big = [torch.ones(2_000_000) for _ in range(25)]  # 200 MB in blocks that malloc would map one by one
show("held")
del big
show("freed")
give_back_pages()
show("given back")
"""


@pytest.fixture
def forgotten() -> Iterator[None]:
    """What is known of the C library is asked anew, here and by whoever comes after."""
    known = (allocator._glibc, keep_freed_pages)
    for each in known:
        each.cache_clear()
    yield
    for each in known:
        each.cache_clear()


@needs_glibc
def test_freed_memory_stays_until_it_is_given_back():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    mb = {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in done.stdout.splitlines()}
    assert mb["held"] > mb["before"] + 190
    assert mb["freed"] > mb["before"] + 190  # by default glibc would have handed it back already
    assert mb["given back"] < mb["before"] + 20


@needs_glibc
def test_to_keep_freed_pages_is_asked_for_once_and_again_without_harm(monkeypatch, forgotten):
    calls, libc = [], ctypes.CDLL(None)

    class Listening:
        def mallopt(self, option, value):
            calls.append(option)
            return libc.mallopt(option, value)

    monkeypatch.setattr(allocator, "_glibc", lambda: Listening())
    assert keep_freed_pages() is keep_freed_pages() is keep_freed_pages() is True
    assert len(calls) == len(set(calls)) == 2
    monkeypatch.undo()
    keep_freed_pages.cache_clear()
    assert keep_freed_pages() is True  # a second time is no error for the library either


@pytest.mark.parametrize(
    ("system", "library"),
    [("linux", ("", "")), ("linux", ("musl", "1.2")), ("darwin", ("glibc", "2.36")), ("win32", ("", ""))],
)
def test_another_c_library_is_left_as_it_is(monkeypatch, forgotten, system, library):
    def refuse(*_):
        raise AssertionError("the C library was loaded")

    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "libc_ver", lambda *_: library)
    monkeypatch.setattr(ctypes, "CDLL", refuse)
    assert keep_freed_pages() is False
    give_back_pages()


def test_an_allocator_that_refuses_is_no_error(monkeypatch, forgotten):
    class Refusing:
        def mallopt(self, option, value):
            return 0

    monkeypatch.setattr(allocator, "_glibc", lambda: Refusing())
    assert keep_freed_pages() is False
