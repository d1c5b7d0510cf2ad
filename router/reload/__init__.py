"""Live reload: the generation that answers now, and the way to the next one.

Each request pins the generation it began with, to its end. A swap is one assignment; the old generation is closed when its last
request ends. `Reload` follows the files: watchfiles only gives hints, the content of the files decides. The files are read as a whole,
built off the event loop and swapped in. An edit that cannot be served changes nothing, and is logged once.
"""

from router.reload.edits import PendingEdit
from router.reload.live import Live
from router.reload.reload import Listeners, Reload, ReloadTiming

__all__ = ["Listeners", "Live", "PendingEdit", "Reload", "ReloadTiming"]
