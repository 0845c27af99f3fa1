"""The checks of the exercises, one module per lesson, named like it."""

# A check may draw its inputs again until they tell all mistakes apart, but no more often than this. It goes on with the
# last ones then: a right answer is right on these too, though a wrong one may be told of a mistake that is not its own.
REDRAWS = 1000
