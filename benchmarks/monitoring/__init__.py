"""The monitor beside its peers: streams, fleets, batches, images and accuracy without labels."""
