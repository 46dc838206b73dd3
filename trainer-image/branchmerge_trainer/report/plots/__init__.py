"""Figures as inline SVG: pure functions from numbers to markup. Colours and sizes are the page's style sheet's.

Widths are percentages and heights pixels: a figure fills its place on a phone and on paper, while its text keeps its
size.
"""
