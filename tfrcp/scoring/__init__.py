"""What a candidate is worth: the objective, and the evaluator that scores channel vectors by it."""
