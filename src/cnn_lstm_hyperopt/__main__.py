"""Entry point of ``python -m cnn_lstm_hyperopt``, which runs the command line."""

import sys

from cnn_lstm_hyperopt.utils.processes import leave_current_directory_out

leave_current_directory_out()

from cnn_lstm_hyperopt.cli import main  # noqa: E402 - a file in the current directory must not be imported as a library

sys.exit(main())
