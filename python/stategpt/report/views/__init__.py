"""What the page says, one file a part: dictionaries of plain values that the templates print."""
