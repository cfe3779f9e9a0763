"""Workloads that print our figures and, beside them, what the machine and its libraries allow."""
