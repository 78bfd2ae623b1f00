"""The best configuration for a clip on this machine: the verb `tune`."""
