"""Measure speed and memory beside a reference: python scripts/run_benchmark.py [PART ...] (--help tells more)"""

from quality.benchmarks.main import main


if __name__ == "__main__":
    main()
