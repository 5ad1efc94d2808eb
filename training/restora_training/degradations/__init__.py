"""Degradations of photos: what a network learns to undo."""
