"""INT8 artefacts: ranges, Q/DQ graphs, and the search for the mix that passes its gate."""
