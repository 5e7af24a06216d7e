"""Generated input, for `hypothesis`."""

import json
import string

from hypothesis import strategies as st

# What JSON can express and SQS can transport: no lone surrogates, no control characters.
text = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn", "Co"]), max_size=80)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=8,
)
ids = st.integers(-5, 10**70) | st.text(string.ascii_letters + string.digits + "_-", min_size=1) | values
orders = st.fixed_dictionaries({"order_id": ids}, optional={"venue_id": ids, "note": values})
wrapped = st.recursive(
    orders,
    lambda inner: st.sampled_from(["data", "detail", "Message"]).flatmap(
        lambda key: st.fixed_dictionaries({key: inner | inner.map(json.dumps)})
    ),
    max_leaves=3,
)
bodies = st.one_of(orders.map(json.dumps), wrapped.map(json.dumps), values.map(json.dumps), text)

# Everything that JSON can express, including NaN, lone surrogates and huge numbers.
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
