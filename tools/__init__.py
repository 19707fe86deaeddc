"""What makes the book: each module is one step of ``make book``."""
