"""The command line of the specification: flags of ``cnn-lstm-hyperopt run``, or any other command."""

import sys

from cnn_lstm_hyperopt.cli import COMMANDS, main

if __name__ == "__main__":
    arguments = sys.argv[1:]
    sys.exit(main(arguments if arguments[:1] and arguments[0] in COMMANDS else ["run", *arguments]))
