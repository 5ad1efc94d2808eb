"""Runs that must lose nothing: a thousand photos, some of them broken, killed and resumed."""
