"""The CNN+LSTM family: a convolutional and a recurrent branch read the same window, and a fusion joins their outputs."""
