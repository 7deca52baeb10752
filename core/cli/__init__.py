"""What ``python -m core`` prints, and its commands about stored runs."""
