"""For authors and teachers: build notebooks from their sources."""
