"""Tools of this repository: checks of machines, measurements, and the tables of its pages."""
