"""The blind degradation model, and what is trained and calibrated with it."""
