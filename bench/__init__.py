"""What is measured, and against what. Prints tables, asserts nothing. `python -m bench --help`."""
