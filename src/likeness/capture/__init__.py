"""The synthetic stage: people, cameras, light and exact ground truth."""
