"""What Bazel's programs and tests start with: it runs a module as `python -m` does."""

import runpy
import sys

if __name__ == "__main__":
    _, module, *arguments = sys.argv
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
