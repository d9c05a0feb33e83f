"""Do the tests notice? The store's code is broken in small ways, one at a time, and its tests are run.

====================  ================================================================================
module                is
====================  ================================================================================
``mutants``           what a mutant is, and a seeded sample of them
``python_mutants``    of a Python module: cosmic-ray's operators, and statements left out
``lua_mutants``       of a Lua script, for which there is no tool: operators, constants, statements
``targets``           the files, each with the tests that are there for it
``nursery``           a process that forks for each mutant, in a copy of the tree, and runs the tests
``run``               by hand: ``python -m tests.mutation.run store --sample 50 --seed 7``
====================  ================================================================================

A mutant that no test notices is a missing test, or a change that makes no difference.
"""
