"""The CNN+LSTM family: a convolutional and a recurrent branch that read the same window, joined by a fusion."""
