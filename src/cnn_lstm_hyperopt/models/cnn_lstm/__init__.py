"""The CNN+LSTM family: its configuration, its network and what it costs."""
