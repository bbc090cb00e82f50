"""The bridge to Flower: partitions, shards, clients, grids and strategies of federated classification."""
