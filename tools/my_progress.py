"""Write my_progress.md, the page on which a learner sees which exercises are solved: `make lab` does."""

from bdlcore.exercises import _solved, registered

if __name__ == "__main__":
    _solved.write_page(registered())
