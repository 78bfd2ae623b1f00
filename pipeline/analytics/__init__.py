"""From tracks to counts and events: lines, zones, motion, heatmaps."""
