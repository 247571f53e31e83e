"""Room `report`: one page about one run, for a person who was not there.

What lives here: what a trace adds up to (`summary`), what is unusual in it (`warnings`), why its
traps trap and what another level of FEAT_NV* makes of them (`reasons`), and the page (`page`, with
`flame` for its graph). What must not: a machine, or a second way to read a trace. Imports `bench`
for charts and tables, `explain`, `control` and below; `cli` imports it.
"""
