"""What is installed beside the Python: units, manual pages, completions, images."""
