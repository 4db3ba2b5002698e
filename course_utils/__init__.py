"""The helper package of ELBO Room: plumbing that every lesson shares. The mathematics stays in the lessons.

explore     sliders -> picture, the course's one interactive pattern
plots       the course's visual language: roles, colours, lines, helpers that take an axes
datasets    the Bow, two coins, Gaussians, mixtures, the banana, digits; MNIST on request
models      functions that an earlier lesson has shown, each saying which
training    the training loop of lesson 06, with a progress bar and a clean stop
cache       results of training kept on disk, found again only while nothing that made them has changed
checks      instant checks of exercises, with a named hint for a known slip
quiz        predict-first gates, quizzes, flash cards, dialogues
widgets     what explore and quiz share on the way to the browser
accessible  names and exact values for a screen reader
listen      the button that speaks a dialogue
start       what `make` runs: install, open, test, build, measure
instructor  notebooks from their sources, for authors and teachers

Nothing is imported here, so that `import course_utils` is instant: torch and matplotlib load with what needs them.
"""
