"""What is attacked, one module each; each has a TARGET."""
