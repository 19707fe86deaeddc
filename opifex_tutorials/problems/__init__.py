"""What to solve: an equation, its data, its exact solution. No network here."""
