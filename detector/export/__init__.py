"""Networks in the forms of other runtimes."""
