"""Networks on MNIST."""
