"""Which model: evidences against BIC, and rows left out against brute force."""
