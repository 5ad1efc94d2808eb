"""A Triton server on a machine without a GPU or Docker, for tests and measurements."""
