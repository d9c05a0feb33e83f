"""Do the tests notice? The store's code is broken in small ways, one at a time, and its tests are run.

====================  ================================================================================
module                is
====================  ================================================================================
``mutants``           what a mutant is, and a seeded sample of them
``python_mutants``    of a Python module: cosmic-ray's operators, and statements left out
``lua_mutants``       of a Lua script, for which there is no tool: operators, constants, statements
``targets``           the files, each with the tests that are there for it
``nursery``           a process that tries mutants out, in a copy of the tree
``brood``             plug-ins of pytest: what each test meets; a fork for each mutant
``forks``             work in a fork, and what it said before it ended, or hung
``patching``          a mutant of a module that is imported already: its functions get other code
``run``               by hand: ``python -m tests.mutation.run store --sample 50 --seed 7``
====================  ================================================================================

A mutant that no test notices is a missing test, or a change that makes no difference.
"""
