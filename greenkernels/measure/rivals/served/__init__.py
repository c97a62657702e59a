"""Programs that run in processes of their own, under Pythons that may have neither torch nor this package."""
