"""Many photos and frames end to end: what the flow makes of the stages that it joins."""
