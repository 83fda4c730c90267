"""What a fit adds to the loss: values, slopes, curvatures, and what proves a gap."""
