"""What several chapters share and no user of the package needs: the papers' rows, and ours beside them."""
