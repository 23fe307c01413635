"""Every mutant of `mutants.py` still applies."""

import mutants


def test_every_mutant_applies():
    for file, old, new in mutants.MUTANTS:
        count = (mutants.ROOT / file).read_text().count(old)
        assert count == 1 and new != old, f"{file}: {old!r} occurs {count} times: bring this mutant up to date"
