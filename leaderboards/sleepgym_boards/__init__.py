"""Boards, submissions and their verification.

A board (:mod:`.board`) says what is run within which budget; a submission (:mod:`.submission`) is
one file with every answer of a method's runs; verification (:mod:`.verification`) rebuilds each
stream, grades each answer again and gives a verdict a rule (:mod:`.rules`).
"""
