"""Training with Brevitas. Beside the Brevitas frontend the only room that imports torch."""
