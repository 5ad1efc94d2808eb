"""The blind degradation model, calibration sets and INT8 calibration."""
