"""The command line of the specification: takes the flags of ``cnn-lstm-hyperopt run``."""

import sys

from cnn_lstm_hyperopt.cli import main

if __name__ == "__main__":
    sys.exit(main(["run", *sys.argv[1:]]))
