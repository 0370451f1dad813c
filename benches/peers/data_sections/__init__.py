"""One module for each section of `data.py`."""
