"""Model families as pure modules: no I/O, no choice of device."""
