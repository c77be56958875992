"""How well densities of real data fit rows that were left out, by the mean log-likelihood."""
