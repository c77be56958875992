"""Networks on Iris, held out."""
