"""From footage to a data set: pictures worth labelling, with a first try at their labels."""
