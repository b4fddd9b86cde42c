"""The CNN+LSTM family: a convolutional and a recurrent branch read the same window; a fusion joins them."""
