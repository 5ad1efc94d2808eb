"""A training run: the loop, what it writes, and how it continues."""
