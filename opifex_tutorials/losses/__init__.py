"""Residuals of the equations, by automatic differentiation."""
