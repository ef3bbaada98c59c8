"""From a source without splits to a list with them, in which no group of videos is in two."""
