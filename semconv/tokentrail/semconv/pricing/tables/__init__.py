"""Price tables of our own making: the user's price file, and the corrections that ship with Tokentrail."""
