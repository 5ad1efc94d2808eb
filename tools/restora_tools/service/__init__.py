"""The service under load: speed beside a folder run, fairness, crowds, memory."""
