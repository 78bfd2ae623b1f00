"""Records that outlive a run: the store of events, its readers and exports."""
