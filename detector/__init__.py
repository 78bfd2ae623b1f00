"""Detection: models, weights, backends, pre- and post-processing."""
