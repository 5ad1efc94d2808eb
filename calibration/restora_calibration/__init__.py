"""The blind degradation model, the training of restora-lite, and what needs calibration pictures."""
