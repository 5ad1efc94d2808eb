"""INT8 artifacts: ranges, Q/DQ graphs, and the search for the mix that passes its gate."""
