"""The chapter's lessons: small experiments whose exact answers are known, computed before your eyes.

Each lesson is a package with its formulas, `run(...) -> Result`, `tables(result)` and `page(result) -> str`, a
self-contained HTML page. `polyak lesson NAME` runs one. NumPy is all that they need.
"""

CHAPTER = (
    'Numbers such as (8.9) are of the chapter "Combining policy gradient and Q-learning"; nothing else of it is needed.'
)

LESSONS = {
    "reparameterization": "two estimators of one gradient (8.14, 8.15), and why the pathwise one wins",
    "entropy": "a coin's, a Gaussian's and a squashed Gaussian's entropy (8.18), and how it keeps exploration alive",
    "overestimation": "why a maximum of noisy values is too high, and what the minimum of two critics does (8.9)",
}
"""Each lesson, in the package of its name, and what it shows."""
