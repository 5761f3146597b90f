"""From the logs of trainings and tests to paired differences; see ``tools/compare_runs.py``."""
