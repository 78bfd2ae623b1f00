"""What every package may import: data types, protocols, boxes, clocks, errors. numpy and the standard library only."""
