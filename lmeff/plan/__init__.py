"""What a run will do, step by step, and what it will cost. No torch."""

from lmeff.plan.plan import check_data, make_plan, plan_anchors

__all__ = ["check_data", "make_plan", "plan_anchors"]
