"""What may be kept and what it may cost: search space, costs, budget, and samplers of vectors."""

from tfrcp.space.budget import Budget
from tfrcp.space.cost import CostModel, Costs
from tfrcp.space.space import SearchSpace

__all__ = ["Budget", "CostModel", "Costs", "SearchSpace"]
