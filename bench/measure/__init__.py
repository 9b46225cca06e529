"""What the comparisons of this folder share."""
