"""What runs are doing, from their folders alone: a hundred of them in less than a second. No torch, no pandas."""

from lmeff.runs.status.reading import RunStatus, read_status
from lmeff.runs.status.text import format_statuses, loss_cells, loss_columns

__all__ = ["RunStatus", "format_statuses", "loss_cells", "loss_columns", "read_status"]
