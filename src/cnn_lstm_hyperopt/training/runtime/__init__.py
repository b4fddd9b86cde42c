"""Device, memory and numeric precision of a training."""
