"""One self-contained HTML page about one run or many: statistics over seeds, charts, tables, advice, video."""
