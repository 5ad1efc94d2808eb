"""Experiments with the settings of CPU runtimes: `python -m restora_tools.cpu_experiments.run`."""
