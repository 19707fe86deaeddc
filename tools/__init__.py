"""What builds the book; no part of the package."""
