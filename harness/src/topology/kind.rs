//! Real kind configuration for each cluster of a topology.
