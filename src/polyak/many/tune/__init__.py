"""A search for settings: trials that Optuna draws, each trained with every seed as an ordinary run in its own process.

`asked` says what is to be searched, `driver` trains, `study` asks and tells, `outcome` says what came out.
"""
