"""Drawing rules with the mouse: a snapshot of a source, a file of rules, and a local page for both."""
