"""Claims of the papers, shown or refuted on small problems: ``python -m scripts.claims [RECIPE ...]``.

How to write an experiment (about 60 lines; ``experiments/verpo.py`` is the model):

1. A file ``experiments/RECIPE.py``; it is found by its name. One experiment a recipe.
2. ``measure(seeds: Sequence[int]) -> Measured``: values by name, each ``(seeds,)``, and plots. Where a seed is a run of
   its own, write ``one(seed) -> dict[str, float | array]`` and let ``each_seed(one, seeds)`` stack the runs.
3. ``rule(numbers) -> Verdict``, written before the first run and not touched afterwards: its docstring says in words
   what is reproduced, what partly. ``numbers["full"].below(numbers["other"])`` compares the same seeds: true where the
   95 % interval of the paired difference lies below zero.
4. ``@experiment(claim=..., rule=rule, seeds=20)`` over ``measure``: the claim in the paper's words, short, as a
   sentence that could be false. At least 3 seeds; 10 and more where they are cheap. ``recipe=`` is the file's name
   unless said.
5. Train real recipes, not formulas copied into the experiment: ``toys.py`` has tabular policies and ``learn`` and
   ``learn_from_pairs``, which call ``prepare`` / ``loss`` / ``losses`` of any objective of ``recipes.build``.
6. Say in the module's docstring what the problem is, why the claim shows on it, and where it differs from the paper.
7. Run it, look at the plot (``results/report.html``), commit ``results/RECIPE.json`` with it, and
   ``prefopt/recipes/claims.json``, which the run brings up to date. A claim that does not hold stays
   ``not reproduced``; change neither rule nor problem until it does.
"""
