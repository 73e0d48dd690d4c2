"""What the server of known truth can do, a module for each group. Importing this package registers every behaviour."""

from tests.truth.behaviours import capacity, change, connections, framing, outcomes, timing, usage
from tests.truth.server import BEHAVIOURS

__all__ = ["BEHAVIOURS", "capacity", "change", "connections", "framing", "outcomes", "timing", "usage"]
