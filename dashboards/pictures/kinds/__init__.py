"""Kinds of panels, a module each: what draws the inside of a panel. `page.py` has their list."""
