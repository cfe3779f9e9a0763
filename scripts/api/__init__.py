"""The page of the Python API, made of the docstrings."""
