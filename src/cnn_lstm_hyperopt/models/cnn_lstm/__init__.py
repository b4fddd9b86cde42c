"""The CNN+LSTM family: a convolutional and a recurrent branch, and a fusion that joins their outputs."""
