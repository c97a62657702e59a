"""How each rival is driven: one file each, which defines ``RIVALS``."""
