"""What a module's own forward does between its layers, traced by torch.fx: found, proven and rewritten.

Each module is traced alone, its children as leaves: a network whose forward cannot be traced still has blocks that can.
"""
