"""What the transforms of regions share: packing, and files."""
