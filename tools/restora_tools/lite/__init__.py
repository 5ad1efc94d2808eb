"""How the bundled model was trained, and how good it is."""
