"""Small helper modules that do not depend on time series, such as modules for atomic files and random streams."""
