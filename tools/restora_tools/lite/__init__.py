"""How good the bundled model for the scale 2 is."""
