"""Training data: label readers with a report, augmentation, loaders."""
