"""What `make bench` runs: `python -m benchmarks [sliders|course] [--rounds 3]`. Results go to benchmarks/results/."""
