"""Streaming accuracy of recorded outputs and of real-time runs: the verb `stream-eval`."""
