"""EM for mixtures over products of mixture neurons."""
