"""Runs over photos: planned, bounded in number and memory, recorded, resumable."""
