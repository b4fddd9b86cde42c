"""The databases in which a study is stored: an SQLite file, or a PostgreSQL server that several machines share."""

from cnn_lstm_hyperopt.search.databases.base import Database, persistently
from cnn_lstm_hyperopt.search.databases.location import database_in, database_of
from cnn_lstm_hyperopt.search.databases.server import PostgresServer
from cnn_lstm_hyperopt.search.databases.sqlite_file import SqliteFile

__all__ = ["Database", "PostgresServer", "SqliteFile", "database_in", "database_of", "persistently"]
