"""Tables, plots and one HTML page of what a store holds."""
