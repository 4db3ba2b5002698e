"""What `make bench` runs: `python -m benchmarks [sliders|course|grading] [--rounds 3]`. Results go to benchmarks/results/."""
