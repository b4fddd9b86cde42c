"""Whether features look ahead: they are computed again on shorter data and compared."""
