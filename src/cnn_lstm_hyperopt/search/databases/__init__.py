"""The databases in which a study is stored: an SQLite file, or a PostgreSQL server that several machines share.

This package imports none of its modules, because Optuna and SQLAlchemy take half a second to import.
"""
