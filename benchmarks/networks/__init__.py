"""Networks of mixture neurons beside other classifiers, on real data."""
