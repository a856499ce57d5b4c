"""How results are shown: tables."""
