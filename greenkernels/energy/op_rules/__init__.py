"""Counting rules of torch's operations: one file a family, found by itself; ``@op_rule(...)`` registers."""
