"""INT8 calibration: value ranges, Q/DQ graphs, and the search for the layer assignment."""
