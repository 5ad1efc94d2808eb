"""Broken input without end: `python -m fuzz` with tests/ on the path, or `make fuzz`.

Each target takes inputs made by mutating valid seeds. Children run them under limits; anything but
a result or a RestoraError is a fault, and its input is saved with the command that repeats it.
The inputs are a function of the seed of the run, the target and a running number.
"""
