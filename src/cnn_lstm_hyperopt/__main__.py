"""``python -m cnn_lstm_hyperopt``: the command line."""

import sys

from cnn_lstm_hyperopt.cli import main

sys.exit(main())
