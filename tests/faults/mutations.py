"""Damage to files, drawn by hypothesis."""

import json

import hypothesis
from hypothesis import strategies as st

_HEADER = 256

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=6,
)


def many(count):
    """So many examples, as they come: what fails is told, not made smaller or kept."""
    return hypothesis.settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
        # An example may be megabytes.
        verbosity=hypothesis.Verbosity.quiet,
    )


@st.composite
def damaged(draw, originals):
    """One of some files' bytes with up to four faults: bits, cuts, insertions, other bytes."""
    content = bytearray(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(1, 4))):
        # Half of the faults are where a file says what it is.
        end = max(len(content) - 1, 0)
        at = draw(st.integers(0, min(end, _HEADER)) | st.integers(0, end))
        fault = draw(st.sampled_from(("bit", "cut", "insert", "overwrite", "repeat")))
        if fault == "bit" and content:
            content[at] ^= 1 << draw(st.integers(0, 7))
        elif fault == "cut":
            del content[at:]
        elif fault == "insert":
            content[at:at] = draw(st.binary(max_size=16))
        elif fault == "overwrite":
            new = draw(st.binary(max_size=8))
            content[at : at + len(new)] = new
        elif fault == "repeat":
            content[at:at] = content[at : at + draw(st.integers(0, 64))]
    return bytes(content)


@st.composite
def damaged_json(draw, original):
    """The bytes of a JSON file, damaged, or with another value somewhere in it."""
    if draw(st.booleans()):
        return draw(damaged([original]))
    document = json.loads(original)
    holder, key = None, None
    inner = document
    while isinstance(inner, dict | list) and inner and (holder is None or draw(st.booleans())):
        keys = list(inner) if isinstance(inner, dict) else list(range(len(inner)))
        holder, key = inner, draw(st.sampled_from(keys))
        inner = holder[key]
    if draw(st.booleans()):
        del holder[key]
    else:
        holder[key] = draw(_VALUES)
    return json.dumps(document).encode()
