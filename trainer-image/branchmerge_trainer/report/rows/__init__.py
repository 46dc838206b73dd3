"""The tables that card and page both show, as plain data. Pure."""
