"""The SQL that models cannot say: roles, who sees which rows, functions that cross users, triggers.

Each piece can be applied again to a database that has it. A migration applies the pieces that it introduces;
one that changes a piece here applies it again.
"""
