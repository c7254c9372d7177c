"""The features stage: what is known of each payment, as a snapshot."""
