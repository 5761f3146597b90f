"""What the transforms of regions work with: maps of cells, their arithmetic, and their files."""
