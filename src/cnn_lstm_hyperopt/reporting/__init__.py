"""Files and lines for people: results, tables, validation predictions, the terminal."""
