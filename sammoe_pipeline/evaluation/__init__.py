"""How well a mixture does on cases that it never learnt from: Dice, tables and a report to read."""
