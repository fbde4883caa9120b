"""What use suggests: feedback, splits, summaries."""
