"""Runs over many files: planned, bounded in number and memory, resumed, none lost."""
