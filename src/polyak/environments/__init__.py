"""What people train on: found and made, N behind one reset and step, every fault named."""
