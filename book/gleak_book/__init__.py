"""What no user of the package needs: the papers' rows, ours beside them, what one chapter runs or draws."""
