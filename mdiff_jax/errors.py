"""The one exception for what a person can mend: a wrong file, key or value."""


class InputError(ValueError):
    """Bad input. The message is one line: what is wrong, where (file, key or value), and the remedy.

    Scripts print it without a traceback and leave with exit status 2.
    """
