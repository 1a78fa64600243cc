"""What retrieval and attribute classification achieved: NumPy, pandas and SciPy only."""
