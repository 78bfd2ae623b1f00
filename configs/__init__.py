"""What can be chosen by name: models, trackers, pipelines. A package, so that an installation finds its files."""
