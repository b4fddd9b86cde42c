"""Passwords of databases: kept apart from every copy of the settings, and passed on to child processes alone."""

import os
import subprocess
import sys
from urllib.parse import quote

import pytest
import sqlalchemy
from hypothesis import given, settings
from hypothesis import strategies as st

from cnn_lstm_hyperopt.config import dump_settings, load_settings
from cnn_lstm_hyperopt.errors import ConfigError
from cnn_lstm_hyperopt.utils.passwords import password_of, passwords_for_child, without_password

SECRETS = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1).map(lambda text: f"§{text}§")


@settings(max_examples=25)
@given(SECRETS, st.sampled_from(["", "?connect_timeout=5", "?host=%2Ftmp"]), st.booleans())
def test_settings_have_the_url_without_the_password_which_is_kept(secret: str, query: str, as_parameter: bool) -> None:
    written = quote(secret, safe="")
    user = "m%40e" if as_parameter else f"m%40e:{written}"
    more = f"{'&' if query else '?'}password={written}" if as_parameter else ""
    loaded = load_settings({"study": {"storage": f"postgresql://{user}@host:5433/db{query}{more}"}}, environment={})
    url = loaded.study.storage
    assert url == f"postgresql+psycopg://m%40e@host:5433/db{query}"
    assert password_of(url) == secret
    assert not any(each in text for each in (secret, written) for text in (dump_settings(loaded), repr(loaded)))
    parsed = sqlalchemy.make_url(url)  # a second reader of URLs
    assert (parsed.username, parsed.password, parsed.host, parsed.port, parsed.database) == (
        "m@e",
        None,
        "host",
        5433,
        "db",
    )
    assert load_settings({"study": {"storage": url}}, environment={}).study.storage == url


@pytest.mark.parametrize(
    "url", ["postgresql://me:of/secret@host/db", "postgresql://me:secret#1@host/db", "pg://me:secret@h/d"]
)
def test_an_error_about_a_url_has_no_password(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings({"study": {"storage": url}}, environment={})
    assert "secret" not in str(caught.value)


def test_a_child_process_gets_the_password_and_its_own_environment_no_longer_has_it() -> None:
    url = without_password("postgresql+psycopg://me:of%20me@host/of_the_child")
    code = (
        "import os, sys; from cnn_lstm_hyperopt.utils.passwords import password_of, passwords_for_child;"
        "print(password_of(sys.argv[1]), 'of me' in str(dict(os.environ)), 'of me' in str(passwords_for_child()))"
    )
    environment = {**os.environ, **passwords_for_child()}
    done = subprocess.run(
        [sys.executable, "-c", code, url], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["of", "me", "False", "True"]
    assert "of me" not in str(dict(os.environ))
