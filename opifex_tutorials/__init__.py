"""Opifex Tutorials: neural solvers of partial differential equations, verified."""
