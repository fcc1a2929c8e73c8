"""The papers' tables and figures, each run as `python -m experiments.NAME`.

The head of a file has the paper's numbers, the command, how long it takes, and what came out. What
was trained once is kept, and trained again where a setting of it differs.
"""

from tf_adaptive.programs import quiet

quiet.import_tensorflow()
