"""Room `explain`: what a value means, in words, from the tables that everything else is made of.

What lives here: the text for a value of a register (`register`), a syndrome (`syndrome`) and an
instruction (`instruction`), and what a control makes trap (`effects`). What must not: a machine, or
a second description of anything that `arch` or `hyp` has as a table. Imports `arch`, `lang` and
`hyp`; `cli` imports it.
"""
