"""How well models do: questions with known answers, what became of each, tables and pictures."""
