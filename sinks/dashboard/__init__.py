"""Live views of a run in a browser, and an interface for programs."""
