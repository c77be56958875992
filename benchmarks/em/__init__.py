"""EM and prediction against scikit-learn and GMMX."""
