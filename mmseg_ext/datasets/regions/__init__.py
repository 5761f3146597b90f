"""What the transforms of regions share: numbers of cells on a map, packing, and files."""
