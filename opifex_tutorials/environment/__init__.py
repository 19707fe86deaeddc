"""What is installed, what it can do, what it costs, and what to fix.

Everything that needs JAX or PyTorch runs in a fresh process of its own, so importing this package
loads neither, and a framework that is absent, broken or crashing is reported rather than suffered.
"""

from opifex_tutorials.environment.devices import Choice, Device, check_devices, choose_device
from opifex_tutorials.environment.report import Report, check

__all__ = ["Choice", "Device", "Report", "check", "check_devices", "choose_device"]
