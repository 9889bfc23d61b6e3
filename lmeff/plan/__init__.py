"""What a run will do, step by step, and what it will cost. No torch."""

from lmeff.plan.anchors import check_data, plan_anchors
from lmeff.plan.plan import make_plan
from lmeff.plan.text import format_start

__all__ = ["check_data", "format_start", "make_plan", "plan_anchors"]
