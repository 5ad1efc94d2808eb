"""Photos, and the degraded and clean patches that are cut from them."""
