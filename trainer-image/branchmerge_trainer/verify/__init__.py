"""Whether an answer is right, for curation and for evaluation alike.

`open_verifier` gives a `Verifier` for a branch's `data.verify`; `verified` and `selected` filter candidates with it.
Below are the methods: `text` (exact, choice, regex), `math_judge`, `code`.
"""
