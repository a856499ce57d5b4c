"""How results are shown: frames, tables, intervals."""
