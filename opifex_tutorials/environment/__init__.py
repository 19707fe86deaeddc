"""What is installed, what it can do, and what to fix; a broken framework is reported, not met."""

from opifex_tutorials.environment.devices import choose_device
from opifex_tutorials.environment.report import Report, check

__all__ = ["Report", "check", "choose_device"]
