"""What nights cost: measured from outside, and held against what is declared."""
